"""Loops that are closed and dropped in the middle of something: nothing of it may live on."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

from tests.support.waiting import turns


def task_left_waiting(
    sabio: ModuleType, work: Callable[[], Coroutine[Any, Any, Any]]
) -> asyncio.Task[Any] | None:
    """The task that ran `work` on a loop that was dropped while it waited, if a collection has left it."""

    async def start() -> weakref.ref[asyncio.Task[Any]]:
        task = asyncio.create_task(work())
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        await turns(2)
        return weakref.ref(task)

    loop = sabio.new_event_loop()
    ref = loop.run_until_complete(start())
    loop.close()
    del loop
    gc.collect()
    return ref()
