"""TaskGroup: cancellation of its parent, of a task and, by cancel(), of itself (asyncio docs, "Task Groups")."""

# What is tested is how a block ends.
# ruff: noqa: PT012

import asyncio

import pytest

from tests.support.combinations import (
    PAIRINGS,
    natively_where_tasks_are_known,
    where_tasks_are_known,
    without,
)
from tests.support.coroutines import fail, fail_when_cancelled, give, hang
from tests.support.versions import SINCE_3_13, SINCE_3_15
from tests.support.waiting import turns

since_3_13 = where_tasks_are_known if SINCE_3_13 else natively_where_tasks_are_known

since_3_15 = where_tasks_are_known if SINCE_3_15 else natively_where_tasks_are_known
# Before 3.13 a task of asyncio's cannot take back a cancellation that was not delivered yet.
since_3_15_or_ours = since_3_15 if SINCE_3_13 else without(*(name for name in PAIRINGS if name != "sabio"))


@where_tasks_are_known
async def test_cancelling_the_parent_in_its_block_cancels_the_tasks(aio):
    ended = []

    async def work():
        async with aio.TaskGroup() as group:
            group.create_task(hang(ended))
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await turns(3)
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("stop",)
    assert ended == ["hang"]
    assert task.cancelling() == 1


@where_tasks_are_known
async def test_cancelling_the_parent_while_it_waits_cancels_the_tasks(aio):
    ended = []

    async def work():
        async with aio.TaskGroup() as group:
            group.create_task(hang(ended, "slow", cleaning=3))

    task = asyncio.create_task(work())
    await turns(3)
    task.cancel()
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["slow"]
    assert task.cancelling() == 2


@since_3_13
async def test_cancellation_from_outside_is_still_counted_after_errors(aio):
    counts = []

    async def work():
        try:
            async with aio.TaskGroup() as group:
                group.create_task(fail(ValueError("child"), 2))
                await asyncio.sleep(10)
        except* ValueError:
            counts.append(asyncio.current_task().cancelling())
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            counts.append("delivered")
            raise

    async def stop(task):
        await turns(3)
        task.cancel()

    task = asyncio.create_task(work())
    stopping = asyncio.create_task(stop(task))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts == [1, "delivered"]
    await stopping


@where_tasks_are_known
async def test_a_task_that_is_cancelled_is_no_error(aio):
    async with aio.TaskGroup() as group:
        task = group.create_task(hang())
        other = group.create_task(give(1, 5))
        await turns(2)
        task.cancel()
    assert task.cancelled()
    assert other.result() == 1


@where_tasks_are_known
async def test_a_timeout_around_a_group_ends_its_tasks(aio):
    ended = []
    with pytest.raises(TimeoutError):
        async with aio.timeout(0.001), aio.TaskGroup() as group:
            group.create_task(hang(ended))
    assert ended == ["hang"]


@since_3_15
async def test_cancel_ends_the_block_and_the_tasks(aio):
    ended = []
    async with aio.TaskGroup() as group:
        task = group.create_task(hang(ended))
        await turns(2)
        group.cancel()
        await asyncio.sleep(10)
        raise AssertionError("not reached")
    assert ended == ["hang"]
    assert task.cancelled()
    assert asyncio.current_task().cancelling() == 0
    await turns(2)


@since_3_15
async def test_cancel_from_a_task_of_the_group(aio):
    ended = []

    async def stop():
        group.cancel()

    async with aio.TaskGroup() as group:
        group.create_task(hang(ended))
        await turns(1)
        group.create_task(stop())
    assert ended == ["hang"]
    assert asyncio.current_task().cancelling() == 0


@since_3_15
async def test_cancel_before_the_group_is_entered_cancels_it_then(aio):
    group = aio.TaskGroup()
    group.cancel()
    reached = []
    async with group:
        reached.append("block")
        await asyncio.sleep(10)
        reached.append("never")
    assert reached == ["block"]
    assert asyncio.current_task().cancelling() == 0


@since_3_15
async def test_cancel_may_be_called_again_and_afterwards(aio):
    async with aio.TaskGroup() as group:
        group.create_task(hang())
        group.cancel()
        group.cancel()
        await asyncio.sleep(10)
    group.cancel()
    await turns(2)
    assert asyncio.current_task().cancelling() == 0
    async with aio.TaskGroup() as finished:
        pass
    finished.cancel()
    await turns(2)


@since_3_15_or_ours
async def test_exceptions_come_out_of_a_group_that_is_cancelled(aio):
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(fail_when_cancelled(OSError("cleaning up")))
            await turns(2)
            group.cancel()
    assert [type(error) for error in caught.value.exceptions] == [OSError]
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.cancel()
            raise ValueError("block")
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


@since_3_15
async def test_cancel_hides_no_cancellation_from_outside(aio):
    async def work():
        async with aio.TaskGroup() as group:
            group.create_task(hang())
            group.cancel()
            asyncio.current_task().cancel()
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1
