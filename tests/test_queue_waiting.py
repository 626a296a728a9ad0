"""Queues: who waits for an item or for room, in which order, and who is cancelled meanwhile, in every world."""

import asyncio
import gc
import weakref

import pytest

from tests.support.queues import cancel, run
from tests.support.waiting import turns

__all__ = ["run"]


# ---------------------------------------------------------------- waiting


async def test_producer_and_consumer(world):
    queue = world.Queue(1)

    async def produce():
        for item in range(100):
            await queue.put(item)

    async def consume():
        return [await queue.get() for _ in range(100)]

    producer, consumer = asyncio.create_task(produce()), asyncio.create_task(consume())
    assert await consumer == list(range(100))
    await producer
    assert queue._unfinished_tasks == 100


async def test_getters_come_first_served_first(world):
    queue = world.Queue()
    getters = [asyncio.create_task(queue.get()) for _ in range(4)]
    await turns(1)
    assert len(queue._getters) == 4
    for item in range(4):
        queue.put_nowait(item)
    assert await asyncio.gather(*getters) == [0, 1, 2, 3]
    assert len(queue._getters) == 0


async def test_putters_come_first_served_first(world):
    queue = world.Queue(1)
    putters = [asyncio.create_task(queue.put(item)) for item in range(4)]
    await turns(1)
    assert len(queue._putters) == 3
    assert [await queue.get() for _ in range(4)] == [0, 1, 2, 3]
    assert await asyncio.gather(*putters) == [None] * 4


async def test_trace_of_who_runs_when(world):
    """The order in which tasks go on is asyncio's, turn by turn."""
    queue = world.Queue(2)
    trace = []

    async def produce(name):
        for number in range(3):
            await queue.put((name, number))
            trace.append(("put", name, number))

    async def consume(name):
        for _ in range(3):
            trace.append(("got", name, *await queue.get()))

    await asyncio.gather(produce("a"), consume("x"), produce("b"), consume("y"))
    assert trace == [
        ("put", "a", 0),
        ("put", "a", 1),
        ("got", "x", "a", 0),
        ("got", "x", "a", 1),
        ("put", "b", 0),
        ("put", "b", 1),
        ("got", "y", "b", 0),
        ("got", "y", "b", 1),
        ("put", "a", 2),
        ("got", "x", "a", 2),
        ("put", "b", 2),
        ("got", "y", "b", 2),
    ]


async def test_whoever_comes_first_takes_the_item(world):
    queue = world.Queue()
    getter = asyncio.create_task(queue.get())
    await turns(1)
    queue.put_nowait("first")
    assert queue.get_nowait() == "first"
    await turns(3)
    assert not getter.done()
    queue.put_nowait("second")
    assert await getter == "second"


async def test_timeout(world):
    queue = world.Queue(1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.get(), 0.001)
    queue.put_nowait(1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.put(2), 0.001)
    assert (len(queue._getters), len(queue._putters), queue.get_nowait()) == (0, 0, 1)
    assert queue.empty()


# ---------------------------------------------------------------- cancellation


async def test_cancelled_getter_leaves_the_line(world):
    queue = world.Queue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await turns(1)
    await cancel(first)
    assert len(queue._getters) == 1
    queue.put_nowait(1)
    assert await second == 1


async def test_getter_that_is_cancelled_after_it_was_woken_passes_the_item_on(world):
    queue = world.Queue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await turns(1)
    queue.put_nowait(1)
    await cancel(first)
    assert await second == 1


async def test_getter_that_is_cancelled_is_passed_over_at_once(world):
    queue = world.Queue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await turns(1)
    first.cancel()
    queue.put_nowait(1)
    await turns(1)
    assert first.cancelled()
    # Of other tasks than ours it is seen when they run.
    assert second.done() or world.name in ("sabio-c-task", "sabio-on-asyncio")
    assert await second == 1


async def test_putter_that_is_cancelled_after_it_was_woken_passes_the_room_on(world):
    queue = world.Queue(1)
    queue.put_nowait(0)
    first, second = (asyncio.create_task(queue.put(item)) for item in (1, 2))
    await turns(1)
    assert queue.get_nowait() == 0
    await cancel(first)
    await second
    assert queue.get_nowait() == 2
    assert queue.empty()
    assert queue._unfinished_tasks == 2


async def test_item_of_a_cancelled_put_is_let_go(world):
    class Item:
        pass

    queue = world.Queue(1)
    queue.put_nowait(0)
    item = Item()
    known = weakref.ref(item)
    putter = asyncio.create_task(queue.put(item))
    del item
    await turns(1)
    putter.cancel()
    await asyncio.wait([putter])
    del putter
    gc.collect()
    assert known() is None
    assert queue.qsize() == 1


async def test_closed_coroutine_leaves_the_line(world):
    queue = world.Queue()
    getter = asyncio.create_task(queue.get())
    await turns(1)
    getter.cancel()
    await turns(2)
    coroutine = queue.get()
    coroutine.close()
    queue.put_nowait(1)
    assert await queue.get() == 1
