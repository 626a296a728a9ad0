"""Cancelling tasks: messages, counts, swallowing, timing (asyncio docs, "Task cancellation")."""

import asyncio

import pytest

from tests.support.versions import SINCE_3_13
from tests.support.waiting import turns


async def cancelled_with(awaitable):
    """Await, and give the arguments of the CancelledError that comes out."""
    with pytest.raises(asyncio.CancelledError) as caught:
        await awaitable
    return caught.value.args


async def hang():
    await asyncio.get_running_loop().create_future()


async def test_cancel_raises_in_the_coroutine_and_ends_the_task():
    order = []

    async def work():
        try:
            await hang()
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    task = asyncio.create_task(work())
    await turns(1)
    assert task.cancel() is True
    assert order == []
    assert not task.done()
    assert await cancelled_with(task) == ()
    assert order == ["cancelled"]
    assert task.cancelled()
    assert task.done()
    with pytest.raises(asyncio.CancelledError):
        task.result()
    with pytest.raises(asyncio.CancelledError):
        task.exception()


async def test_cancel_message_reaches_the_coroutine_and_whoever_awaits():
    seen = []

    async def work():
        try:
            await hang()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = asyncio.create_task(work())
    await turns(1)
    task.cancel("why")
    assert await cancelled_with(task) == ("why",)
    assert seen == [("why",)]
    other = asyncio.create_task(work())
    await turns(1)
    other.cancel(msg=42)
    assert await cancelled_with(other) == (42,)


async def test_cancel_before_the_start_never_runs_the_coroutine():
    async def work():
        pytest.fail("ran")

    task = asyncio.create_task(work())
    task.cancel("early")
    assert await cancelled_with(task) == ("early",)


async def test_cancel_of_a_done_task_is_refused():
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    assert task.cancel() is False
    assert not task.cancelled()
    assert task.cancelling() == 0


async def test_coroutine_may_swallow_the_cancellation():
    async def work():
        try:
            await hang()
        except asyncio.CancelledError:
            return "survived"

    task = asyncio.create_task(work())
    await turns(1)
    task.cancel()
    assert await task == "survived"
    assert not task.cancelled()
    assert task.cancelling() == 1


async def test_coroutine_may_go_on_after_swallowing():
    async def work():
        for _ in range(3):
            try:
                await hang()
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(0.001)
        return "done"

    task = asyncio.create_task(work())
    for _ in range(3):
        await turns(2)
        task.cancel()
    assert await task == "done"
    assert task.cancelling() == 3


async def test_coroutine_may_turn_the_cancellation_into_an_error():
    async def work():
        try:
            await hang()
        except asyncio.CancelledError:
            raise ValueError("instead") from None

    task = asyncio.create_task(work())
    await turns(1)
    task.cancel()
    with pytest.raises(ValueError, match=r"instead"):
        await task
    assert not task.cancelled()


async def test_several_cancels_before_delivery_are_one_cancellation():
    count = 0

    async def work():
        nonlocal count
        try:
            await hang()
        except asyncio.CancelledError:
            count += 1
            await asyncio.sleep(0)
            raise

    task = asyncio.create_task(work())
    await turns(1)
    for message in ("first", "second", "third"):
        assert task.cancel(message)
    assert task.cancelling() == 3
    await cancelled_with(task)
    assert count == 1


async def test_cancelling_counts_and_uncancel_counts_down():
    async def work():
        task = asyncio.current_task()
        try:
            await hang()
        except asyncio.CancelledError:
            seen.append((task.cancelling(), task.uncancel(), task.cancelling(), task.uncancel()))
        return "uncancelled"

    seen = []
    task = asyncio.create_task(work())
    assert task.cancelling() == 0
    assert task.uncancel() == 0
    await turns(1)
    task.cancel()
    task.cancel()
    assert task.cancelling() == 2
    assert await task == "uncancelled"
    assert seen == [(2, 1, 1, 0)]


async def test_uncancel_before_delivery_takes_the_cancellation_back_since_3_13(loop_name):
    task = asyncio.create_task(asyncio.sleep(0, "went on"))
    task.cancel()
    assert task._must_cancel
    assert task.uncancel() == 0
    if SINCE_3_13 or loop_name == "sabio":
        assert not task._must_cancel
        assert await task == "went on"
    else:
        assert task._must_cancel
        await cancelled_with(task)


async def test_task_may_cancel_itself():
    order = []

    async def work():
        asyncio.current_task().cancel("by myself")
        order.append("still running")
        await asyncio.sleep(0)
        order.append("never")

    task = asyncio.create_task(work())
    assert await cancelled_with(task) == ("by myself",)
    assert order == ["still running"]


async def test_task_that_cancels_itself_and_returns_is_cancelled_all_the_same():
    async def work():
        asyncio.current_task().cancel("at the end")
        return "lost"

    task = asyncio.create_task(work())
    await cancelled_with(task)
    assert task.cancelled()


async def test_task_that_raises_cancelled_error_is_cancelled():
    async def work():
        raise asyncio.CancelledError("raised")

    task = asyncio.create_task(work())
    assert await cancelled_with(task) == ("raised",)
    assert task.cancelled()
    assert task.cancelling() == 0
