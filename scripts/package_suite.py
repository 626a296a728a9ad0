"""Runs a package's tests on asyncio or on sabio, and reads how each of them went.

What happened is read from the record that the plugin `package_plugin/sabio_world.py` writes, never from what pytest
prints. Invariant: a test counts with the outcome that stands in the record or as one that took the process with it; a
run that did not come to its end says so, and what was not run is not counted.

A long suite can be run in portions: one that is `PAUSED` goes on with the next file of tests when it is run again.

Called by `packages.py` and `package_compare.py`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import interpreters
from jobs import descendants
from package_list import Package

PLUGINS = Path(__file__).resolve().parent / "package_plugin"

ASYNCIO, LOOP, INSTALL = "asyncio", "loop", "install"
WORLDS = (ASYNCIO, LOOP, INSTALL)

#: Seconds that one test may take; a suite's own limits go before.
TEST_SECONDS = 60
#: So often a suite is begun again behind a test that took the process with it.
MOST_DEATHS = 5
DIED = "died"
OUT_OF_TIME, NO_START = "out of time", "pytest did not start"
PAUSED = "paused"
#: pytest's exit statuses after which every test was run: all passed, some failed, there are none.
FINISHED = (0, 1, 5)
POLL_SECONDS = 0.05


@dataclass
class Run:
    """One suite in one world."""

    #: Test -> outcome, in pytest's words; `died` for one that took the process with it.
    outcomes: dict[str, str] = field(default_factory=dict)
    #: Test -> what its failure said, in one line.
    why: dict[str, str] = field(default_factory=dict)
    #: Files and folders that could not be collected.
    broken: list[str] = field(default_factory=list)
    #: How many event loops of either kind were made.
    sabio: int = 0
    asyncio: int = 0
    #: Tests in which a loop of asyncio's was made.
    on_asyncio: list[str] = field(default_factory=list)
    #: Empty if the suite came to its end.
    unfinished: str = ""

    def count(self, *outcomes: str) -> int:
        """How many tests ended so."""
        return sum(outcome in outcomes for outcome in self.outcomes.values())


def normal(test: str) -> str:
    """A test's name without what differs from run to run: addresses of objects."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", test)


def read(lines: Iterable[str]) -> Run:
    """What a record says, the lines of several processes one behind the other."""
    run = Run()
    begun: str | None = None
    sabio = asyncio = 0

    def add(line: Mapping[str, int]) -> bool:
        nonlocal sabio, asyncio
        more = line["asyncio"] > asyncio
        run.sabio += max(0, line["sabio"] - sabio)
        run.asyncio += max(0, line["asyncio"] - asyncio)
        sabio, asyncio = line["sabio"], line["asyncio"]
        return more

    for text in lines:
        line = json.loads(text)
        if "collected" in line:
            # A new process: it counts from zero, and the test that had begun has ended the one before it.
            sabio = asyncio = 0
        if begun is not None and ("start" in line or "collected" in line):
            run.outcomes[begun] = DIED
            begun = None
        if "start" in line:
            begun = normal(line["start"])
        elif "end" in line:
            name = normal(line["end"])
            run.outcomes[name] = line["outcome"]
            if line["why"]:
                run.why[name] = line["why"]
            if add(line):
                run.on_asyncio.append(name)
            begun = None
        elif "broken" in line:
            if line["broken"] not in run.broken:
                run.broken.append(line["broken"])
        elif "exit" in line:
            add(line)
    if begun is not None:
        run.outcomes[begun] = DIED
    return run


@dataclass(frozen=True)
class Suite:
    """The tests of one package, ready to be run."""

    package: Package
    python: Path
    tree: Path
    #: Where records and logs are written.
    output: Path
    #: What the servers add to the environment.
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, world: str, limit: float, tests: Sequence[str] = (), name: str = "", pause: float = math.inf
    ) -> Run:
        """Runs the suite, or the named tests of it, for at most `limit` seconds.

        Behind `pause`, a time of the monotonic clock, it stops at the next file and is `PAUSED`. It goes on behind what
        is recorded; `forget` the record to begin anew.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        record, log = self._files(name or world)
        until = time.monotonic() + limit
        unfinished = ""
        for _ in range(MOST_DEATHS):
            unfinished = self._process(world, record, log, until, pause, tests)
            if unfinished in ("", OUT_OF_TIME, PAUSED) or unfinished.startswith(NO_START):
                break
        run = self.recorded(name or world)
        run.unfinished = unfinished
        return run

    def recorded(self, name: str) -> Run:
        """What is recorded of a run that has come to an end."""
        record, _ = self._files(name)
        return read(record.read_text().splitlines() if record.exists() else [])

    def forget(self, name: str) -> None:
        """Removes what is left of a run in a world, or of one with this name."""
        for file in self._files(name):
            file.unlink(missing_ok=True)

    def _files(self, name: str) -> tuple[Path, Path]:
        return self.output / f"{name}.record", self.output / f"{name}.log"

    def command(self, tests: Sequence[str]) -> list[str | Path]:
        """The command line of pytest."""
        package = self.package
        command: list[str | Path] = [
            self.python,
            "-m",
            "pytest",
            "-p",
            "sabio_world",
            "-p",
            "no:cacheprovider",
        ]
        command += ["-q", "--color=no", "--continue-on-collection-errors", "-o", "addopts="]
        command += [f"--timeout={TEST_SECONDS}", *package.options]
        command += [part for test in package.left_out if "::" in test for part in ("--deselect", test)]
        return [*command, *(tests or package.paths)]

    def _process(
        self, world: str, record: Path, log: Path, until: float, pause: float, tests: Sequence[str]
    ) -> str:
        """Runs pytest once. Empty if it came to its end, else what kept it from that."""
        env = interpreters.clean_environment() | dict(self.package.environment) | dict(self.environment)
        paths = [str(PLUGINS), *filter(None, [self.environment.get("PYTHONPATH")])]
        env |= {"SABIO_WORLD": world, "SABIO_RECORD": str(record), "PYTHONPATH": os.pathsep.join(paths)}
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "PATH": f"{self.python.parent}{os.pathsep}{env['PATH']}"}
        if pause < math.inf:
            env |= {"SABIO_UNTIL": str(pause)}
        before = record.stat().st_size if record.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in self.command(tests)],
                cwd=self.tree,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                if not _ends(process, until):
                    return OUT_OF_TIME
            finally:
                _end(process)
        lines = record.read_text().splitlines() if record.exists() else []
        status = process.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        if not lines or record.stat().st_size == before:
            return f"{NO_START} ({how}): see {log.name}"
        last = json.loads(lines[-1])
        if last.get("paused"):
            return PAUSED
        if "exit" in last and status in FINISHED:
            return ""
        return f"the process ended by {how}"


def _ends(process: subprocess.Popen[bytes], until: float) -> bool:
    """Waits until the process ends, which is left to be waited for; False if the time is up first."""
    while True:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what still runs of a suite, servers that its tests have left behind among it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGSTOP)
    for pid in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # The process has not been waited for, so the number of its group is still its own.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
