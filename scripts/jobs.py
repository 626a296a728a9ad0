"""Runs commands two at a time, each with a limit in time, and keeps how each went.

Most checks wait for something most of the time, a test for its timers or a linker for its last thread, so two at a
time use a machine of two cores far better than one after the other. What a check prints is collected and printed in
one piece when it ends.

Invariant: a check that has not ended within its limit is killed with all its descendants and counts as failed; when
the run itself is interrupted, nothing that it started lives on.

Called by `check.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LINE = "=" * 100
AT_ONCE = 2
POLL_SECONDS = 0.05

PASSED = "ok"
FAILED = "FAILED"
LEFT_OUT = "not run"


@dataclass(frozen=True)
class Check:
    """A command, and what must have happened before it can be run; `limit` is in seconds."""

    name: str
    command: Sequence[str | Path]
    limit: float
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Checks that must have ended first, however they did.
    after: Collection[str] = ()
    #: Checks that must have passed; if one has not, this one is left out.
    needs: Collection[str] = ()


@dataclass(frozen=True)
class Result:
    """How a check went: `seconds` by the clock, `processor` seconds of user and system time."""

    status: str
    seconds: float = 0.0
    processor: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it was run and all was well."""
        return self.status == PASSED


class _Running:
    """A check whose command is running, in a session of its own."""

    def __init__(self, check: Check, output: IO[bytes] | None) -> None:
        self.check = check
        self.output = output
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(part) for part in check.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env=dict(check.environment),
            start_new_session=True,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def poll(self) -> Result | None:
        """The result if the command has ended or is out of time, which ends it; else None."""
        late = self.seconds > self.check.limit
        if late:
            self.kill()
        pid, status, usage = os.wait4(self.process.pid, 0 if late else os.WNOHANG)
        if not pid:
            return None
        # Popen must not wait for a process that is gone and whose number may be somebody else's.
        self.process.returncode = os.waitstatus_to_exitcode(status)
        passed = self.process.returncode == 0 and not late
        return Result(PASSED if passed else FAILED, self.seconds, usage.ru_utime + usage.ru_stime)

    def kill(self) -> None:
        """Kills the command and what it has started, also what has made sessions of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGSTOP)
        for pid in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # The command has not been waited for, so the number of its group is still its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [ancestor]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


class Jobs:
    """Runs checks and keeps their results, by name and in the order in which they ended."""

    def __init__(self) -> None:
        """Starts with nothing run."""
        self.results: dict[str, Result] = {}
        self._began = time.monotonic()

    @property
    def failed(self) -> list[str]:
        """The names of the checks that did not pass; those left out are not among them."""
        return [name for name, result in self.results.items() if result.status == FAILED]

    def run(self, checks: Sequence[Check], at_once: int = AT_ONCE) -> None:
        """Runs checks, at most `at_once` at a time; of those that can start, the one named first does."""
        waiting, running = list(checks), list[_Running]()
        try:
            while waiting or running:
                while len(running) < at_once and (check := self._next(waiting)):
                    print(f"-- started: {check.name}", flush=True)
                    running.append(_Running(check, tempfile.TemporaryFile()))  # noqa: SIM115 (closed by _end)
                if waiting and not running:
                    raise ValueError(f"waits for a check that there is not: {waiting[0].name}")
                for job in list(running):
                    if result := job.poll():
                        running.remove(job)
                        self._end(job, result)
                time.sleep(POLL_SECONDS)
        finally:
            for job in running:
                job.kill()

    def run_in_the_open(self, check: Check) -> None:
        """Runs one check with nothing beside it, its output going where ours goes."""
        print(f"\n{LINE}\n== {check.name}\n", flush=True)
        job = _Running(check, None)
        try:
            while not (result := job.poll()):
                time.sleep(POLL_SECONDS)
        except BaseException:
            job.kill()
            raise
        self._end(job, result)

    def _next(self, waiting: list[Check]) -> Check | None:
        """Takes the first check that can be run out of those that wait; drops those that cannot be any more."""
        for check in list(waiting):
            if any(name in self.results and not self.results[name].passed for name in check.needs):
                waiting.remove(check)
                self.results[check.name] = Result(LEFT_OUT)
            elif all(name in self.results for name in (*check.needs, *check.after)):
                waiting.remove(check)
                return check
        return None

    def _end(self, job: _Running, result: Result) -> None:
        name = job.check.name
        self.results[name] = result
        if job.output is not None:
            with job.output as output:
                output.seek(0)
                text = output.read().decode("utf-8", "replace")
            print(f"\n{LINE}\n== {name}\n\n{text}", end="" if text.endswith("\n") else "\n")
        if result.seconds > job.check.limit:
            print(f"\n!! KILLED: {name}: no end after {job.check.limit:.0f} seconds")
        if result.status == FAILED:
            print(f"\n!! FAILED: {name}")
        sys.stdout.flush()

    def print(self) -> None:
        """Prints what was run, how long it took by the clock and in processor time, and how it went."""
        print(f"\n{LINE}\n{'':8}{'clock':>9}{'processor':>12}")
        for name, result in self.results.items():
            print(f"{result.status:8}{result.seconds:7.1f} s{result.processor:10.1f} s  {name}")
        processor = sum(result.processor for result in self.results.values())
        print(f"{'':8}{time.monotonic() - self._began:7.1f} s{processor:10.1f} s  in all", flush=True)
