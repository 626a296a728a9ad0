"""Queues that override asyncio's methods: in every world, what is overridden is called and what is not is ours."""

import asyncio
import heapq

import pytest

from tests.support.queues import run
from tests.support.versions import SINCE_3_13
from tests.support.waiting import turns

__all__ = ["run"]


def test_init_gets_the_limit_and_makes_the_container(world):
    seen = []

    class Recording(world.Queue):
        def __init__(self, note, maxsize):
            self.note = note
            super().__init__(maxsize=maxsize)

        def _init(self, maxsize):
            seen.append((self.note, maxsize))
            super()._init(maxsize)

    queue = Recording("before", 3)
    assert seen == [("before", 3)]
    queue.put_nowait(1)
    assert (queue.maxsize, queue.get_nowait()) == (3, 1)


async def test_set_queue(world):
    class Unique(world.Queue):
        def _init(self, maxsize):
            self._queue = set()

        def _put(self, item):
            self._queue.add(item)

        def _get(self):
            return self._queue.pop()

    queue = Unique()
    for item in (1, 2, 1):
        await queue.put(item)
    assert (queue.qsize(), queue.empty(), queue._unfinished_tasks) == (2, False, 3)
    assert sorted([await queue.get(), await queue.get()]) == [1, 2]
    getter = asyncio.create_task(queue.get())
    await turns(1)
    assert not getter.done()
    queue.put_nowait(5)
    assert await getter == 5


async def test_queue_of_a_heap_with_keys(world):
    class ByLength(world.Queue):
        def _init(self, maxsize):
            self._queue = []
            self._count = 0

        def _put(self, item):
            self._count += 1
            heapq.heappush(self._queue, (len(item), self._count, item))

        def _get(self):
            return heapq.heappop(self._queue)[-1]

    queue = ByLength(3)

    async def produce():
        for item in ("ccc", "a", "bb", "dddd", ""):
            await queue.put(item)

    producer = asyncio.create_task(produce())
    await turns(2)
    assert [await queue.get() for _ in range(3)] == ["a", "bb", "ccc"]
    await producer
    assert [await queue.get() for _ in range(2)] == ["", "dddd"]


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
async def test_put_and_get_that_call_ours(world, name):
    class Counting(getattr(world, name)):
        log = ()

        def _put(self, item):
            self.log = (*self.log, "put", item)
            super()._put(item)

        def _get(self):
            item = super()._get()
            self.log = (*self.log, "get", item)
            return item

    queue = Counting(1)
    putters = [asyncio.create_task(queue.put(item)) for item in (2, 1)]
    await turns(1)
    assert [await queue.get(), await queue.get()] == [2, 1]
    await asyncio.gather(*putters)
    assert queue.log == ("put", 2, "get", 2, "put", 1, "get", 1)


def test_underscored_methods_of_ours(world):
    for name, taken, left in (("Queue", 3, [1, 2]), ("LifoQueue", 2, [3, 1]), ("PriorityQueue", 1, [2, 3])):
        queue = getattr(world, name)(0)
        for item in (3, 1, 2):
            queue._put(item)
        assert queue._get() == taken
        assert list(queue._queue) == left
        assert queue._unfinished_tasks == 0
        queue._init(0)
        assert queue.empty()
        with pytest.raises(IndexError):
            queue._get()


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
def test_error_of_get_on_nothing(world, name):
    with pytest.raises(IndexError) as ours:
        getattr(world, name)()._get()
    with pytest.raises(IndexError) as theirs:
        getattr(asyncio, name)()._get()
    assert str(ours.value) == str(theirs.value)


async def test_overridden_sizes(world):
    class Weighted(world.Queue):
        def qsize(self):
            return sum(self._queue)

    queue = Weighted(10)
    await queue.put(4)
    assert (queue.qsize(), queue.full()) == (4, False)
    await queue.put(6)
    assert queue.full()
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(1)
    putter = asyncio.create_task(queue.put(2))
    await turns(1)
    assert not putter.done()
    assert await queue.get() == 4
    await putter
    assert queue.qsize() == 8


async def test_overridden_empty_and_full(world):
    class Gated(world.Queue):
        closed = True

        def empty(self):
            return self.closed or super().empty()

        def full(self):
            return self.closed or super().full()

        def open(self):
            self.closed = False

    queue = Gated()
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(1)
    putter, getter = asyncio.create_task(queue.put(1)), asyncio.create_task(queue.get())
    await turns(2)
    assert not putter.done()
    queue.open()
    queue.put_nowait(0)
    assert await getter == 0
    await putter
    assert await queue.get() == 1


async def test_overridden_nowait(world):
    class Ring(world.Queue):
        def put_nowait(self, item):
            if self.full():
                self.get_nowait()
            return super().put_nowait(item)

        def get_nowait(self):
            return ("taken", super().get_nowait())

    queue = Ring(2)
    for item in range(5):
        queue.put_nowait(item)
    assert [await queue.get(), await queue.get()] == [("taken", 3), ("taken", 4)]
    getter = asyncio.create_task(queue.get())
    await turns(1)
    await queue.put("waited for")
    assert await getter == ("taken", "waited for")


async def test_overridden_coroutines(world):
    class Logged(world.Queue):
        log = ()

        async def put(self, item):
            self.log = (*self.log, "put")
            return await super().put(item)

        async def get(self):
            item = await super().get()
            self.log = (*self.log, "got")
            return item

    queue = Logged()
    getter = asyncio.create_task(queue.get())
    await turns(1)
    await queue.put(1)
    assert await getter == 1
    assert queue.log == ("put", "got")


async def test_methods_of_a_mixin(world):
    class Doubling:
        def _put(self, item):
            super()._put(2 * item)

    class Doubled(Doubling, world.PriorityQueue):
        pass

    queue = Doubled()
    for item in (2, 1):
        await queue.put(item)
    assert [await queue.get(), await queue.get()] == [2, 4]


def test_methods_that_are_set_on_a_queue_are_not_seen(sabio):
    queue = sabio.Queue()
    queue._put = pytest.fail
    queue.put_nowait(1)
    assert queue.get_nowait() == 1


# ---------------------------------------------------------------- methods that fail


class Broken(Exception):
    pass


def failing(world, method):
    class Failing(world.Queue):
        fails = False

    def broken(self, *args):
        if self.fails:
            raise Broken(method)
        return getattr(super(Failing, self), method)(*args)

    setattr(Failing, method, broken)
    return Failing(1)


@pytest.mark.parametrize("method", ["_put", "full", "qsize", "put_nowait"])
async def test_put_that_fails_changes_nothing(world, method):
    queue = failing(world, method)
    queue.fails = True
    for _ in range(2):
        with pytest.raises(Broken):
            await queue.put(1)
    with pytest.raises(Broken):
        queue.put_nowait(1)
    queue.fails = False
    assert (queue.qsize(), queue._unfinished_tasks) == (0, 0)
    await queue.put(2)
    assert await queue.get() == 2


@pytest.mark.parametrize("method", ["_get", "empty", "get_nowait"])
async def test_get_that_fails_leaves_the_item(world, method):
    queue = failing(world, method)
    queue.put_nowait(1)
    queue.fails = True
    with pytest.raises(Broken):
        await queue.get()
    with pytest.raises(Broken):
        queue.get_nowait()
    queue.fails = False
    assert await queue.get() == 1


@pytest.mark.skipif(not SINCE_3_13, reason="asyncio's shutdown() is new in 3.13")
async def test_shutdown_that_fails(world):
    queue = failing(world, "_get")
    queue.put_nowait(1)
    queue.fails = True
    with pytest.raises(Broken):
        queue.shutdown(immediate=True)
    with pytest.raises(world.QueueShutDown):
        queue.put_nowait(2)
    queue.fails = False
    assert await queue.get() == 1


async def test_cancelled_getter_asks_whether_there_is_an_item(world):
    asked = []

    class Asking(world.Queue):
        def empty(self):
            asked.append(True)
            return super().empty()

    queue = Asking()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await turns(1)
    queue.put_nowait(1)
    first.cancel()
    assert await second == 1
    assert first.cancelled()
    assert len(asked) >= 4


# ---------------------------------------------------------------- re-entry


async def test_put_that_comes_back_into_the_queue(world):
    class Doubling(world.Queue):
        def _put(self, item):
            super()._put(item)
            if item > 0:
                self.put_nowait(item - 1)

    queue = Doubling()
    await queue.put(3)
    assert [await queue.get() for _ in range(4)] == [3, 2, 1, 0]
    assert queue._unfinished_tasks == 4


async def test_comparisons_that_raise(world):
    class Item:
        def __lt__(self, other):
            raise Broken

    queue = world.PriorityQueue()
    queue.put_nowait(Item())
    with pytest.raises(Broken):
        await queue.put(Item())
    # heapq has taken the item in by then.
    assert (queue.qsize(), queue._unfinished_tasks) == (2, 1)
    mixed = world.PriorityQueue()
    mixed.put_nowait(1)
    with pytest.raises(TypeError, match="not supported between instances"):
        mixed.put_nowait("a")


async def test_comparisons_that_come_back_into_the_queue(world):
    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            queue.qsize()
            repr(queue)
            if not queue.empty() and self.number == 13:
                queue._queue.clear()
            return self.number < other.number

    queue = world.PriorityQueue()
    for number in (3, 1, 2):
        await queue.put(Item(number))
    assert (await queue.get()).number == 1
    with pytest.raises(RuntimeError, match="list changed size"):
        queue.put_nowait(Item(13))
    assert queue.empty()


async def test_items_that_come_back_while_they_are_let_go(world):
    class Item:
        def __del__(self):
            log.append((queue.qsize(), queue.empty()))
            queue.put_nowait("from a finalizer") if len(log) < 3 else None

    log = []
    queue = world.Queue()
    queue.put_nowait(Item())
    queue.put_nowait(Item())
    await queue.get()
    queue._init(0)
    assert len(log) == 2


async def test_items_that_are_taken_out_by_hand_make_room(world):
    class Clearable(world.Queue):
        def clear(self):
            self._queue.clear()
            while self._putters:
                before = len(self._putters)
                self._wakeup_next(self._putters)
                if len(self._putters) == before:
                    break

    queue = Clearable(1)
    await queue.put("old")
    putter = asyncio.create_task(queue.put("new"))
    await turns(2)
    queue.clear()
    await asyncio.wait_for(putter, 10)
    assert queue.get_nowait() == "new"
