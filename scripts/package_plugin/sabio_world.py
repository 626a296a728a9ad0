"""A pytest plugin that puts sabio under somebody else's test suite, and writes down how each test went.

`SABIO_WORLD` says what runs underneath: `asyncio` (nothing is changed), `loop` (every loop is sabio's, all else is
asyncio's own) or `install` (`sabio.install()`). `SABIO_RECORD` names the file that is written, one JSON object a line:
that a test begins, how it ended, and how many event loops of either kind had been made by then. The file is the proof
that sabio was there: a run on sabio in which no loop of sabio's was made does not count.

`SABIO_UNTIL`, if it is there, is a time of the monotonic clock: behind it no further file of tests is begun, and pytest
ends as one that was interrupted.

Invariant: what stands in the record has happened. It is flushed line by line, so that a test that kills the process is
the one that began and did not end. A second run with the same record goes on behind the last test that it has. Tests of
one file are not divided, unless one of them kills the process.

Loaded with `-p sabio_world` by `package_suite.py`; it imports nothing of the suite that it watches.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from asyncio import base_events
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WORLD = os.environ["SABIO_WORLD"]
RECORD = Path(os.environ["SABIO_RECORD"])
UNTIL = float(os.environ.get("SABIO_UNTIL") or "inf")

#: From the best to the worst: of the reports of one test the worst one counts.
ORDER = ("passed", "xfailed", "skipped", "xpassed", "failed", "error")


class Loops:
    """Counts the event loops that are made: those of asyncio by their initialiser, sabio's by the policy's factory."""

    def __init__(self) -> None:
        """Nothing is counted before `watch`."""
        self.asyncio = 0
        self.sabio = 0

    def watch_asyncio(self) -> None:
        """Has each loop of asyncio's, also of a class derived from it, counted when it is made."""
        original = base_events.BaseEventLoop.__init__

        def initialise(loop: Any) -> None:
            self.asyncio += 1
            original(loop)

        base_events.BaseEventLoop.__init__ = initialise  # type: ignore[method-assign, assignment]

    def counted(self, make: Callable[[], Any]) -> Callable[[], Any]:
        """A factory that counts what it makes."""

        def factory() -> Any:
            self.sabio += 1
            return make()

        return factory


loops = Loops()


def enter_world() -> None:
    """Puts sabio in asyncio's place, as far as this world wants it."""
    loops.watch_asyncio()
    if WORLD == "asyncio":
        return
    import sabio
    from sabio import _policy

    _policy.EventLoopPolicy._loop_factory = staticmethod(loops.counted(sabio.Loop))  # type: ignore[assignment]
    if WORLD == "install":
        sabio.install()
    elif WORLD == "loop":
        _policy.set_policy(sabio.EventLoopPolicy())
    else:
        raise pytest.UsageError(f"SABIO_WORLD: no such world: {WORLD}")
    # Suites and servers name the class of the loop that they want; they get sabio's.
    for name in ("SelectorEventLoop", "EventLoop"):
        if hasattr(asyncio, name):
            setattr(asyncio, name, sabio.Loop)


enter_world()


class Recorder:
    """Writes the record, and leaves out what an earlier run has recorded."""

    def __init__(self) -> None:
        """Opens the record for more lines."""
        self.known = set(known_tests())
        self._file = RECORD.open("a")
        self._outcome = ORDER[0]
        self._why = ""
        self._paused = False

    def write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left = [item for item in items if item.nodeid not in self.known]
        if len(left) != len(items):
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid in self.known])
            items[:] = left

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.write(collected=len(session.items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write(broken=report.nodeid, why=last_line(report))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        result = yield
        if nextitem is not None and nextitem.path != item.path and time.monotonic() > UNTIL:
            self._paused = True
            item.session.shouldstop = "the rest is for the next portion"
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._outcome, self._why = ORDER[0], ""
        self.write(start=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = outcome_of(report)
        if ORDER.index(outcome) > ORDER.index(self._outcome):
            self._outcome, self._why = outcome, last_line(report)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.write(end=nodeid, outcome=self._outcome, why=self._why, sabio=loops.sabio, asyncio=loops.asyncio)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.write(exit=int(exitstatus), paused=self._paused, sabio=loops.sabio, asyncio=loops.asyncio)


def known_tests() -> list[str]:
    """The tests that the record has an end or at least a beginning of."""
    if not RECORD.exists():
        return []
    lines = [json.loads(line) for line in RECORD.read_text().splitlines()]
    return [line["start"] for line in lines if "start" in line]


def outcome_of(report: pytest.TestReport) -> str:
    """One word for one report of one test."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed" if report.passed else "failed"
    if report.failed:
        return "failed" if report.when == "call" else "error"
    return report.outcome


def last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What the exception of a report says, in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        text = str(crash.message)
    elif isinstance(report.longrepr, tuple):
        text = str(report.longrepr[2])
    else:
        text = str(report.longrepr or "").strip().rpartition("\n")[2]
    return text.strip().partition("\n")[0][:300]


def pytest_configure(config: pytest.Config) -> None:
    """Starts the record; a suite that runs pytest inside of pytest gets none for the inner one."""
    if not os.environ.get("SABIO_RECORDING"):
        os.environ["SABIO_RECORDING"] = "1"
        config.pluginmanager.register(Recorder(), "sabio-recorder")
        # What is started in the background by a shell ignores Ctrl-C, and so would the tests.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
