"""A coroutine that has ended holds nothing any more, whoever still holds it, in every world."""

import asyncio
import weakref

import pytest

from tests.support.queues import run
from tests.support.waiting import turns

__all__ = ["run"]


class Item:
    """Something that can be watched."""


def lock(world):
    lock = world.Lock()
    lock._locked = True
    return lock.acquire, lock.release, [lock]


def semaphore(world):
    semaphore = world.Semaphore(0)
    return semaphore.acquire, semaphore.release, [semaphore]


def event(world):
    event = world.Event()
    return event.wait, event.set, [event]


def condition(world):
    condition = world.Condition()
    condition._lock._locked = True

    def notify():
        condition._lock._locked = True
        condition.notify_all()
        condition.release()

    return condition.wait, notify, [condition, condition._lock]


def condition_of_another_lock(world):
    class Lock(world.Lock):
        pass

    condition = world.Condition(Lock())
    condition._lock._locked = True

    def notify():
        condition._lock._locked = True
        condition.notify_all()
        condition.release()

    item = Item()
    ready = []

    def predicate(item=item):
        return ready

    def end():
        ready.append(item)
        notify()

    return lambda: condition.wait_for(predicate), end, [condition, condition._lock, predicate, item]


def get(world):
    queue, item = world.Queue(), Item()
    return queue.get, lambda: queue.put_nowait(item), [queue, item]


def put(world):
    queue, item = world.Queue(1), Item()
    queue.put_nowait(1)
    return lambda: queue.put(item), lambda: (queue.get_nowait(), queue.get_nowait), [queue, item]


def join(world):
    queue = world.Queue()
    queue.put_nowait(1)
    return queue.join, queue.task_done, [queue]


def reader(world, name, *arguments):
    reader = world.StreamReader()
    return lambda: getattr(reader, name)(*arguments), lambda: reader.feed_data(b"data\n"), [reader]


def read(world):
    return reader(world, "read", 3)


def readline(world):
    return reader(world, "readline")


def readuntil(world):
    return reader(world, "readuntil", b"t")


def readexactly(world):
    return reader(world, "readexactly", 3)


def sleep(world):
    result = Item()
    return lambda: world.sleep(0.001, result), lambda: None, [result]


def wait_for(world):
    future = asyncio.get_running_loop().create_future()
    result = Item()
    return lambda: world.wait_for(future, 60), lambda: future.set_result(result), [future, result]


KINDS = [
    lock,
    semaphore,
    event,
    condition,
    condition_of_another_lock,
    get,
    put,
    join,
    read,
    readline,
    readuntil,
    readexactly,
    sleep,
    wait_for,
]


def watch(kind, world):
    make, end, objects = kind(world)
    return make(), end, [weakref.ref(thing) for thing in objects]


def alive(watched):
    return [thing for thing in (weak() for weak in watched) if thing is not None]


@pytest.mark.parametrize("kind", KINDS)
async def test_by_its_result(world, kind):
    coroutine, end, watched = watch(kind, world)

    async def wait():
        await coroutine

    task = asyncio.create_task(wait())
    await turns(2)
    assert not task.done()
    end()
    del end
    await task
    await turns(2)
    assert not alive(watched)
    coroutine.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_by_being_cancelled(world, kind):
    coroutine, end, watched = watch(kind, world)

    async def wait():
        with pytest.raises(asyncio.CancelledError):
            await coroutine

    task = asyncio.create_task(wait())
    await turns(2)
    task.cancel()
    del end
    await task
    await turns(2)
    assert not alive(watched)
    coroutine.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_by_being_closed_while_it_waits(world, kind):
    coroutine, end, watched = watch(kind, world)
    coroutine.send(None)
    coroutine.close()
    del end
    await turns(2)
    assert not alive(watched)
    coroutine.close()


@pytest.mark.asyncio_lacks(
    "the interpreter's own coroutines keep their arguments then", where=">=3.12,<3.14", strict=False
)
@pytest.mark.parametrize("kind", KINDS)
async def test_by_being_closed_before_it_began(world, kind):
    coroutine, end, watched = watch(kind, world)
    coroutine.close()
    del end
    assert not alive(watched)
    coroutine.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_by_what_is_thrown_before_it_began(world, kind):
    coroutine, end, watched = watch(kind, world)
    with pytest.raises(ValueError, match=r"^thrown$"):
        coroutine.throw(ValueError("thrown"))
    del end
    assert not alive(watched)
    coroutine.close()


async def test_by_an_error(world):
    class Failing(world.Queue):
        def _get(self):
            raise ValueError("fails")

    queue = Failing()
    queue.put_nowait(1)
    getting = queue.get()
    with pytest.raises(ValueError, match=r"^fails$"):
        await getting
    reader = world.StreamReader()
    reading = reader.readexactly(-1)
    with pytest.raises(ValueError, match=r"^readexactly size can not be less than zero$"):
        await reading
    condition = world.Condition()
    waiting = condition.wait()
    with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
        await waiting
    watched = [weakref.ref(thing) for thing in (queue, reader, condition)]
    del queue, reader, condition
    assert not alive(watched)
    for coroutine in (getting, reading, waiting):
        coroutine.close()


async def test_by_an_error_while_it_waits(world):
    class Failing(world.Queue):
        def _get(self):
            raise ValueError("fails")

    queue = Failing()
    getting = queue.get()

    async def wait():
        with pytest.raises(ValueError, match=r"^fails$"):
            await getting

    task = asyncio.create_task(wait())
    await turns(2)
    queue.put_nowait(1)
    await task
    watched = [weakref.ref(queue)]
    del queue
    assert not alive(watched)
    getting.close()
