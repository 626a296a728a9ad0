"""What the portions of one package's run leave for each other, so that a long suite need not be run in one go.

Kept are the worlds whose runs have come to an end, with their records, and the outcomes of tests that were run alone.
Invariant: portions are put together only if all was the same for them: versions, build, tests and options. What belongs
to another run is not taken.

Called by `packages.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import package_source
from package_list import Package
from package_suite import PAUSED, PLUGINS, WORLDS, Run, Suite


class Paused(Exception):
    """The time of a portion is over, and there is more to do."""


class Busy(Exception):
    """Another process runs the same suite in the same world; its text says which."""


@contextmanager
def claimed(folder: Path, world: str) -> Iterator[None]:
    """Has a world of a suite, whose records are in `folder`, for itself: two would write one record. Raises Busy."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{world}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another process is running {folder.name} ({world})") from None
        yield


def identity(package: Package, on: Mapping[str, str]) -> str:
    """What has to be the same in all portions. `on` tells what the suite is run with."""
    entry = asdict(package)
    # What is said of differences changes none of them.
    del entry["explained"]
    files = [*sorted(PLUGINS.glob("*.py")), Path(package_source.__file__)]
    if package.checks:
        files.append(package_source.checks(package))
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
    return json.dumps([entry, dict(on), digest], sort_keys=True)


class Portions:
    """The runs of one suite in all worlds, of which this process does as much as fits before `pause`.

    Several processes can each do the portions of a world of their own at the same time.
    """

    def __init__(self, suites: Mapping[str, Suite], identity: str, pause: float) -> None:
        """Takes the suite as it is run in each world; `pause` is a time of the monotonic clock."""
        self._suites = suites
        self._identity = identity
        self._pause = pause
        self._folder = next(iter(suites.values())).output

    def run(self, world: str, limit: float) -> Run:
        """The whole run of a world, each portion for at most `limit` seconds. Raises Paused if there is more to do."""
        suite, ended = self._suites[world], (self._kept(world) or {}).get("ended")
        if ended not in (None, PAUSED):
            run = suite.recorded(world)
            run.unfinished = ended
            return run
        self._check()
        if ended is None:
            suite.forget(world)
        # Not before the end is there something to go on from: a portion that is interrupted leaves a test half done.
        self._file(world).unlink(missing_ok=True)
        run = suite.run(world, limit, pause=self._pause)
        self._keep(world, {"ended": run.unfinished})
        if run.unfinished == PAUSED:
            raise Paused
        return run

    def alone(self, world: str, test: str, limit: float, times: int, otherwise: str) -> Sequence[str]:
        """The outcomes of one test that is run alone so often; `otherwise` for one that does not come to be run."""
        known = self._kept("alone") or {}
        outcomes: list[str] = known.setdefault(world, {}).get(test, [])
        if not outcomes:
            self._check()
            suite = self._suites[world]
            for _ in range(times):
                suite.forget("alone")
                run = suite.run(world, limit, [test], name="alone")
                outcomes.append(run.outcomes.get(test, otherwise))
            known[world][test] = outcomes
            self._keep("alone", known)
        return outcomes

    def end(self) -> None:
        """Says that all was run: the next run begins anew. Records and logs stay to be read."""
        for name in (*WORLDS, "alone"):
            self._file(name).unlink(missing_ok=True)

    def _check(self) -> None:
        if time.monotonic() > self._pause:
            raise Paused

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _kept(self, name: str) -> dict[str, Any] | None:
        """What earlier portions of this run have kept under a name; None if there are none."""
        try:
            identity, kept = json.loads(self._file(name).read_text())
        except (OSError, ValueError):
            return None
        return kept if identity == self._identity else None

    def _keep(self, name: str, kept: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._file(name).with_suffix(".partial")
        partial.write_text(json.dumps([self._identity, kept]))
        partial.rename(self._file(name))
