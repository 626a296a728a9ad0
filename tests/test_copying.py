"""Locks, queues and their like that nobody waits in can be copied and pickled, as asyncio's can."""

import asyncio
import copy
import dataclasses
import pickle

import pytest

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda made: pickle.loads(pickle.dumps(made)),
}

NAMES = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "Semaphore",
]


@pytest.fixture(params=["asyncio", "sabio"])
def module(request, sabio):
    return asyncio if request.param == "asyncio" else sabio


def state_of(made):
    """What `repr()` says, without the address."""
    return repr(made).split(" at ")[-1].split(" ", 1)[1]


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", NAMES)
def test_a_new_one_is_copied(module, name, way):
    class_ = getattr(module, name)
    made = class_(3) if name in ("Barrier", "Semaphore", "BoundedSemaphore") else class_()
    made.note = "mine"
    other = COPIES[way](made)
    assert type(other) is class_
    assert other is not made
    assert state_of(other) == state_of(made)
    assert other.note == "mine"


@pytest.mark.parametrize("way", COPIES)
async def test_the_state_is_copied(module, way):
    lock, event, semaphore = module.Lock(), module.Event(), module.BoundedSemaphore(2)
    await lock.acquire()
    event.set()
    await semaphore.acquire()
    other = COPIES[way](lock)
    assert other.locked()
    other.release()
    assert not other.locked()
    assert await COPIES[way](event).wait()
    other = COPIES[way](semaphore)
    other.release()
    with pytest.raises(ValueError, match="too many times"):
        other.release()
    assert COPIES[way](module.Barrier(5)).parties == 5


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
async def test_items_are_copied(module, name, way):
    queue = getattr(module, name)(4)
    for item in (2, 3, 1):
        queue.put_nowait(item)
    other = COPIES[way](queue)
    assert (other.maxsize, other.qsize()) == (4, 3)
    other.put_nowait(0)
    with pytest.raises(asyncio.QueueFull):
        other.put_nowait(9)
    expected = {"Queue": [2, 3, 1, 0], "LifoQueue": [0, 1, 3, 2], "PriorityQueue": [0, 1, 2, 3]}[name]
    assert [await other.get() for _ in range(4)] == expected


def test_a_shallow_copy_of_a_queue_has_items_of_its_own(sabio):
    queue = sabio.Queue()
    queue.put_nowait(1)
    other = copy.copy(queue)
    other.put_nowait(2)
    assert (queue.qsize(), other.qsize()) == (1, 2)


def test_an_object_with_locks_is_copied(module):
    @dataclasses.dataclass
    class Settings:
        lock: object
        queue: object

    settings = Settings(module.Lock(), module.Queue())
    copied = dataclasses.asdict(settings)
    assert isinstance(copied["lock"], module.Lock)
    assert copied["queue"].empty()
    assert copied["lock"] is not settings.lock


@pytest.mark.parametrize("name", ["Lock", "Event", "Queue"])
async def test_nothing_that_tasks_wait_in_is_pickled(module, name):
    made = getattr(module, name)()
    if name == "Lock":
        await made.acquire()
    wait = {"Lock": "acquire", "Event": "wait", "Queue": "get"}[name]
    task = asyncio.create_task(getattr(made, wait)())
    await asyncio.sleep(0)
    for way in ("deepcopy", "pickle"):
        with pytest.raises(TypeError):
            COPIES[way](made)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
