"""Queues and the garbage collector: whatever hangs together through a queue goes together."""

import asyncio
import gc
import weakref

import pytest

from tests.support.queues import run
from tests.support.waiting import turns

__all__ = ["run"]


class Item:
    """Something that can be weakly referenced and that refers to anything."""


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
@pytest.mark.parametrize("looked_at", [False, True])
def test_items_that_refer_to_their_queue(world, name, looked_at):
    queue = getattr(world, name)()
    item = Item()
    item.queue = queue
    known = [weakref.ref(queue), weakref.ref(item)]
    queue.put_nowait(item)
    if looked_at:
        assert list(queue._queue) == [item]
    del queue, item
    gc.collect()
    assert [ref() for ref in known] == [None, None]


def test_subclass_that_refers_to_itself(world):
    class Own(world.Queue):
        def _put(self, item):
            super()._put(item)

    queue = Own()
    queue.put_nowait(queue)
    queue.itself = queue
    known = [weakref.ref(queue), weakref.ref(Own)]
    del queue, Own
    gc.collect()
    assert [ref() for ref in known] == [None, None]


@pytest.mark.parametrize("method", ["get", "put", "join"])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_coroutine_that_is_never_awaited(world, method):
    queue = world.Queue(1)
    item = Item()
    coroutine = getattr(queue, method)(*([item] if method == "put" else []))
    item.coroutine = coroutine
    known = [weakref.ref(queue), weakref.ref(item)]
    coroutine.close()
    del queue, item, coroutine
    gc.collect()
    assert [ref() for ref in known] == [None, None]


@pytest.mark.parametrize("method", ["get", "put", "join"])
async def test_task_that_waits_for_a_queue_that_nobody_has(world, reports, method):
    async def wait(queue, item):
        await getattr(queue, method)(*([item] if method == "put" else []))

    queue, item = world.Queue(1), Item()
    if method != "get":
        queue.put_nowait(1)
    item.queue = queue
    task = asyncio.create_task(wait(queue, item))
    known = [weakref.ref(queue), weakref.ref(item), weakref.ref(task)]
    await turns(2)
    assert not task.done()
    del queue, item, task
    # What the coroutines of asyncio do when they are closed may keep them until the loop has had a turn.
    for _ in range(2):
        gc.collect()
        await turns(1)
    gc.collect()
    assert [ref() for ref in known] == [None, None, None]
    [message] = reports.take_logged()
    assert message.startswith("Task was destroyed but it is pending!")


async def test_waiting_tasks_are_seen_through_the_queue(world):
    queue = world.Queue()
    getter = asyncio.create_task(queue.get())
    await turns(1)
    gc.collect()
    queue.put_nowait(1)
    assert await getter == 1


async def test_queue_goes_when_its_last_user_is_gone(world):
    queue = world.Queue()
    known = weakref.ref(queue)
    await queue.put(1)
    assert await queue.get() == 1
    del queue
    assert known() is None
