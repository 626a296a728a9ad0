"""Coroutines that are generators: `@asyncio.coroutine`, and generators where asyncio takes coroutines.

Before `async def`, coroutines were generators that waited with `yield from`. The interpreter still has all it takes:
a generator function marked by `types.coroutine` gives generators that can be awaited, and that may wait for coroutines.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
from asyncio import coroutines, futures
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from sabio._legacy._warning import warn_once
from sabio._replacement import Replacements


def coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a generator function as a coroutine function (Python 3.10: Generator-based coroutines).

    Of a function that gives a future or another awaitable, or that waits for nothing, it makes a coroutine as well.
    """
    warn_once("asyncio.coroutine went with Python 3.11", "use async def")
    if inspect.iscoroutinefunction(function):
        return function
    generator = function if inspect.isgeneratorfunction(function) else _as_generator(function)
    marked = types.coroutine(generator)
    vars(marked)["_is_coroutine"] = vars(coroutines).get("_is_coroutine")
    return marked


def _as_generator(function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        result = function(*args, **kwargs)
        if futures.isfuture(result) or inspect.isgenerator(result):
            return (yield from result)
        if isinstance(result, Awaitable):
            return (yield from result.__await__())
        return result

    return generator


class _GeneratorType(type):
    """What makes `isinstance(x, _Generator)` hold for generators, and warn."""

    def __instancecheck__(cls, instance: object) -> bool:
        if not isinstance(instance, types.GeneratorType):
            return False
        # Those of functions marked as coroutines have had their warning.
        if not instance.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE:
            warn_once("generators are no coroutines from Python 3.12 on", "use async def")
        return True


class _Generator(metaclass=_GeneratorType):
    pass


class _TypesWithoutGenerator(set[type]):
    """Generators are looked at one by one: one that is marked as a coroutine says nothing about the next."""

    def add(self, element: type) -> None:
        if element is not types.GeneratorType:
            super().add(element)


def put(done: Replacements) -> None:
    """Let generators count as coroutines, everywhere: all of asyncio asks `asyncio.iscoroutine`, C code included."""
    for module in (asyncio, coroutines):
        done.put(vars(module), "coroutine", coroutine)
    types_of_coroutines = vars(coroutines)["_COROUTINE_TYPES"]
    if types.GeneratorType not in types_of_coroutines:
        done.put(vars(coroutines), "_COROUTINE_TYPES", (*types_of_coroutines, _Generator))
        # The cache of what was found to be a coroutine: those that are generators shall not outlive this.
        done.put(vars(coroutines), "_iscoroutine_typecache", _TypesWithoutGenerator())
