"""Runs commands three at a time, each with a limit in time, and keeps how each went.

Most checks wait for something half of the time, a test for its timers or a linker for its last thread, so three at a
time use a machine of two cores far better than one after the other. What a check prints is collected and printed in
one piece when it ends.

A machine that is busy with something else can make a test fail whose limits are meant well. As with CPython's own
runner of tests, a check that can name what failed in it gets a second chance once nothing runs beside it: if that
passes several times on end, the check counts as passed, and is called unsteady. Death by a signal, a hang and many
failures get no such chance.

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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

LINE = "=" * 100
AT_ONCE = 3
POLL_SECONDS = 0.05
#: How often on end a second chance must pass.
CHANCES = 3
#: What pytest and cargo exit with when a test has failed, and not they themselves.
FAILURES = (1, 101)

PASSED = "ok"
UNSTEADY = "UNSTEADY"
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
    #: After an exit code of FAILURES, the command for what failed; None if there is no telling, or too much of it.
    again: Callable[[], Sequence[str | Path] | None] | None = None
    #: Whether what it prints is kept for the very end.
    last: bool = False


@dataclass(frozen=True)
class Result:
    """How a check went: `seconds` by the clock, `processor` seconds of user and system time."""

    status: str
    seconds: float = 0.0
    processor: float = 0.0
    #: What the command exited with; negative for a signal.
    code: int = 0

    @property
    def passed(self) -> bool:
        """Whether it was run and all was well, at the first or at the second chance."""
        return self.status in (PASSED, UNSTEADY)


class _Running:
    """A check whose command is running, in a session of its own."""

    def __init__(self, check: Check, output: IO[bytes]) -> None:
        self.check = check
        self.output = output
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(part) for part in check.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
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
        outcome = PASSED if passed else FAILED
        processor = usage.ru_utime + usage.ru_stime
        return Result(outcome, self.seconds, processor, -signal.SIGKILL if late else self.process.returncode)

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
        self._second_chances: list[tuple[Check, Sequence[str | Path]]] = []
        self._last: list[tuple[str, str]] = []
        self._began = time.monotonic()

    @property
    def failed(self) -> list[str]:
        """The names of the checks that did not pass; those left out are not among them."""
        return [name for name, result in self.results.items() if result.status == FAILED]

    @property
    def unsteady(self) -> list[str]:
        """The names of the checks that needed their second chance."""
        return [name for name, result in self.results.items() if result.status == UNSTEADY]

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

    def run_again(self) -> None:
        """Gives what failed its second chance, with nothing beside it."""
        for check, command in self._second_chances:
            first = self.results[check.name]
            names = [f"{check.name}, again ({count} of {CHANCES})" for count in range(1, CHANCES + 1)]
            for name in names:
                chance = replace(check, name=name, command=command, again=None, last=False, after=())
                self.run([chance], at_once=1)
                if not self.results[name].passed:
                    break
            else:
                print(f"\n!! UNSTEADY: {check.name}: what failed in it passes when nothing runs beside it")
                self.results[check.name] = replace(first, status=UNSTEADY)
            for name in names:
                self.results.pop(name, None)
        self._second_chances.clear()

    def print_last(self) -> None:
        """Prints what was kept for the end."""
        for name, text in self._last:
            self._print_output(name, text)
        self._last.clear()

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
        check = job.check
        self.results[check.name] = result
        with job.output as output:
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        if check.last and result.passed:
            self._last.append((check.name, text))
        else:
            self._print_output(check.name, text)
        if result.seconds > check.limit:
            print(f"\n!! KILLED: {check.name}: no end after {check.limit:.0f} seconds")
        if result.status == FAILED:
            print(f"\n!! FAILED: {check.name}")
            if check.again and result.code in FAILURES and (command := check.again()):
                self._second_chances.append((check, command))
        sys.stdout.flush()

    def _print_output(self, name: str, text: str) -> None:
        print(f"\n{LINE}\n== {name}\n\n{text}", end="" if text.endswith("\n") else "\n", flush=True)

    def print(self) -> None:
        """Prints what was run, how long it took by the clock and in processor time, and how it went."""
        print(f"\n{LINE}\n{'':8}{'clock':>9}{'processor':>12}")
        for name, result in self.results.items():
            print(f"{result.status:8}{result.seconds:7.1f} s{result.processor:10.1f} s  {name}")
        processor = sum(result.processor for result in self.results.values())
        print(f"{'':8}{time.monotonic() - self._began:7.1f} s{processor:10.1f} s  in all", flush=True)
