"""The settings in which a program must behave the same: asyncio's own, and those with sabio's objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.fuzz.execute import Setting

NAMES = (
    "Lock",
    "Event",
    "Condition",
    "Semaphore",
    "BoundedSemaphore",
    "Barrier",
    "Queue",
    "LifoQueue",
    "PriorityQueue",
    "TaskGroup",
    "timeout",
    "wait_for",
    "wait",
    "gather",
    "shield",
    "as_completed",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "ALL_COMPLETED",
)


class _Ordered:
    """What a task group keeps of its tasks, in the order in which they came and not by their addresses."""

    def __init__(self) -> None:
        self._tasks: dict[Any, None] = {}

    def add(self, task: Any) -> None:
        self._tasks[task] = None

    def discard(self, task: Any) -> None:
        self._tasks.pop(task, None)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)


class OrderedTaskGroup(asyncio.TaskGroup):
    """asyncio's task group, which cancels its tasks in the order of a set: here in the order in which they began."""

    def __init__(self) -> None:
        """Like asyncio's."""
        super().__init__()
        self._tasks = _Ordered()


def namespace(module: ModuleType) -> SimpleNamespace:
    """The names that programs use, out of a module or, what it does not have, out of asyncio."""
    names = {name: getattr(module, name, getattr(asyncio, name)) for name in NAMES}
    if names["TaskGroup"] is asyncio.TaskGroup:
        names["TaskGroup"] = OrderedTaskGroup
    return SimpleNamespace(**names)


def reference() -> Setting:
    """asyncio, which says what is right."""
    return Setting("asyncio", asyncio.SelectorEventLoop, namespace(asyncio))


def under_test(sabio: ModuleType) -> list[Setting]:
    """The loop and objects of sabio, and its objects on asyncio's loop.

    asyncio's own tasks on sabio's loop are left out: they hear of a wake-up a turn later, and a lock that somebody
    else releases in that turn is then free where it was not before.
    """
    ours = namespace(sabio)
    return [
        Setting("sabio", sabio.new_event_loop, ours),
        Setting("sabio's objects on asyncio's loop", asyncio.SelectorEventLoop, ours),
    ]
