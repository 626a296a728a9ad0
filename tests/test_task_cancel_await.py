"""Cancelling a task at each kind of await, and through the tools of asyncio (asyncio docs, "Task cancellation")."""

import asyncio
import importlib

import pytest

from tests.support.process import lines
from tests.support.waiting import turns


async def cancelled_with(awaitable):
    """Await, and give the arguments of the CancelledError that comes out."""
    with pytest.raises(asyncio.CancelledError) as caught:
        await awaitable
    return caught.value.args


async def hang():
    await asyncio.get_running_loop().create_future()


async def test_cancel_while_waiting_for_a_future_cancels_the_future():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        await future

    task = asyncio.create_task(wait())
    await turns(1)
    task.cancel("to the future")
    assert future.cancelled()
    assert future._cancel_message == "to the future"
    assert await cancelled_with(task) == ("to the future",)


async def test_cancel_while_waiting_for_a_task_cancels_that_task():
    async def wait(inner):
        await inner

    inner = asyncio.create_task(hang())
    outer = asyncio.create_task(wait(inner))
    await turns(2)
    outer.cancel("down the line")
    assert await cancelled_with(outer) == ("down the line",)
    assert inner.cancelled()


async def test_cancel_goes_down_a_long_chain_of_tasks():
    async def wait(inner):
        await inner

    tasks = [asyncio.create_task(hang())]
    for _ in range(100):
        tasks.append(asyncio.create_task(wait(tasks[-1])))
    await turns(2)
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_task_that_waits_for_a_task_that_swallows_gets_the_result():
    async def stubborn():
        try:
            await hang()
        except asyncio.CancelledError:
            return "stubborn"

    async def wait(inner):
        return await inner

    inner = asyncio.create_task(stubborn())
    outer = asyncio.create_task(wait(inner))
    await turns(2)
    outer.cancel()
    assert await outer == "stubborn"
    assert outer.cancelling() == 1


async def test_cancel_while_between_two_turns():
    task = asyncio.create_task(turns(1_000_000))
    await turns(3)
    task.cancel("spinning")
    assert await cancelled_with(task) == ("spinning",)


async def test_cancel_while_sleeping_cancels_the_timer():
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(asyncio.sleep(60))
    await turns(1)
    before = loop.time()
    task.cancel()
    await cancelled_with(task)
    assert loop.time() - before < 5


async def test_cancel_after_the_awaited_future_is_done_still_arrives():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        try:
            await future
        except asyncio.CancelledError:
            return "cancelled although the result was there"

    task = asyncio.create_task(wait())
    await turns(1)
    future.set_result("there")
    task.cancel()
    assert task._must_cancel
    assert await task == "cancelled although the result was there"


async def test_result_after_cancel_of_the_waiter_has_no_effect():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        await future

    task = asyncio.create_task(wait())
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.InvalidStateError):
        future.set_result("too late")
    await cancelled_with(task)


async def test_cancel_while_awaiting_a_shielded_task_spares_it():
    inner = asyncio.create_task(asyncio.sleep(0.01, "spared"))

    async def wait():
        await asyncio.shield(inner)

    outer = asyncio.create_task(wait())
    await turns(2)
    outer.cancel()
    await cancelled_with(outer)
    assert await inner == "spared"


async def test_cancel_while_gathering_cancels_the_children():
    children = [asyncio.create_task(hang()) for _ in range(3)]

    async def wait():
        await asyncio.gather(*children)

    task = asyncio.create_task(wait())
    await turns(2)
    task.cancel()
    await cancelled_with(task)
    assert all(child.cancelled() for child in children)


async def test_cancel_while_waiting_with_wait_spares_the_children():
    child = asyncio.create_task(hang())

    async def wait():
        await asyncio.wait([child])

    task = asyncio.create_task(wait())
    await turns(2)
    task.cancel()
    await cancelled_with(task)
    assert not child.done()
    child.cancel()
    await cancelled_with(child)


async def test_cancel_in_an_async_generator_runs_its_finally():
    order = []

    async def generate():
        try:
            yield 1
            await hang()
        finally:
            order.append("finally")

    async def consume():
        async for item in generate():
            order.append(item)

    task = asyncio.create_task(consume())
    await turns(2)
    task.cancel()
    await cancelled_with(task)
    assert order == [1, "finally"]


async def test_cleanup_may_await_after_cancellation():
    order = []

    async def work():
        try:
            await hang()
        finally:
            await asyncio.sleep(0.001)
            order.append("cleaned up")

    task = asyncio.create_task(work())
    await turns(1)
    task.cancel()
    await cancelled_with(task)
    assert order == ["cleaned up"]


async def test_second_cancel_interrupts_the_cleanup():
    order = []

    async def work():
        try:
            await hang()
        except asyncio.CancelledError:
            try:
                await hang()
            except asyncio.CancelledError as error:
                order.append(error.args)
                raise

    task = asyncio.create_task(work())
    await turns(1)
    task.cancel("first")
    await turns(1)
    task.cancel("second")
    assert await cancelled_with(task) == ("second",)
    assert order == [("second",)]


async def test_timeout_cancels_and_takes_it_back():
    async def work():
        async with asyncio.timeout(0.01):
            await hang()

    task = asyncio.create_task(work())
    with pytest.raises(TimeoutError):
        await task
    assert task.cancelling() == 0


async def test_cancel_from_outside_wins_over_a_timeout():
    async def work():
        async with asyncio.timeout(60):
            await hang()

    task = asyncio.create_task(work())
    await turns(2)
    task.cancel("outside")
    assert await cancelled_with(task) == ("outside",)


async def test_wait_for_cancels_the_inner_task_on_timeout():
    ended = []

    async def work():
        try:
            await hang()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), 0.01)
    assert ended == [True]


async def test_task_group_cancels_the_others_when_one_fails():
    async def fail():
        await asyncio.sleep(0.001)
        raise ValueError("of a child")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            other = group.create_task(hang())
            group.create_task(fail())
            await hang()
    assert [str(error) for error in caught.value.exceptions] == ["of a child"]
    assert other.cancelled()
    assert asyncio.current_task().cancelling() == 0


def test_runner_cancels_what_is_left(loop_factory):
    order = []

    async def background():
        try:
            await hang()
        finally:
            order.append("ended")

    async def main():
        order.append(asyncio.create_task(background()))
        await turns(1)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert order[1:] == ["ended"]
    assert order[0].cancelled()


@pytest.fixture
def own_sleep(loop_name):
    """The sleep of the loop's own package: on sabio one that waits without a future."""
    return importlib.import_module(loop_name).sleep


async def test_second_cancel_does_not_change_the_message_that_is_on_its_way(own_sleep):
    task = asyncio.create_task(own_sleep(60))
    await turns(1)
    task.cancel("first")
    task.cancel("second")
    assert task.cancelling() == 2
    assert await cancelled_with(task) == ("first",)


async def test_uncancel_does_not_call_back_a_cancellation_that_is_on_its_way(own_sleep):
    async def wait():
        try:
            await own_sleep(60)
        except asyncio.CancelledError as error:
            return error.args

    task = asyncio.create_task(wait())
    await turns(1)
    task.cancel("on its way")
    assert task.uncancel() == 0
    await turns(2)
    assert task.done()
    assert task.result() == ("on its way",)


async def test_task_that_cancelled_itself_is_interrupted_at_its_next_wait(own_sleep):
    async def wait():
        asyncio.current_task().cancel("by itself")
        try:
            await own_sleep(60)
        except asyncio.CancelledError as error:
            return error.args

    task = asyncio.create_task(wait())
    await turns(1)
    assert task.uncancel() == 0
    task.cancel("by another")
    await turns(2)
    assert task.done()
    assert task.result() == ("by itself",)


async def test_cancel_of_many_tasks_at_once():
    tasks = [asyncio.create_task(hang()) for _ in range(2000)]
    await turns(1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_cancelled_error_has_the_frames_of_the_task_in_its_context():
    async def work():
        await hang()

    task = asyncio.create_task(work())
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    names, error = [], caught.value
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        error = error.__context__
    assert "work" in names


async def waits_for(what):
    return await what


def test_chain_of_tasks_longer_than_the_stack_is_deep_is_cancelled(sabio, loop):
    """Asyncio ends with RecursionError, at 1,000 or at some 25,000 tasks, depending on the version."""

    async def main():
        first = asyncio.get_running_loop().create_future()
        task = first
        tasks = [task := asyncio.ensure_future(waits_for(task)) for _ in range(100_000)]
        await asyncio.sleep(0)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert first.cancelled()
        assert all(task.cancelled() and task.cancelling() == 1 for task in tasks)

    loop.run_until_complete(main())


def test_chain_is_cancelled_at_the_first_that_does_not_wait_for_something_undone(loop):
    async def main():
        first = asyncio.get_running_loop().create_future()
        one = asyncio.ensure_future(waits_for(first))
        two = asyncio.ensure_future(waits_for(one))
        three = asyncio.ensure_future(waits_for(two))
        await asyncio.sleep(0)
        first.set_result("came in time")
        assert three.cancel()
        states = await asyncio.gather(one, two, three, return_exceptions=True)
        return [type(state) for state in states], [task.cancelling() for task in (one, two, three)]

    cancelled = asyncio.CancelledError
    assert loop.run_until_complete(main()) == ([cancelled, cancelled, cancelled], [1, 1, 1])


CIRCLE = """
import asyncio, os, sabio

async def member(number):
    await circle[number]

async def outsider():
    await circle[0]

async def main():
    circle.extend(asyncio.ensure_future(member((number + 1) % 3)) for number in range(3))
    outside = asyncio.ensure_future(outsider())
    await asyncio.sleep(0)
    for task in (circle[1], outside):
        try:
            print(task.cancel())
        except RecursionError as error:
            print(error, flush=True)
    # Nothing ends them any more.
    os._exit(0)

circle = []
sabio.run(main())
"""


@pytest.mark.usefixtures("sabio")
def test_tasks_that_wait_for_each_other_in_a_circle_cannot_be_cancelled():
    """Asyncio raises RecursionError, too: in 3.14 after 23,719 calls."""
    assert lines(CIRCLE) == ["cannot cancel tasks that wait for each other in a circle"] * 2
