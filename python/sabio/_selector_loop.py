"""What `asyncio.SelectorEventLoop` is while sabio is installed.

Programs and servers name this class when all that they want is a loop that is not uvloop's: uvicorn does so unless it
is told otherwise. They get a loop of sabio's. Who brings a selector, or derives a class from it, means asyncio's own,
whose insides he knows, and gets that.
"""

from __future__ import annotations

import asyncio
import selectors
import types
from typing import Any

from sabio import _sabio


class _StandIn(type):
    """The class of the stand-in: what is made by calling it, what derives from it and what is an instance of it."""

    __wrapped__: type[asyncio.SelectorEventLoop]

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        own = tuple(base.__wrapped__ if isinstance(base, _StandIn) else base for base in bases)
        return types.new_class(name, own, options, lambda made: made.update(namespace))

    def __call__(cls, selector: selectors.BaseSelector | None = None) -> asyncio.AbstractEventLoop:
        return _sabio.Loop() if selector is None else cls.__wrapped__(selector)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (cls.__wrapped__, _sabio.Loop))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, (cls.__wrapped__, _sabio.Loop))


def stand_in(original: type[asyncio.SelectorEventLoop]) -> type:
    """A class with the name and the attributes of asyncio's `original`, for its place."""
    namespace = {
        "__module__": original.__module__,
        "__qualname__": "SelectorEventLoop",
        "__doc__": original.__doc__,
        "__wrapped__": original,
    }
    return type.__new__(_StandIn, "SelectorEventLoop", (original,), namespace)
