"""Queues: classes, order, limits, loops, what they show (asyncio docs, "Queues"). Each body runs in every world."""

import asyncio
import inspect
import weakref

import pytest

from tests.support.queues import CLASSES, cancel, run, shutdown_world
from tests.support.versions import SINCE_3_13
from tests.support.waiting import turns

__all__ = ["run", "shutdown_world"]


# ---------------------------------------------------------------- classes


def test_classes_are_asyncios_too(sabio):
    for name in CLASSES:
        ours, theirs = getattr(sabio, name), getattr(asyncio, name)
        assert issubclass(ours, theirs)
        assert isinstance(ours(), asyncio.Queue)
        assert issubclass(ours, sabio.Queue)
        assert (ours.__name__, ours.__qualname__, ours.__module__) == (name, name, "sabio")
    assert sabio.QueueEmpty is asyncio.QueueEmpty
    assert sabio.QueueFull is asyncio.QueueFull
    if SINCE_3_13:
        assert sabio.QueueShutDown is asyncio.QueueShutDown
    assert issubclass(sabio.QueueShutDown, Exception)


@pytest.mark.parametrize("name", CLASSES)
def test_a_new_queue(world, name):
    queue = getattr(world, name)()
    assert (queue.maxsize, queue.qsize(), queue.empty(), queue.full()) == (0, 0, True, False)
    assert queue._unfinished_tasks == 0
    with pytest.raises(AttributeError):
        queue.maxsize = 3
    assert getattr(world, name)[int].__origin__ is getattr(world, name)
    assert weakref.ref(queue)() is queue
    queue.note = "instances have a __dict__"
    assert vars(queue)["note"] == "instances have a __dict__"


@pytest.mark.parametrize("arguments", [((1, 2), {}), ((), {"size": 1}), ((1,), {"maxsize": 1})])
def test_wrong_arguments(world, arguments):
    args, kwargs = arguments
    with pytest.raises(TypeError):
        world.Queue(*args, **kwargs)


def test_methods_that_wait_are_coroutines(world):
    queue = world.Queue()
    for coroutine in (queue.put(1), queue.get(), queue.join()):
        assert asyncio.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        coroutine.close()
    assert queue.empty()


# ---------------------------------------------------------------- order and limits


@pytest.mark.parametrize(
    ("name", "order"), [("Queue", [3, 1, 2]), ("LifoQueue", [2, 1, 3]), ("PriorityQueue", [1, 2, 3])]
)
async def test_order_of_the_items(world, name, order):
    queue = getattr(world, name)()
    for item in (3, 1, 2):
        await queue.put(item)
    assert queue.qsize() == 3
    assert [await queue.get() for _ in range(3)] == order
    assert queue.empty()


@pytest.mark.parametrize("maxsize", [0, -1, -(10**30), float("-inf"), float("nan"), float("inf"), 10**30])
def test_limits_that_are_never_reached(world, maxsize):
    queue = world.Queue(maxsize)
    for item in range(20):
        queue.put_nowait(item)
    assert not queue.full()
    assert queue.maxsize is maxsize


@pytest.mark.parametrize(("maxsize", "items"), [(1, 1), (2, 2), (1.3, 2), (0.5, 1), (True, 1)])
def test_limits_that_are_reached(world, maxsize, items):
    queue = world.Queue(maxsize=maxsize)
    for item in range(items):
        assert not queue.full()
        queue.put_nowait(item)
    assert queue.full()
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("one more")
    assert queue.maxsize is maxsize


@pytest.mark.parametrize("maxsize", [None, "3"])
async def test_limit_that_cannot_be_compared(world, maxsize):
    queue = world.Queue(maxsize)
    with pytest.raises(TypeError, match="'<=' not supported"):
        queue.put_nowait(1)
    with pytest.raises(TypeError, match="'<=' not supported"):
        await queue.put(1)
    assert queue.empty()


def test_limit_that_is_changed(world):
    queue = world.Queue(1)
    queue.put_nowait(1)
    assert queue.full()
    queue._maxsize = 2
    assert not queue.full()
    assert queue.maxsize == 2


def test_nowait_on_an_empty_queue(world):
    for name in CLASSES:
        with pytest.raises(asyncio.QueueEmpty):
            getattr(world, name)().get_nowait()


async def test_items_by_name(world):
    queue = world.Queue()
    queue.put_nowait(item=1)
    await queue.put(item=2)
    assert [queue.get_nowait(), queue.get_nowait()] == [1, 2]
    with pytest.raises(TypeError):
        queue.put_nowait()
    with pytest.raises(TypeError):
        queue.put(1, 2)


# ---------------------------------------------------------------- loops


def test_queue_is_bound_to_the_loop_of_its_first_wait(world):
    queue = world.Queue()
    assert queue._loop is None

    async def wait(queue):
        task = asyncio.create_task(queue.get())
        await turns(1)
        await cancel(task)
        return asyncio.get_running_loop()

    async def no_wait():
        queue.put_nowait(1)
        return await queue.get()

    assert world.run(no_wait) == 1
    assert queue._loop is None
    assert world.run(wait, queue) is queue._loop
    assert world.run(no_wait) == 1

    async def wait_elsewhere():
        with pytest.raises(RuntimeError, match=r"^<Queue at 0x.* is bound to a different event loop$"):
            await queue.get()

    world.run(wait_elsewhere)
    queue._loop = None


def test_queue_that_is_made_before_the_loop_runs(world):
    queue = world.Queue()
    queue.put_nowait("made before")

    async def main():
        return await queue.get()

    assert world.run(main) == "made before"


# ---------------------------------------------------------------- looking at it


async def test_repr_and_str(shutdown_world):
    queue = shutdown_world.Queue(2)
    address = f"{id(queue):#x}"
    assert repr(queue) == f"<Queue at {address} maxsize=2>"
    getter = asyncio.create_task(queue.get())
    await turns(1)
    assert str(queue) == "<Queue maxsize=2 _getters[1]>"
    queue.put_nowait("a")
    await getter
    for item in ("b", "c"):
        queue.put_nowait(item)
    putter = asyncio.create_task(queue.put("d"))
    await turns(1)
    assert queue._format() == "maxsize=2 _queue=['b', 'c'] _putters[1] tasks=3"
    queue.shutdown()
    with pytest.raises(shutdown_world.QueueShutDown):
        await putter
    assert repr(queue) == f"<Queue at {address} maxsize=2 _queue=['b', 'c'] tasks=3 shutdown>"


@pytest.mark.parametrize(
    ("name", "kind"), [("Queue", "deque"), ("LifoQueue", "list"), ("PriorityQueue", "list")]
)
async def test_items_can_be_looked_at_and_changed(world, name, kind):
    queue = getattr(world, name)()
    for item in (1, 2, 3):
        queue.put_nowait(item)
    items = queue._queue
    assert type(items).__name__ == kind
    assert list(items) == [1, 2, 3]
    assert queue._queue is items
    items.append(4)
    assert queue.qsize() == 4
    queue.put_nowait(5)
    assert list(items) == [1, 2, 3, 4, 5]
    assert await queue.get() == (5 if name == "LifoQueue" else 1)
    items.clear()
    assert queue.empty()
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()


def test_unfinished_tasks_can_be_set(world):
    queue = world.Queue()
    queue._unfinished_tasks = 2
    assert queue._format() == "maxsize=0 tasks=2"
    queue.task_done()
    assert queue._unfinished_tasks == 1


async def test_lines_are_a_copy(sabio, world):
    if not world.is_ours:
        pytest.skip("asyncio's are the lines themselves")
    queue = sabio.Queue()
    getter = asyncio.create_task(queue.get())
    await turns(1)
    queue._getters.clear()
    assert len(queue._getters) == 1
    queue.put_nowait(1)
    assert await getter == 1
