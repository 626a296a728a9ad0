"""Queues: the end of the work, join() and task_done(), and of the queue, shutdown(), in every world."""

import asyncio

import pytest

from tests.support.queues import CLASSES, cancel, run, shutdown_world
from tests.support.waiting import turns

__all__ = ["run", "shutdown_world"]


# ---------------------------------------------------------------- join


@pytest.mark.parametrize("name", CLASSES)
async def test_join_and_task_done(world, name):
    queue = getattr(world, name)()
    await queue.join()
    for item in range(3):
        queue.put_nowait(item)
    joiners = [asyncio.create_task(queue.join()) for _ in range(2)]
    for _ in range(3):
        await turns(2)
        assert not any(joiner.done() for joiner in joiners)
        await queue.get()
        queue.task_done()
    await asyncio.gather(*joiners)
    with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
        queue.task_done()


async def test_join_ends_though_more_was_put_since(world):
    queue = world.Queue()
    queue.put_nowait(1)
    joiner = asyncio.create_task(queue.join())
    await turns(1)
    queue.task_done()
    queue.put_nowait(2)
    await joiner


async def test_cancelled_join(world):
    queue = world.Queue()
    queue.put_nowait(1)
    first, second = (asyncio.create_task(queue.join()) for _ in range(2))
    await turns(1)
    await cancel(first)
    queue.task_done()
    await second


# ---------------------------------------------------------------- shutdown


@pytest.mark.parametrize("name", CLASSES)
async def test_shutdown(shutdown_world, name):
    world = shutdown_world
    queue = getattr(world, name)(1)
    queue.put_nowait(1)
    putter, joiner = asyncio.create_task(queue.put(2)), asyncio.create_task(queue.join())
    await turns(1)
    queue.shutdown()
    assert queue._is_shutdown
    with pytest.raises(world.QueueShutDown):
        await putter
    with pytest.raises(world.QueueShutDown):
        queue.put_nowait(2)
    with pytest.raises(world.QueueShutDown):
        await queue.put(2)
    assert await queue.get() == 1
    with pytest.raises(world.QueueShutDown):
        await queue.get()
    with pytest.raises(world.QueueShutDown):
        queue.get_nowait()
    assert not joiner.done()
    queue.task_done()
    await joiner
    queue.shutdown(immediate=True)


@pytest.mark.parametrize("name", CLASSES)
async def test_immediate_shutdown(shutdown_world, name):
    world = shutdown_world
    queue = getattr(world, name)(2)
    for item in (1, 2):
        queue.put_nowait(item)
    tasks = [asyncio.create_task(queue.put(3)), asyncio.create_task(queue.join())]
    await turns(1)
    assert queue.get_nowait() == 1 or name == "LifoQueue"
    queue.shutdown(True)
    assert (queue.qsize(), queue._unfinished_tasks) == (0, 1)
    await turns(2)
    assert [task.done() for task in tasks] == [True, False]
    assert isinstance(tasks[0].exception(), world.QueueShutDown)
    queue.task_done()
    await tasks[1]


async def test_shutdown_ends_every_wait(shutdown_world):
    world = shutdown_world
    queue = world.Queue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await turns(1)
    queue.shutdown()
    for outcome in await asyncio.gather(*getters, return_exceptions=True):
        assert type(outcome) is world.QueueShutDown
        assert outcome.args == ()
