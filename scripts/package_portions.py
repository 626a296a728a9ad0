"""What the portions of one package's run leave for each other, so that a long suite need not be run in one go.

Kept are the worlds whose runs have come to an end, with their records, and the outcomes of tests that were run alone.
Invariant: portions are put together only if all was the same for them: versions, build, tests and options. What belongs
to another run is removed before the first portion.

Called by `packages.py`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from package_list import Package
from package_source import checks
from package_suite import PAUSED, PLUGINS, WORLDS, Run, Suite


class Paused(Exception):
    """The time of a portion is over, and there is more to do."""


def identity(package: Package, on: Mapping[str, str]) -> str:
    """What has to be the same in all portions. `on` tells what the suite is run with."""
    entry = asdict(package)
    # What is said of differences changes none of them.
    del entry["explained"]
    files = [*sorted(PLUGINS.glob("*.py")), *([checks(package)] if package.checks else [])]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
    return json.dumps([entry, dict(on), digest], sort_keys=True)


class Portions:
    """The run of one suite in all worlds, of which this process does as much as fits before `pause`."""

    def __init__(self, suite: Suite, identity: str, pause: float) -> None:
        """Takes up what earlier portions have left; `pause` is a time of the monotonic clock."""
        self._suite = suite
        self._pause = pause
        self._file = suite.output / "portions.json"
        kept = self._read()
        if kept.get("identity") != identity:
            self._forget()
            kept = {"identity": identity, "ended": {}, "alone": {}}
        self._kept = kept

    def _read(self) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return kept

    def _keep(self) -> None:
        self._suite.output.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self._kept))
        partial.rename(self._file)

    def _forget(self) -> None:
        self._file.unlink(missing_ok=True)
        for world in WORLDS:
            self._suite.forget(world)

    def end(self) -> None:
        """Says that all was run: the next run begins anew. Records and logs stay to be read."""
        self._file.unlink(missing_ok=True)

    def run(self, world: str, limit: float) -> Run:
        """The whole run of a world, each portion for at most `limit` seconds. Raises Paused if there is more to do."""
        if world in self._kept["ended"]:
            run = self._suite.recorded(world)
            run.unfinished = self._kept["ended"][world]
            return run
        self._check()
        # From now on the records are of this run.
        self._keep()
        run = self._suite.run(world, limit, pause=self._pause)
        if run.unfinished == PAUSED:
            raise Paused
        self._kept["ended"][world] = run.unfinished
        self._keep()
        return run

    def alone(self, world: str, test: str, limit: float, times: int, otherwise: str) -> Sequence[str]:
        """The outcomes of one test that is run alone so often; `otherwise` for one that does not come to be run."""
        known: dict[str, list[str]] = self._kept["alone"].setdefault(world, {})
        if test not in known:
            self._check()
            known[test] = []
            for _ in range(times):
                self._suite.forget("alone")
                run = self._suite.run(world, limit, [test], name="alone")
                known[test].append(run.outcomes.get(test, otherwise))
            self._keep()
        return known[test]

    def _check(self) -> None:
        if time.monotonic() > self._pause:
            raise Paused
