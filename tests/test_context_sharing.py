"""Callbacks share contexts behind the scenes; nobody may notice.

Each body runs on asyncio and on sabio: what a callback sets in its context is seen by no other callback, whatever was
scheduled together with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from types import ModuleType

import pytest

variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default=0)


def run_ready(loop: asyncio.AbstractEventLoop) -> None:
    """Run everything that is ready or due within a few milliseconds."""
    loop.call_later(0.02, loop.stop)
    loop.run_forever()


def test_contexts_are_shared_on_this_interpreter(sabio: ModuleType) -> None:
    assert sabio._sabio._shares_contexts


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "later"])
def test_what_a_callback_sets_is_not_seen_by_its_neighbours(
    loop: asyncio.AbstractEventLoop, method: str
) -> None:
    seen: list[object] = []

    def callback() -> None:
        seen.append(variable.get())
        variable.set("changed")

    def schedule() -> None:
        variable.set("scheduled")
        for _ in range(5):
            if method == "later":
                loop.call_later(0, callback)
            else:
                getattr(loop, method)(callback)

    contextvars.copy_context().run(schedule)
    run_ready(loop)
    assert seen == ["scheduled"] * 5


def test_a_callback_sees_the_state_at_the_time_it_was_scheduled(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[object] = []

    def schedule() -> None:
        for value in range(6):
            variable.set(value)
            loop.call_soon(lambda: seen.append(variable.get()))
            loop.call_soon(lambda: seen.append(variable.get()))

    contextvars.copy_context().run(schedule)
    run_ready(loop)
    assert seen == [value for value in range(6) for _ in range(2)]


def test_callbacks_of_a_callback_see_what_it_set(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[object] = []

    def outer(value: int) -> None:
        loop.call_soon(lambda: seen.append(("before", variable.get())))
        variable.set(value)
        loop.call_soon(lambda: seen.append(("after", variable.get())))

    for value in (1, 2):
        loop.call_soon(outer, value)
    run_ready(loop)
    assert seen == [("before", 0), ("after", 1), ("before", 0), ("after", 2)]


@pytest.mark.skipif(not hasattr(asyncio.Handle, "get_context"), reason="Handle.get_context() is of 3.12")
def test_the_context_of_a_handle_is_the_one_its_callback_ran_in(loop: asyncio.AbstractEventLoop) -> None:
    handles = [loop.call_soon(variable.set, value) for value in range(3)]
    contexts = [handle.get_context() for handle in handles]
    run_ready(loop)
    assert [context[variable] for context in contexts] == [0, 1, 2]
    assert variable.get() == 0


def test_the_exception_handler_runs_in_the_context_of_the_callback(
    loop: asyncio.AbstractEventLoop, loop_name: str
) -> None:
    seen: list[object] = []
    loop.set_exception_handler(lambda _loop, _context: seen.append(variable.get()))

    def fail(value: int) -> None:
        variable.set(value)
        raise ValueError(value)

    for value in (1, 2, 3):
        loop.call_soon(fail, value)
    loop.call_soon(lambda: seen.append(variable.get()))
    run_ready(loop)
    in_its_context = hasattr(asyncio.Handle, "get_context") or loop_name == "sabio"
    handled = [1, 2, 3] if in_its_context else [0, 0, 0]
    assert sorted(map(int, seen)) == sorted([*handled, 0])


def test_an_idle_loop_keeps_no_values_alive(loop: asyncio.AbstractEventLoop) -> None:
    class Value:
        pass

    def schedule() -> weakref.ref[Value]:
        value = Value()
        variable.set(value)
        for _ in range(3):
            loop.call_soon(lambda: None)
        return weakref.ref(value)

    reference = contextvars.copy_context().run(schedule)
    run_ready(loop)
    gc.collect()
    assert reference() is None
