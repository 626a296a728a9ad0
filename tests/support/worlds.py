"""The worlds in which what waits is tested: whose objects, under whose tasks, on whose loop."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

#: asyncio's own; ours on our loop; ours under C tasks on our loop; ours on asyncio's loop.
WORLDS = ("asyncio", "sabio", "sabio-c-task", "sabio-on-asyncio")


def c_task(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
    """A task factory: the interpreter's own tasks."""
    return asyncio.tasks._CTask(coro, loop=loop, **kwargs)  # type: ignore[attr-defined]


class World:
    """One of `WORLDS`: its classes and exceptions as attributes, and `run()`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_ours = name != "asyncio"
        self.module: ModuleType = importlib.import_module("sabio") if self.is_ours else asyncio

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        if self.name in ("asyncio", "sabio-on-asyncio"):
            return asyncio.SelectorEventLoop()
        loop: asyncio.AbstractEventLoop = self.module.new_event_loop()
        if self.name == "sabio-c-task":
            loop.set_task_factory(c_task)
        return loop

    def run(
        self, main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, debug: bool = False, **kwargs: Any
    ) -> Any:
        with asyncio.Runner(loop_factory=self.new_event_loop, debug=debug) as runner:
            return runner.run(main(*args, **kwargs))
