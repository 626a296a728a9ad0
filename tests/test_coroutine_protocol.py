"""What the coroutines of functions and methods are to those who ask, as those of `async def` are, in every world."""

from __future__ import annotations

import asyncio
import functools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any

import pytest

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
                    [*ask]

    world.run(main)
