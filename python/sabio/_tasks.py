"""Task factories whose tasks begin to run at once (asyncio: Eager Task Factory).

`sabio.eager_task_factory` is a Python function, as asyncio's is, because libraries tell it by its `__code__`; loops of
sabio know it and make its tasks without calling it. Other factories that are made here are called for each task; what
they cost is what the class of the tasks costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sabio import _sabio


def create_eager_task_factory(
    custom_task_constructor: Callable[..., asyncio.Task[Any]],
) -> Callable[..., asyncio.Task[Any]]:
    """A task factory whose tasks begin to run at once (asyncio: Eager Task Factory).

    `custom_task_constructor` is called as `Task` would be: with the coroutine and the keywords `loop` and
    `eager_start`, and whatever `create_task` was called with.
    """

    def factory(
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        *,
        eager_start: bool = True,
        **kwargs: Any,
    ) -> asyncio.Task[Any]:
        return custom_task_constructor(coro, loop=loop, eager_start=eager_start, **kwargs)

    return factory


eager_task_factory = create_eager_task_factory(_sabio.Task)
_sabio._set_eager_task_factory(eager_task_factory)
