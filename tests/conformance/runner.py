"""Runs each test in a process of its own, several at a time.

A child is forked after the suite is imported, gets its own session and working directory, and answers with one line
of JSON on a pipe. So no test can leave anything behind for the next one, a hang ends with the stacks of all its
threads and a death by signal is a finding of its own.

Invariant: only the session of a child that this module forked is ever killed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unittest
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import IO, Any

from tests.conformance.binding import Case, LoopFactory

# Makes a child print its stacks; a real-time signal that no test uses.
DUMP_SIGNAL = signal.SIGRTMAX - 1
DUMP_SECONDS = 0.3
# How long a test gets that is expected to hang: time enough for one that does not any more.
HANGING_TIMEOUT = 4.0
LOG_CHARACTERS = 6000


@dataclass
class Outcome:
    """How one test ended.

    `status` is pass, skip, fail (an assertion), error (an exception), hang or crash; `why` says it in a line,
    `detail` has the traceback and what the test printed. `loops` counts the loops it made, `seconds` is its time.
    """

    id: str
    status: str
    why: str = ""
    detail: str = ""
    loops: int = 0
    seconds: float = 0.0
    # What an earlier attempt at the same test gave, if it was another status.
    earlier: str = ""

    @property
    def fine(self) -> bool:
        """Whether the test passed or skipped itself."""
        return self.status in ("pass", "skip")


class _Recorder(unittest.TestResult):
    """Keeps the first thing that went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.status = "pass"
        self.why = ""
        self.detail = ""

    def _record(self, status: str, why: str, detail: str = "") -> None:
        if self.status in ("pass", "skip"):
            self.status, self.why, self.detail = status, why[:400], detail[-LOG_CHARACTERS:]

    def _record_exception(self, status: str, error: Any) -> None:
        why = "".join(traceback.format_exception_only(error[0], error[1])).strip()
        self._record(status, why, "".join(traceback.format_exception(*error)))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._record_exception("error", err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._record_exception("fail", err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._record_exception("fail", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._record("skip", reason)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._record("fail", "unexpected success")


@dataclass(eq=False)
class _Child:
    """A running test, seen from the parent."""

    case: Case
    pid: int
    pipe: int
    log: IO[bytes]
    directory: str
    deadline: float
    answer: bytes = b""
    earlier: Outcome | None = None


def _run_in_child(case: Case, factory: LoopFactory, pipe: int, log: IO[bytes]) -> None:
    """What the forked child does. It never returns to the caller's stack."""
    os.setsid()
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    faulthandler.register(DUMP_SIGNAL, file=2, all_threads=True)
    faulthandler.enable(2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    recorder = _Recorder()
    factory.made = 0
    start = time.monotonic()
    try:
        unittest.TestSuite([case.test]).run(recorder)
    except BaseException as error:
        recorder._record_exception("error", (type(error), error, error.__traceback__))
    answer = {
        "status": recorder.status,
        "why": recorder.why,
        "detail": recorder.detail,
        "loops": factory.made,
        "seconds": round(time.monotonic() - start, 3),
    }
    # A newline ends the answer: the pipe itself may be kept open by a process that the test left behind.
    line = json.dumps(answer).encode() + b"\n"
    while line:
        line = line[os.write(pipe, line) :]


class Runner:
    """Runs cases with at most `jobs` of them at a time; `timeout` is in seconds and per test."""

    def __init__(
        self,
        factory: LoopFactory,
        *,
        jobs: int,
        timeout: float,
        retry: bool,
        hanging: Collection[str] = (),
    ) -> None:
        """`hanging` names the tests that are expected to hang: they get less time."""
        self._factory = factory
        self._jobs = jobs
        self._timeout = timeout
        self._retry = retry
        self._hanging = hanging
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[tuple[Case, Outcome | None]] = deque()
        self._children: set[_Child] = set()

    def run(self, cases: list[Case], on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
        """Runs all cases and returns their outcomes in the order of the cases.

        A test that fails is run a second time (unless `retry` is off), because some tests of the suite depend on
        timing; one that hangs or crashes is not: that is never a matter of timing.
        """
        gc.collect()
        gc.freeze()  # keeps the children from copying every page at their first collection
        outcomes: dict[str, Outcome] = {}
        self._waiting.extend((case, None) for case in cases)
        try:
            while self._waiting or self._children:
                while self._waiting and len(self._children) < self._jobs:
                    self._start(*self._waiting.popleft())
                for child, outcome in self._finished():
                    if self._retry and child.earlier is None and outcome.status in ("fail", "error"):
                        self._waiting.appendleft((child.case, outcome))
                        continue
                    if child.earlier is not None and child.earlier.status != outcome.status:
                        outcome.earlier = f"{child.earlier.status}: {child.earlier.why}"
                    outcomes[outcome.id] = outcome
                    on_outcome(outcome)
        finally:
            for child in list(self._children):
                self._reap(child)
        return [outcomes[case.id] for case in cases]

    def _start(self, case: Case, earlier: Outcome | None) -> None:
        reading, writing = os.pipe()
        log = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed with the child)
        # The suite names its scratch files alike in all processes: each child needs a directory of its own.
        directory = tempfile.mkdtemp(prefix="conformance-")
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                os.chdir(directory)
                _run_in_child(case, self._factory, writing, log)
                os._exit(0)
            except BaseException:
                log.write(traceback.format_exc().encode())
                log.flush()
            finally:
                os._exit(99)
        os.close(writing)
        deadline = time.monotonic() + self._seconds_for(case)
        child = _Child(case, pid, reading, log, directory, deadline, earlier=earlier)
        self._children.add(child)
        self._selector.register(reading, selectors.EVENT_READ, child)

    def _seconds_for(self, case: Case) -> float:
        return min(self._timeout, HANGING_TIMEOUT) if case.id in self._hanging else self._timeout

    def _finished(self) -> list[tuple[_Child, Outcome]]:
        """Waits until something happens; returns the children that are done and how they ended."""
        nearest = min(child.deadline for child in self._children)
        done: list[tuple[_Child, Outcome]] = []
        for key, _ in self._selector.select(max(0.0, nearest - time.monotonic())):
            child: _Child = key.data
            chunk = os.read(child.pipe, 65536)
            child.answer += chunk
            if not chunk or child.answer.endswith(b"\n"):
                done.append((child, self._collect(child)))
        now = time.monotonic()
        for child in [child for child in self._children if child.deadline <= now]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, DUMP_SIGNAL)
                time.sleep(DUMP_SECONDS)
            _, log = self._reap(child)
            seconds = self._seconds_for(child.case)
            why = f"no result after {seconds:.0f} s"
            done.append((child, Outcome(child.case.id, "hang", why, log, seconds=seconds)))
        return done

    def _collect(self, child: _Child) -> Outcome:
        status, log = self._reap(child, kill=not child.answer.endswith(b"\n"))
        if child.answer.endswith(b"\n"):
            outcome = Outcome(child.case.id, **json.loads(child.answer))
            if not outcome.fine:
                outcome.detail += "\n" + log
            return outcome
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        return Outcome(child.case.id, "crash", f"died: {how}", log)

    def _reap(self, child: _Child, *, kill: bool = True) -> tuple[int, str]:
        """Ends the child and whatever its session holds; returns its wait status and the end of its log."""
        self._children.discard(child)
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        if kill:
            # By then a child that died by itself has its status; the signal does not change that.
            os.kill(child.pid, signal.SIGKILL)
        # The session is killed before the child is reaped: until then its number cannot be anybody else's.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        shutil.rmtree(child.directory, ignore_errors=True)
        with child.log as log:
            log.seek(0)
            return status, log.read()[-LOG_CHARACTERS:].decode("utf-8", "replace")
