"""What the coroutines of functions and methods are to those who ask, as those of `async def` are, in every world."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import tracemalloc
import types
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any

import pytest

from tests.support.versions import SINCE_3_12, SINCE_3_15
from tests.support.worlds import World


def lock_that_is_held(world: World) -> Any:
    lock = world.Lock()
    lock._locked = True
    return lock


#: Coroutines of every class that there is.
MAKERS: dict[str, Callable[[World], Any]] = {
    "sleep": lambda world: world.sleep(0.001),
    "turn": lambda world: world.sleep(0),
    "event": lambda world: world.Event().wait(),
    "free lock": lambda world: world.Lock().__aenter__(),
    "held lock": lambda world: lock_that_is_held(world).__aenter__(),
    "timeout": lambda world: world.timeout(1).__aenter__(),
    "group": lambda world: world.TaskGroup().__aenter__(),
    "wait_for": lambda world: world.wait_for(asyncio.get_running_loop().create_future(), 1),
    "thread": lambda world: world.to_thread(int),
    "getaddrinfo": lambda world: asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1),
}


@functools.singledispatch
def kind(_object: object) -> str:
    return "other"


kind.register(Iterable, lambda _object: "iterable")
kind.register(Awaitable, lambda _object: "awaitable")


@pytest.mark.parametrize("name", MAKERS)
def test_a_coroutine_is_no_generator_and_no_iterator(world: World, name: str) -> None:
    async def main() -> None:
        coroutine = MAKERS[name](world)
        try:
            assert isinstance(coroutine, Coroutine)
            assert isinstance(coroutine, Awaitable)
            for abstract in (Iterable, Iterator, Generator, AsyncIterator):
                assert not isinstance(coroutine, abstract), abstract
            assert not hasattr(coroutine, "__iter__")
            assert not hasattr(coroutine, "__next__")
            assert kind(coroutine) == "awaitable"
        finally:
            coroutine.close()

    world.run(main)


class Awaits:
    """Awaits by hand, as what is written in C does by the slot: by the method of the class."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Any:
        iterator = type(self.coroutine).__await__(self.coroutine)
        assert iter(iterator) is iterator
        while True:
            try:
                yielded = next(iterator)
            except StopIteration as stop:
                return stop.value
            yield yielded


@types.coroutine
def delegates(coroutine: Any) -> Any:
    return (yield from coroutine)


@types.coroutine
def gives(coroutine: Any) -> Any:
    return coroutine


WAYS = {
    "await": lambda coroutine: coroutine,
    "task": asyncio.ensure_future,
    "Python task": lambda coroutine: asyncio.tasks._PyTask(coroutine),  # type: ignore[attr-defined]
    "C task": lambda coroutine: asyncio.tasks._CTask(coroutine),  # type: ignore[attr-defined]
    "by hand": Awaits,
    "yield from": delegates,
    "a function that gives it": gives,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_coroutine_is_awaited_in_every_way(world: World, way: str) -> None:
    async def main() -> None:
        assert await WAYS[way](world.sleep(0.001, "slept")) == "slept"
        assert await WAYS[way](world.sleep(0)) is None
        queue = world.Queue()
        asyncio.get_running_loop().call_soon(queue.put_nowait, 1)
        assert await WAYS[way](queue.get()) == 1
        queue.put_nowait(2)
        assert await WAYS[way](queue.get()) == 2
        assert await WAYS[way](world.Lock().__aenter__()) is None
        assert await WAYS[way](world.to_thread(len, "abc")) == 3

    world.run(main)


def test_iteration_takes_a_native_coroutine(world: World) -> None:
    def plain(coroutine: Any) -> Any:
        yield from coroutine

    async def main() -> None:
        coroutine = world.sleep(0)
        assert (coroutine.__await__() is coroutine) == world.is_ours
        coroutine.close()
        if world.is_ours:
            assert [*plain(world.sleep(0))] == [None]
            assert [*world.sleep(0)] == [None]
        else:
            for ask in (plain(coroutine), coroutine):
                with pytest.raises(TypeError):
                    list(ask)

    world.run(main)


@pytest.mark.parametrize("wrong", [None, 5, "text", object, int, ()], ids=repr)
@pytest.mark.parametrize("name", ["event", "held lock", "turn", "sleep"])
def test_what_is_no_exception_is_not_thrown(world: World, name: str, wrong: object) -> None:
    async def main() -> None:
        coroutine = MAKERS[name](world)
        for _ in range(2):
            with pytest.raises(TypeError, match=r"^exceptions must be classes or instances deriving from"):
                coroutine.throw(wrong)
        for arguments in ((), (ValueError, None, None, None)):
            with pytest.raises(TypeError):
                coroutine.throw(*arguments)
        # It has not noticed.
        coroutine.send(None)
        coroutine.close()

    world.run(main)


@pytest.mark.parametrize("name", ["event", "held lock", "turn"])
def test_what_is_no_exception_ends_a_coroutine_that_waits(world: World, name: str) -> None:
    async def main() -> None:
        coroutine = MAKERS[name](world)
        coroutine.send(None)
        with pytest.raises(TypeError, match=r"^exceptions must be classes"):
            coroutine.throw(5)
        with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
            coroutine.send(None)

    world.run(main)


class Unmakable(Exception):
    def __init__(self) -> None:
        raise LookupError("not made")


@pytest.mark.parametrize(
    ("arguments", "raised", "goes_on"),
    [
        ((ValueError("given"), None), ValueError("given"), False),
        ((ValueError, "text"), ValueError("text"), False),
        ((ValueError, ("a", "b")), ValueError("a", "b"), False),
        ((ValueError, ValueError("given"), None), ValueError("given"), False),
        ((Unmakable, None), LookupError("not made"), False),
        ((ValueError("given"), "text"), TypeError("instance exception may not have a separate value"), True),
        ((ValueError, None, 5), TypeError("throw() third argument must be a traceback object"), True),
    ],
    ids=repr,
)
def test_throw_of_several_arguments(
    world: World, arguments: tuple[Any, ...], raised: Exception, goes_on: bool
) -> None:
    async def main() -> None:
        coroutine = world.Event().wait()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(type(raised)) as thrown:
                coroutine.throw(*arguments)
        assert (thrown.value.args, type(thrown.value)) == (raised.args, type(raised))
        assert [warning.category for warning in caught] == [DeprecationWarning] * SINCE_3_12
        assert [warning.filename for warning in caught] == [__file__] * SINCE_3_12
        if goes_on:
            coroutine.send(None)
        coroutine.close()

    world.run(main)


@pytest.mark.skipif(not SINCE_3_12, reason="not deprecated yet")
def test_a_deprecation_that_is_an_error_leaves_the_coroutine_alone(world: World) -> None:
    async def main() -> None:
        coroutine = world.Event().wait()
        with pytest.raises(
            DeprecationWarning, match=r"^the \(type, exc, tb\) signature of throw\(\) is deprec"
        ):
            coroutine.throw(ValueError, None)
        coroutine.send(None)
        coroutine.close()

    world.run(main)


@pytest.mark.parametrize("name", ["event", "held lock", "turn", "sleep", "getaddrinfo", "timeout", "group"])
def test_the_warning_of_one_that_nobody_awaited_tells_which(world: World, name: str) -> None:
    async def main() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            MAKERS[name](world)
        [warning] = caught
        assert warning.category is RuntimeWarning
        assert warning.filename == __file__
        source: Any = warning.source
        assert str(warning.message) == f"coroutine '{source.__qualname__}' was never awaited"
        assert isinstance(source, Coroutine)
        source.close()

    world.run(main)


def test_tracemalloc_knows_where_a_coroutine_was_made(world: World) -> None:
    if world.name == "sabio-on-asyncio":
        pytest.skip("noticed when a loop of ours begins to run")

    async def main() -> None:
        queue, event = world.Queue(), world.Event()
        event.set()
        makers = (queue.get, event.wait, lambda: world.sleep(0), lambda: world.sleep(1))
        # Memory that was allocated before is used up: nothing is known of that.
        held = [make() for make in makers for _ in range(100)]
        # What has ended might be used again for the next one.
        for _ in range(3):
            queue.put_nowait(1)
            await queue.get()
            await event.wait()
            await world.sleep(0)
        try:
            for make in makers:
                line = sys._getframe().f_lineno + 1
                coroutine = make()
                traceback = tracemalloc.get_object_traceback(coroutine)
                coroutine.close()
                assert traceback is not None
                assert (__file__, line) in [(frame.filename, frame.lineno) for frame in traceback]
        finally:
            for coroutine in held:
                coroutine.close()

    tracemalloc.start(5)
    try:
        world.run(main)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["event", "held lock", "turn", "sleep", "group"])
def test_the_states_of_a_coroutine(world: World, name: str) -> None:
    def state(coroutine: Any) -> str:
        told = inspect.getcoroutinestate(coroutine)
        if world.is_ours:
            assert (told == coroutine.cr_state) == (SINCE_3_15 or coroutine.cr_state != "CORO_CREATED")
            told = coroutine.cr_state
        return told.removeprefix("CORO_").lower()

    async def main() -> None:
        coroutine = MAKERS[name](world)
        states = [state(coroutine)]
        if name != "group":
            coroutine.send(None)
            states.append(state(coroutine))
        coroutine.close()
        states.append(state(coroutine))
        assert states == ["created", "suspended", "closed"] or states == ["created", "closed"]

        loop = asyncio.get_running_loop()
        event = world.Event()
        running = event.wait()
        task = loop.create_task(running)
        await asyncio.sleep(0)
        assert state(running) == "suspended"
        event.set()
        await task
        assert state(running) == "closed"

    world.run(main)


def test_a_coroutine_that_runs_tells_it(world: World) -> None:
    if not (world.is_ours or SINCE_3_12):
        pytest.skip("asyncio's wait_for makes a task before 3.12")
    states = []

    class Future(asyncio.Future):  # type: ignore[type-arg]
        def __await__(self) -> Any:
            states.append((waiting.cr_running, inspect.getcoroutinestate(waiting)))
            return super().__await__()

    async def main() -> None:
        nonlocal waiting
        future: asyncio.Future[int] = Future()
        future.get_loop().call_soon(future.set_result, 1)
        waiting = world.wait_for(future, 10)
        assert await waiting == 1
        assert states == [(True, "CORO_RUNNING")]

    waiting: Any = None
    world.run(main)
