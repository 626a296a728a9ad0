"""Names that asyncio no longer has: of functions, classes and methods that were renamed, moved or given up."""

from __future__ import annotations

import asyncio
import selectors
from asyncio import events, exceptions, futures, queues, streams, tasks
from typing import Any

from sabio import _sabio
from sabio._legacy._argument import stand_in
from sabio._legacy._warning import warn_once
from sabio._legacy._watcher import watcher_names
from sabio._replacement import Replacements

#: Exceptions that had their place in other modules before 3.8.
_MOVED = (
    (futures, ("CancelledError", "InvalidStateError", "TimeoutError")),
    (tasks, ("CancelledError", "InvalidStateError", "TimeoutError")),
    (streams, ("IncompleteReadError", "LimitOverrunError")),
)


def put(done: Replacements) -> None:
    """Put the names back that the running version does not have."""

    def add(module: Any, name: str, value: Any) -> None:
        if name not in vars(module):
            done.put(vars(module), name, value)

    add(asyncio, "async", _async)
    add(tasks, "async", _async)
    for module in (asyncio, queues):
        add(module, "JoinableQueue", _joinable_queue())
    add(asyncio, "selectors", selectors)
    for module, names in _MOVED:
        for name in names:
            add(module, name, vars(exceptions)[name])
    # Only the name that programs use: loops look into the module for what they shall make.
    done.put(vars(asyncio), "Task", stand_in(_sabio.Task, _TASK_METHODS | {"_stands_for": asyncio.Task}))
    for name, value in watcher_names().items():
        for module in (asyncio, events):
            add(module, name, value)


def _async(coro_or_future: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Future[Any]:
    """`asyncio.ensure_future`, whose name this was before `async` became a keyword."""
    warn_once("asyncio.async() went with Python 3.7", "use asyncio.create_task() or asyncio.ensure_future()")
    task: asyncio.Future[Any] = asyncio.ensure_future(coro_or_future, loop=loop)
    return task


def _joinable_queue() -> type[Any]:
    queue: type[Any] = asyncio.Queue

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        warn_once("asyncio.JoinableQueue went with Python 3.5", "use asyncio.Queue, which has its methods")
        queue.__init__(self, *args, **kwargs)

    return stand_in(queue, {"__init__": init})


def _current_task(loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[Any] | None:
    """The task that the loop is running."""
    warn_once("asyncio.Task.current_task() went with Python 3.9", "use asyncio.current_task()")
    return asyncio.current_task(asyncio.get_event_loop() if loop is None else loop)


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """The tasks of the loop that are not done."""
    warn_once("asyncio.Task.all_tasks() went with Python 3.9", "use asyncio.all_tasks()")
    return asyncio.all_tasks(asyncio.get_event_loop() if loop is None else loop)


_TASK_METHODS: dict[str, Any] = {
    "current_task": staticmethod(_current_task),
    "all_tasks": staticmethod(_all_tasks),
}
