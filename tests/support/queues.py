"""What the tests of queues share: one body runs in every world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.versions import SINCE_3_13
from tests.support.worlds import World

CLASSES = ("Queue", "LifoQueue", "PriorityQueue")


@pytest.fixture
def run(world: World) -> Callable[..., Any]:
    """Coroutine tests run in the world."""
    return world.run


@pytest.fixture
def shutdown_world(world: World) -> World:
    """The world, if its queues can be shut down."""
    if not world.is_ours and not SINCE_3_13:
        pytest.skip("shutdown() is new in 3.13")
    return world


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task, which must end by that."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
