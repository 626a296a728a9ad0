"""asyncio.Event: one body on asyncio's, on sabio's, on sabio's under C tasks, and on sabio's on asyncio's loop."""

import asyncio
import gc
import warnings

import pytest

from tests.support.primitives import ended, in_every_way, settle, spawn, turns


@in_every_way
async def test_event_is_set_and_cleared(objects):
    event = objects.Event()
    assert event.is_set() is False
    assert event.set() is None
    assert event.is_set() is True
    event.set()
    assert await event.wait() is True
    assert event.clear() is None
    assert event.is_set() is False


@in_every_way
async def test_everybody_is_woken_in_order(objects):
    event = objects.Event()
    order = []

    async def wait(name):
        assert await event.wait() is True
        order.append(name)

    tasks = [spawn(wait(name)) for name in "abc"]
    await turns()
    assert not order
    event.set()
    # Who finds the event set does not wait for those who have been woken.
    await wait("late")
    await asyncio.gather(*tasks)
    assert order == ["late", "a", "b", "c"]


@in_every_way
async def test_event_that_is_cleared_at_once_has_woken_those_who_waited(objects):
    event = objects.Event()
    early = spawn(event.wait())
    await turns()
    event.set()
    event.clear()
    late = spawn(event.wait())
    assert await early is True
    await settle()
    assert not late.done()
    late.cancel()
    assert await ended(late) == [asyncio.CancelledError]


@in_every_way
async def test_cancelled_waiter_leaves(objects):
    event = objects.Event()
    first, second = spawn(event.wait()), spawn(event.wait())
    await turns()
    first.cancel()
    event.set()
    assert await ended(first, second) == [asyncio.CancelledError, True]
    assert len(event._waiters) == 0


@in_every_way
async def test_waiter_that_is_cancelled_after_the_event_was_set_is_cancelled(objects):
    event = objects.Event()
    task = spawn(event.wait())
    await turns()
    event.set()
    task.cancel()
    assert await ended(task) == [asyncio.CancelledError]


@in_every_way
async def test_wait_acts_when_it_is_awaited(objects):
    event = objects.Event()
    waiting = event.wait()
    event.set()
    assert await waiting is True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        event.wait()
        gc.collect()
    assert [str(warning.message) for warning in caught] == ["coroutine 'Event.wait' was never awaited"]


@in_every_way
async def test_repr_tells_state_and_number_of_waiters(objects):
    event = objects.Event()
    assert repr(event).endswith(" [unset]>")
    tasks = [spawn(event.wait()) for _ in range(2)]
    await turns()
    assert repr(event).endswith(" [unset, waiters:2]>")
    event.set()
    assert repr(event).endswith(" [set, waiters:2]>")
    await asyncio.gather(*tasks)
    assert repr(event).endswith(" [set]>")


@in_every_way
async def test_event_is_an_asyncio_event_and_takes_no_arguments(objects):
    class Derived(objects.Event):
        pass

    assert isinstance(objects.Event(), asyncio.Event)
    assert issubclass(Derived, asyncio.Event)
    derived = Derived()
    derived.set()
    assert await derived.wait() is True
    with pytest.raises(TypeError, match=r"^Event\.__init__\(\) got an unexpected keyword argument 'loop'$"):
        objects.Event(loop=None)


def test_waking_a_task_of_a_closed_loop_is_no_error(sabio, reports):
    loop = sabio.new_event_loop()
    event = sabio.Event()
    waiting = loop.create_task(event.wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    event.set()
    assert event.is_set()
    del waiting, loop, event
    assert len(reports.take_logged()) == 1
