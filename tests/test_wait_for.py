"""wait_for: one body in every pairing of functions, loop and tasks (asyncio docs, "Timeouts")."""

import asyncio
import contextvars
import gc
import time
import weakref

import pytest

from tests.support.abandoned import task_left_waiting
from tests.support.combinations import natively_where_tasks_are_known, where_tasks_are_known
from tests.support.coroutines import fail, fail_when_cancelled, give, hang
from tests.support.versions import SINCE_3_12
from tests.support.waiting import turns

since_3_12 = where_tasks_are_known if SINCE_3_12 else natively_where_tasks_are_known


@where_tasks_are_known
async def test_result_comes_through(aio):
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "future")
    assert await aio.wait_for(future, 10) == "future"
    assert await aio.wait_for(give("coroutine", 3), 10) == "coroutine"
    assert await aio.wait_for(asyncio.create_task(give("task", 3)), 10) == "task"
    assert await aio.wait_for(give("no limit"), None) == "no limit"
    assert await aio.wait_for(fut=give("by name"), timeout=10.5) == "by name"


@where_tasks_are_known
async def test_exceptions_come_through(aio):
    for timeout in (10, None):
        with pytest.raises(ValueError, match="inside"):
            await aio.wait_for(fail(ValueError("inside"), 1), timeout)


@where_tasks_are_known
async def test_time_that_is_up_cancels_and_raises_timeout_error(aio):
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError) as caught:
        await aio.wait_for(future, 0.001)
    assert future.cancelled()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_a_task_is_done_when_its_time_is_up(aio):
    ended = []
    task = asyncio.create_task(hang(ended, "cleaned up", cleaning=5))
    with pytest.raises(TimeoutError):
        await aio.wait_for(task, 0.001)
    assert ended == ["cleaned up"]
    assert task.cancelled()


@where_tasks_are_known
async def test_a_result_in_spite_of_the_cancellation_counts(aio):
    async def stubborn():
        try:
            await hang()
        except asyncio.CancelledError:
            return "late"

    assert await aio.wait_for(stubborn(), 0.001) == "late"
    assert await aio.wait_for(asyncio.create_task(stubborn()), 0.001) == "late"
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_an_exception_instead_of_the_cancellation_comes_out(aio):
    coroutine, other = (fail_when_cancelled(ValueError("cleaning up")) for _ in range(2))
    for wait in (coroutine, asyncio.create_task(other)):
        with pytest.raises(ValueError, match="cleaning up"):
            await aio.wait_for(wait, 0.001)


@where_tasks_are_known
async def test_without_time_a_coroutine_never_begins(aio):
    began = []

    async def work():
        began.append(1)

    for timeout in (0, -1, -0.5):
        with pytest.raises(TimeoutError) as caught:
            await aio.wait_for(work(), timeout)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert began == []


@where_tasks_are_known
async def test_without_time_what_is_done_still_counts(aio):
    future = asyncio.get_running_loop().create_future()
    future.set_result("done")
    assert await aio.wait_for(future, 0) == "done"
    failed = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("failed"))
    with pytest.raises(ValueError, match="failed"):
        await aio.wait_for(failed, -1)
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await aio.wait_for(cancelled, 0)


@where_tasks_are_known
async def test_without_time_a_task_is_waited_for_until_it_has_ended(aio):
    async def stubborn():
        try:
            await hang()
        except asyncio.CancelledError:
            await turns(3)
            return "late"

    task = asyncio.create_task(stubborn())
    await turns(2)
    assert await aio.wait_for(task, 0) == "late"


@where_tasks_are_known
async def test_cancelling_the_wait_without_time_leaves_the_task_to_end(aio):
    release = asyncio.Event()

    async def stubborn():
        try:
            await hang()
        except asyncio.CancelledError:
            await release.wait()
            return "late"

    inner = asyncio.create_task(stubborn())
    await turns(2)
    waiting = asyncio.create_task(aio.wait_for(inner, 0))
    await turns(4)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not inner.done()
    release.set()
    assert await inner == "late"


@where_tasks_are_known
async def test_cancelling_the_wait_cancels_what_it_waits_for(aio):
    future = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(aio.wait_for(future, 10))
    await turns(2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.cancelled()
    inner = asyncio.create_task(hang())
    waiting = asyncio.create_task(aio.wait_for(inner, None))
    await turns(2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert inner.cancelled()


@natively_where_tasks_are_known
async def test_a_future_that_is_done_when_time_is_up_has_come_in_time(aio):
    loop = asyncio.get_running_loop()
    for kind in ("future", "task"):
        gate = loop.create_future()

        async def work(gate=gate):
            return await gate

        future = gate if kind == "future" else loop.create_task(work())
        waiting = asyncio.create_task(aio.wait_for(future, 0.05))
        await turns(3)
        # The result is set in the turn in which the time runs out, before the loop sees it.
        gate.set_result("in time")
        if kind == "task":
            await turns(2)
            assert future.done()
        time.sleep(0.06)  # noqa: ASYNC251
        assert await waiting == "in time"


@where_tasks_are_known
async def test_nothing_happens_before_it_is_awaited(aio):
    began = []

    async def work():
        began.append(1)

    wait = aio.wait_for(work(), 10)
    await turns(2)
    assert began == []
    await wait
    assert began == [1]


@where_tasks_are_known
async def test_it_is_a_coroutine_for_asyncio(aio):
    wait = aio.wait_for(give(1), 10)
    assert asyncio.iscoroutine(wait)
    assert await asyncio.gather(wait, aio.wait_for(give(2), 10)) == [1, 2]


@where_tasks_are_known
async def test_wrong_arguments_are_errors_when_it_is_awaited(aio):
    with pytest.raises(TypeError, match=r"await|required"):
        await aio.wait_for(42, 10)
    wait = give(1)
    with pytest.raises(TypeError, match="'<=' not supported between instances of 'str' and 'int'"):
        await aio.wait_for(wait, "soon")
    wait.close()
    with pytest.raises(TypeError):
        await aio.wait_for()


@since_3_12
async def test_what_cannot_be_awaited_is_named_in_the_words_of_the_interpreter(aio):
    async def wait():
        await 3

    with pytest.raises(TypeError) as expected:
        await wait()
    with pytest.raises(TypeError) as raised:
        await aio.wait_for(3, 1)
    assert str(raised.value) == str(expected.value)


@since_3_12
async def test_coroutine_runs_in_the_task_that_waits(aio):
    variable = contextvars.ContextVar("variable", default="unset")

    async def work():
        variable.set("set")
        return asyncio.current_task()

    assert await aio.wait_for(work(), 10) is asyncio.current_task()
    assert variable.get() == "set"


@since_3_12
async def test_it_needs_a_task(aio):
    outcome = asyncio.get_running_loop().create_future()
    inner = asyncio.get_running_loop().create_future()

    def step():
        try:
            aio.wait_for(inner, 10).send(None)
        except BaseException as error:
            outcome.set_result(error)

    asyncio.get_running_loop().call_soon(step)
    error = await outcome
    assert (type(error), str(error)) == (RuntimeError, "Timeout should be used inside a task")


@where_tasks_are_known
async def test_waits_may_be_inside_each_other(aio):
    assert await aio.wait_for(aio.wait_for(aio.wait_for(give("deep", 3), 10), 20), 30) == "deep"
    with pytest.raises(TimeoutError):
        await aio.wait_for(aio.wait_for(hang(), 0.001), 10)
    with pytest.raises(TimeoutError):
        await aio.wait_for(aio.wait_for(hang(), 10), 0.001)
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_a_wait_that_is_closed_takes_its_timer_back(aio):
    async def work():
        await aio.wait_for(hang(), 0.002)

    coroutine = work()
    task = asyncio.create_task(coroutine)
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.005)
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_it_leaves_nothing_behind(aio):
    class Marker:
        pass

    async def work(marker):
        await asyncio.sleep(0)
        return weakref.ref(marker)

    async def late(marker, refs):
        refs.append(weakref.ref(marker))
        await hang()

    refs = [await aio.wait_for(work(Marker()), 1000)]
    with pytest.raises(TimeoutError):
        await aio.wait_for(late(Marker(), refs), 0.001)
    await turns(2)
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_loop_that_is_dropped_in_the_middle_of_a_wait_is_collected(sabio):
    assert task_left_waiting(sabio, lambda: sabio.wait_for(hang(), 1000)) is None
