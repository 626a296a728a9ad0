"""The checks after each test must be able to fail: what they look for is left behind here, and found."""

import asyncio
import logging
import os
import sys
import threading

import pytest

from tests.support import leaks
from tests.support.leaks import Snapshot
from tests.support.reports import Reports
from tests.support.versions import is_affected


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(leaks, "SETTLE_SECONDS", 0.0)


def test_clean_body_leaves_nothing():
    before = Snapshot()
    os.close(os.dup(0))
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert before.left_over() == []


def test_open_descriptor_is_found():
    before = Snapshot()
    reading, writing = os.pipe()
    found = before.left_over()
    os.close(reading)
    os.close(writing)
    assert len(found) == 2
    assert all("pipe:" in line for line in found)


def test_descriptor_that_means_something_else_now_is_found(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    second.touch()
    descriptor = os.open(first, os.O_RDONLY)
    before = Snapshot()
    other = os.open(second, os.O_RDONLY)
    os.dup2(other, descriptor)
    os.close(other)
    found = before.left_over()
    os.close(descriptor)
    assert found == [f"descriptor {descriptor} -> {second}"]


def test_thread_that_goes_on_is_found():
    before = Snapshot()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="goes on")
    thread.start()
    found = before.left_over()
    stop.set()
    thread.join()
    assert len(found) == 1
    assert "goes on" in found[0]


def test_logged_errors_are_found_once(reports):
    with Reports() as inner:
        logging.getLogger("asyncio").error("it failed")
        logging.getLogger("asyncio").warning("only a warning")
        assert inner.left_over() == ["logged: it failed (1 times)"]
        assert inner.left_over() == []
    # The check of this very test has seen it too.
    assert reports.take_logged() == ["it failed"]


def test_exceptions_in_finalizers_are_found():
    class Failing:
        def __del__(self):
            raise ValueError("in a finalizer")

    with Reports() as reports:
        Failing()
        [line] = reports.left_over()
    assert "ValueError: in a finalizer" in line


def test_exceptions_in_threads_are_found():
    def fail():
        raise ValueError("in a thread")

    with Reports() as reports:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        assert reports.left_over() == ["unraisable: in a thread: ValueError: in a thread (1 times)"]


def test_coroutines_that_are_never_awaited_are_found():
    async def forgotten():
        pass

    with Reports() as reports:
        forgotten()
        [line] = reports.left_over()
    assert (
        "coroutine 'test_coroutines_that_are_never_awaited_are_found.<locals>.forgotten' was never awaited"
        in line
    )


def test_forgotten_exceptions_of_tasks_are_found(loop, reports):
    async def fail():
        raise ValueError("unseen")

    with Reports() as inner:
        loop.run_until_complete(asyncio.wait([loop.create_task(fail())]))
        [line] = inner.left_over()
    assert line.startswith("logged: Task exception was never retrieved")
    assert len(reports.take_logged()) == 1


def test_unclosed_loops_are_found(loop_factory):
    with Reports() as reports:
        loop_factory()
        assert any("unclosed event loop" in line for line in reports.left_over())


def test_hooks_are_restored():
    before = (sys.unraisablehook, threading.excepthook, list(logging.getLogger("asyncio").handlers))
    with Reports():
        pass
    assert (sys.unraisablehook, threading.excepthook, list(logging.getLogger("asyncio").handlers)) == before


@pytest.mark.parametrize(
    ("where", "python", "expected"),
    [
        ("", (3, 11, 7), True),
        ("<3.14", (3, 13, 9), True),
        ("<3.14", (3, 14, 0), False),
        ("==3.13.*", (3, 13, 5), True),
        ("==3.13.*", (3, 12, 5), False),
        ([">=3.12,<3.14", "==3.15.0"], (3, 11, 9), False),
        ([">=3.12,<3.14", "==3.15.0"], (3, 15, 0), True),
    ],
)
def test_versions_are_told_apart(where, python, expected):
    assert is_affected(where, python) is expected
