"""`loop=`, where it once was a parameter, and what else functions of asyncio no longer take.

Python 3.10 removed the parameter from whatever finds out by itself which loop runs. Here it is taken and not used:
a loop that is running was the only one that it could name. The exception are `gather`, `shield` and `as_completed`,
which may be called while no loop runs: there it says which one the tasks are for.
"""

from __future__ import annotations

import abc
import asyncio
import functools
import inspect
import types
from collections.abc import Callable, Generator, Iterable
from typing import Any

from sabio._legacy._warning import warn_once
from sabio._replacement import Replacements

_FUNCTIONS = (
    ("tasks", "sleep"),
    ("streams", "open_connection"),
    ("streams", "start_server"),
    ("streams", "open_unix_connection"),
    ("streams", "start_unix_server"),
    ("subprocess", "create_subprocess_exec"),
    ("subprocess", "create_subprocess_shell"),
)

_CLASSES = (
    ("locks", "Lock"),
    ("locks", "Event"),
    ("locks", "Condition"),
    ("locks", "Semaphore"),
    ("locks", "BoundedSemaphore"),
    ("queues", "Queue"),
    ("queues", "LifoQueue"),
    ("queues", "PriorityQueue"),
)

#: These could be held by `with (yield from lock):`, until 3.8.
_HELD_BY_YIELD_FROM = ("Lock", "Condition", "Semaphore", "BoundedSemaphore")


def put(done: Replacements) -> None:
    """Put functions and classes that take `loop` into asyncio, in front of those that are there."""
    for module, name in _FUNCTIONS:
        done.replace(module, name, _without_loop)
    for module, name in _CLASSES:
        done.replace(module, name, _class_that_takes_loop)
    for make in (_gather, _shield, _as_completed, _wait, _wait_for):
        done.replace("tasks", make.__name__[1:], make)


def _ignore(loop: object, name: str) -> None:
    """Warn that a loop was given."""
    if loop is not None:
        warn_once(f"the loop argument of asyncio.{name} went with Python 3.10", "leave it out")


def _without_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    name = f"{function.__name__}()"

    @functools.wraps(function)
    def wrapper(*args: Any, loop: object = None, **kwargs: Any) -> Any:
        _ignore(loop, name)
        return function(*args, **kwargs)

    return wrapper


def _as_task(awaitable: Any, loop: asyncio.AbstractEventLoop | None) -> Any:
    """A task of that loop, if one was named and no loop runs; whatever else makes tasks knows the running one."""
    if loop is None or asyncio._get_running_loop() is not None or asyncio.isfuture(awaitable):
        return awaitable
    return asyncio.ensure_future(awaitable, loop=loop)


def _as_tasks(awaitables: Iterable[Any], loop: asyncio.AbstractEventLoop | None) -> list[Any]:
    awaitables = list(awaitables)
    # The same coroutine may be there twice, and stands for one task.
    tasks: dict[int, Any] = {}
    for awaitable in awaitables:
        if id(awaitable) not in tasks:
            tasks[id(awaitable)] = _as_task(awaitable, loop)
    return [tasks[id(awaitable)] for awaitable in awaitables]


def _gather(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def gather(
        *coros_or_futures: Any, loop: asyncio.AbstractEventLoop | None = None, return_exceptions: bool = False
    ) -> Any:
        _ignore(loop, "gather()")
        if loop is not None and not coros_or_futures and asyncio._get_running_loop() is None:
            nothing: asyncio.Future[list[Any]] = loop.create_future()
            nothing.set_result([])
            return nothing
        return original(*_as_tasks(coros_or_futures, loop), return_exceptions=return_exceptions)

    return gather


def _shield(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def shield(arg: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> Any:
        _ignore(loop, "shield()")
        return original(_as_task(arg, loop))

    return shield


def _as_completed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def as_completed(
        fs: Iterable[Any], *, loop: asyncio.AbstractEventLoop | None = None, timeout: float | None = None
    ) -> Any:
        _ignore(loop, "as_completed()")
        # What is no collection of awaitables is the original's to complain of.
        if loop is not None and isinstance(fs, Iterable) and not asyncio.iscoroutine(fs):
            fs = _as_tasks(fs, loop)
        return original(fs, timeout=timeout)

    return as_completed


def _wait(original: Callable[..., Any]) -> Callable[..., Any]:
    @types.coroutine
    def wait_for_tasks(fs: Iterable[Any], **kwargs: Any) -> Generator[Any, Any, Any]:
        # As before 3.11 the tasks are made when the waiting begins, for it may be asked for while no loop runs.
        return (yield from original([asyncio.ensure_future(one) for one in fs], **kwargs).__await__())

    @functools.wraps(original)
    def wait(
        fs: Iterable[Any],
        *,
        loop: object = None,
        timeout: float | None = None,
        return_when: str = asyncio.ALL_COMPLETED,
    ) -> Any:
        _ignore(loop, "wait()")
        # One coroutine is no collection of them, though a generator could be taken for one.
        if not asyncio.iscoroutine(fs):
            fs = set(fs)
            if any(asyncio.iscoroutine(one) for one in fs):
                warn_once(
                    "asyncio.wait() takes no coroutines from Python 3.11 on", "use asyncio.create_task()"
                )
                return wait_for_tasks(fs, timeout=timeout, return_when=return_when)
        return original(fs, timeout=timeout, return_when=return_when)

    return wait


def _wait_for(original: Callable[..., Any]) -> Callable[..., Any]:
    @types.coroutine
    def wait_for_generator(generator: Any, timeout: float | None) -> Generator[Any, Any, Any]:
        return (yield from original(asyncio.ensure_future(generator), timeout).__await__())

    @functools.wraps(original)
    def wait_for(fut: Any, timeout: float | None, *, loop: object = None) -> Any:
        _ignore(loop, "wait_for()")
        # It need not be made a task to be waited for, but must be if it cannot be awaited.
        if isinstance(fut, types.GeneratorType) and not inspect.isawaitable(fut):
            return wait_for_generator(fut, timeout)
        return original(fut, timeout)

    return wait_for


class _LegacyType(abc.ABCMeta):
    """The type of classes that stand in for others: what is an instance of the other is one of theirs.

    An ABCMeta, so that classes derived from them may have abstract bases, too.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        if "_stands_for" in vars(cls):
            return isinstance(instance, vars(cls)["_stands_for"])
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if "_stands_for" in vars(cls):
            return issubclass(subclass, vars(cls)["_stands_for"])
        return super().__subclasscheck__(subclass)


def stand_in(original: type[Any], members: dict[str, Any]) -> type[Any]:
    """A class derived from `original` with more members, which every instance of `original` is an instance of."""
    names = {
        "__doc__": original.__doc__,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "_stands_for": original,
        **members,
    }
    return _LegacyType(original.__name__, (original,), names)


def _class_that_takes_loop(original: Any) -> type[Any]:
    name = original.__name__
    make: Any = original.__new__

    def new(cls: type[Any], *args: Any, loop: object = None, **kwargs: Any) -> Any:
        return make(cls) if make is object.__new__ else make(cls, *args, **kwargs)

    def init(self: Any, *args: Any, loop: object = None, **kwargs: Any) -> None:
        _ignore(loop, name)
        if original.__init__ is not object.__init__:
            original.__init__(self, *args, **kwargs)

    members: dict[str, Any] = {"__new__": new, "__init__": init}
    if name in _HELD_BY_YIELD_FROM:
        members |= {"__await__": _acquire, "__iter__": _acquire}
    return stand_in(original, members)


def _acquire(self: Any) -> Generator[Any, Any, _Held]:
    """`with (yield from lock):` and `with await lock:`."""
    warn_once("'with await lock' went with Python 3.9", "use 'async with lock'")
    yield from self.acquire().__await__()
    return _Held(self)


class _Held:
    """A lock that was acquired, for a `with` statement."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_exception: object) -> None:
        self._lock.release()
