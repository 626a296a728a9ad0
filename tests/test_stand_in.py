"""`_fut_waiter` of a task that waits in a lock, a queue or a sleep: what it waits for, as asyncio shows it."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import pytest

from tests.support.combinations import without
from tests.support.waiting import turns

everywhere = without("sabio-python-tasks")

WAITS = {
    "sleep": lambda aio: aio.sleep(60),
    "event": lambda aio: aio.Event().wait(),
    "queue": lambda aio: aio.Queue().get(),
    "future": lambda aio: asyncio.get_running_loop().create_future(),
}


@pytest.fixture(params=WAITS)
def wait(request):
    return WAITS[request.param]


async def waiting(aio, wait):
    """A task that waits, and a list that gets what the wait raises."""
    outcome = []

    async def work():
        try:
            outcome.append(await wait(aio))
        except BaseException as error:
            outcome.append(error)
            raise

    task = asyncio.ensure_future(work())
    await turns(3)
    return task, outcome


async def ended(task):
    task.cancel()
    await asyncio.wait([task])


@everywhere
async def test_a_task_that_waits_has_a_pending_future(aio, wait):
    task, _ = await waiting(aio, wait)
    waiter = task._fut_waiter
    assert isinstance(waiter, asyncio.Future)
    assert not waiter.done()
    assert waiter.get_loop() is asyncio.get_running_loop()
    assert task._fut_waiter is waiter
    assert "wait_for=<Future pending" in repr(task)
    await ended(task)
    assert waiter.cancelled()
    assert task._fut_waiter is None


@everywhere
async def test_a_task_that_was_woken_has_one_that_is_done(aio):
    event = aio.Event()
    seen = []
    for look_before in (True, False):
        event.clear()
        task = asyncio.ensure_future(event.wait())
        await turns(2)
        before = task._fut_waiter if look_before else None
        event.set()
        waiter = task._fut_waiter
        assert waiter.done()
        assert not waiter.cancelled()
        if look_before:
            assert waiter is before
        await task
        seen.append(task._fut_waiter)
    assert seen == [None, None]


@everywhere
async def test_a_task_that_is_cancelled_has_one_that_is_cancelled(aio, wait):
    task, outcome = await waiting(aio, wait)
    before = task._fut_waiter
    task.cancel("enough")
    waiter = task._fut_waiter
    assert waiter is before
    assert waiter.cancelled()
    assert not outcome
    await asyncio.wait([task])
    [error] = outcome
    assert type(error) is asyncio.CancelledError
    assert error.args == ("enough",)
    assert task.cancelled()


@everywhere
async def test_cancelling_the_future_interrupts_the_wait_and_is_no_cancellation_of_the_task(aio, wait):
    task, outcome = await waiting(aio, wait)
    assert task._fut_waiter.cancel("from below")
    assert not task._fut_waiter.cancel()
    await asyncio.wait([task])
    [error] = outcome
    assert type(error) is asyncio.CancelledError
    assert error.args == ("from below",)
    assert task.cancelling() == 0
    assert task.cancelled()


@everywhere
async def test_a_future_of_a_wait_that_is_over_does_not_touch_the_next(aio):
    first, second = aio.Event(), aio.Event()

    async def work():
        await first.wait()
        await second.wait()
        return "through"

    task = asyncio.ensure_future(work())
    await turns(2)
    old = task._fut_waiter
    first.set()
    await turns(2)
    assert old.done()
    assert not old.cancel()
    assert not task._fut_waiter.done()
    assert task._fut_waiter is not old
    second.set()
    assert await task == "through"


@everywhere
async def test_a_task_that_only_yields_has_none(aio):
    async def work():
        while True:
            await aio.sleep(0)

    task = asyncio.ensure_future(work())
    await turns(3)
    assert task._fut_waiter is None
    await ended(task)


@everywhere
async def test_what_stands_for_a_wait_is_collected_with_it(aio):
    task, _ = await waiting(aio, WAITS["event"])
    task._log_destroy_pending = False
    assert task._fut_waiter
    ref = weakref.ref(task)
    del task, _
    gc.collect()
    if sys.version_info >= (3, 15):
        # There the collector begins with the coroutine, which wakes the task once more; so it is with asyncio's queue.
        await turns(3)
        gc.collect()
    assert ref() is None


@everywhere
@pytest.mark.parametrize("kind", ["event", "queue", "future"])
async def test_a_task_that_is_garbage_while_it_waits_says_so_and_nothing_else(aio, kind):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    task, outcome = await waiting(aio, WAITS[kind])
    ref = weakref.ref(task)
    del task
    gc.collect()
    await turns(3)
    gc.collect()
    assert ref() is None
    assert told == ["Task was destroyed but it is pending!"]
    assert [type(error) for error in outcome] == [GeneratorExit]
