"""What the tests of locks and their like share: one body runs in every way of `WAYS`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.tasks import WAYS, objects_of, run_way


def in_every_way(body: Callable[..., Any]) -> Callable[..., None]:
    """Run a coroutine function with the objects under test as its first argument, once in every way."""

    @functools.wraps(body)
    def test(way: str, **kwargs: Any) -> None:
        if way != "asyncio":
            pytest.importorskip("sabio")
        run_way(way, body(objects_of(way), **kwargs))

    parameters = list(inspect.signature(body).parameters.values())[1:]
    way = inspect.Parameter("way", inspect.Parameter.KEYWORD_ONLY)
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters] + [way]
    )
    del test.__wrapped__  # type: ignore[attr-defined]
    return pytest.mark.parametrize("way", WAYS)(test)


async def turns(count: int = 1) -> None:
    """Let everything that is ready run, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settle() -> None:
    """Let everything run that can: asyncio's tasks on sabio's loop need a turn more to wake up."""
    await turns(24)


def spawn(coro: Any) -> asyncio.Task[Any]:
    """A task under the loop's task factory."""
    return asyncio.get_running_loop().create_task(coro)


async def ended(*tasks: asyncio.Task[Any]) -> list[Any]:
    """The result or the exception's type of each task."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else result for result in results]
