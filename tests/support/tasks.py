"""The ways in which one body of a test of asyncio's objects runs: kinds of loops, tasks and objects.

`objects` is a namespace with asyncio's names. Under "asyncio" it is asyncio itself on asyncio's loop; otherwise it is
sabio's objects: on sabio's loop, on sabio's loop under asyncio's C tasks, and on asyncio's loop.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

WAYS = ("asyncio", "sabio", "c-tasks", "foreign-loop")


def c_task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
    """Makes asyncio's own tasks, whatever the loop."""
    return asyncio.tasks._CTask(coro, loop=loop, **kwargs)  # type: ignore[attr-defined]


def objects_of(way: str) -> Any:
    """The namespace of the objects under test."""
    return asyncio if way == "asyncio" else importlib.import_module("sabio")


def run_way(way: str, main: Coroutine[Any, Any, Any], *, debug: bool = False) -> Any:
    """Run a coroutine to its end on a new loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    if way in ("sabio", "c-tasks"):
        factory = importlib.import_module("sabio").new_event_loop
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        if way == "c-tasks":
            runner.get_loop().set_task_factory(c_task_factory)
        return runner.run(main)
