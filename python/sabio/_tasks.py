"""`create_eager_task_factory`: task factories of any class of tasks.

`sabio.eager_task_factory` is native, and the loop makes its tasks without calling it. The factories that are made here
are called by the loop for each task; what they cost is what the class of the tasks costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


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
