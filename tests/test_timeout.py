"""timeout, timeout_at, Timeout: one body in every pairing of functions, loop and tasks (asyncio docs, "Timeouts")."""

# What is tested is how a block ends.
# ruff: noqa: PT012

import asyncio
import decimal
import fractions
import gc
import sys
import time
import weakref

import pytest

from tests.support.abandoned import task_left_waiting
from tests.support.combinations import (
    PAIRINGS,
    natively_where_tasks_are_known,
    where_tasks_are_known,
    without,
)
from tests.support.versions import SINCE_3_13
from tests.support.waiting import turns

since_3_13 = where_tasks_are_known if SINCE_3_13 else natively_where_tasks_are_known
# Before 3.13 a task of asyncio's cannot take back a cancellation that was not delivered yet.
since_3_13_or_ours = (
    where_tasks_are_known if SINCE_3_13 else without(*(name for name in PAIRINGS if name != "sabio"))
)


def now():
    return asyncio.get_running_loop().time()


@where_tasks_are_known
@pytest.mark.parametrize("delay", [0, -1, 0.0, False, -1e300])
async def test_a_block_that_has_no_time_at_all_ends_at_its_first_wait(aio, delay):
    with pytest.raises(TimeoutError):
        async with aio.timeout(delay):
            await asyncio.sleep(0)
            await asyncio.sleep(0)


@where_tasks_are_known
async def test_time_runs_from_the_making_of_the_timeout_not_from_its_block(aio):
    cm = aio.timeout(0.02)
    deadline = cm.when()
    time.sleep(0.03)  # noqa: ASYNC251 - no turn of the loop in between
    with pytest.raises(TimeoutError):
        async with cm:
            assert cm.when() == deadline
            await asyncio.sleep(0)
            await asyncio.sleep(0)


@where_tasks_are_known
async def test_a_delay_that_no_float_can_hold_is_an_overflow(aio):
    with pytest.raises(OverflowError):
        aio.timeout(10**400)


@where_tasks_are_known
async def test_a_block_that_takes_too_long_ends_with_timeout_error(aio):
    with pytest.raises(TimeoutError) as caught:
        async with aio.timeout(0.001) as cm:
            await asyncio.sleep(10)
    assert cm.expired()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert caught.value.__context__ is caught.value.__cause__
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_a_block_that_is_fast_enough_goes_on(aio):
    timeout = aio.timeout(10)
    async with timeout as cm:
        assert cm is timeout
        await turns(2)
    assert not cm.expired()
    await turns(2)


@where_tasks_are_known
async def test_deadlines_are_given_in_seconds_of_the_loop_s_clock(aio):
    before = now()
    timeout = aio.timeout(5)
    assert before + 5 <= timeout.when() <= now() + 5
    assert aio.timeout(None).when() is None
    assert aio.timeout_at(None).when() is None
    assert aio.timeout_at(7).when() == 7
    assert type(aio.timeout_at(7).when()) is int
    assert aio.Timeout(when=3.5).when() == 3.5


@where_tasks_are_known
async def test_numbers_of_every_kind_are_taken_as_python_adds_them(aio):
    assert abs(aio.timeout(fractions.Fraction(5, 2)).when() - now() - 2.5) < 1
    assert abs(aio.timeout(True).when() - now() - 1) < 1
    for wrong in ("1", decimal.Decimal(1), [], 1j if sys.version_info < (3, 11) else object()):
        with pytest.raises(TypeError):
            aio.timeout(wrong)
    with pytest.raises(OverflowError, match="int too large to convert to float"):
        aio.timeout(10**400)


@where_tasks_are_known
async def test_a_deadline_that_is_no_number_is_an_error_when_the_block_begins(aio):
    timeout = aio.timeout_at("soon")
    assert timeout.when() == "soon"
    with pytest.raises(TypeError, match="'<=' not supported between instances of 'str' and 'float'"):
        async with timeout:
            raise AssertionError("not reached")


@where_tasks_are_known
async def test_time_that_is_up_already_ends_the_block_at_its_first_wait(aio):
    for delay in (0, -1, -1e300, float("-inf")):
        reached = []
        with pytest.raises(TimeoutError):
            async with aio.timeout(delay):
                reached.append(1)
                await asyncio.sleep(10)
        assert reached == [1]
    with pytest.raises(TimeoutError):
        async with aio.timeout_at(now() - 1):
            await asyncio.sleep(10)


@where_tasks_are_known
async def test_a_block_that_never_waits_is_not_cancelled(aio):
    async with aio.timeout(0) as cm:
        pass
    assert not cm.expired()
    await turns(3)
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_delays_without_end_never_run_out(aio):
    async with aio.timeout(float("inf")) as cm:
        await turns(3)
    assert not cm.expired()
    async with aio.timeout(1e12):
        await turns(3)


@where_tasks_are_known
async def test_repr_tells_the_state(aio):
    timeout = aio.timeout_at(None)
    assert repr(timeout) == "<Timeout [created]>"
    async with timeout:
        assert repr(timeout) == "<Timeout [active] when=None>"
        timeout.reschedule(10**9 + 0.12345)
        assert repr(timeout) == "<Timeout [active] when=1000000000.123>"
    assert repr(timeout) == "<Timeout [finished]>"
    late = aio.timeout(0)
    with pytest.raises(TimeoutError):
        async with late:
            try:
                await asyncio.sleep(10)
            finally:
                assert repr(late) == "<Timeout [expiring]>"
    assert repr(late) == "<Timeout [expired]>"


@where_tasks_are_known
async def test_rescheduling_moves_the_deadline(aio):
    async with aio.timeout(0.001) as cm:
        cm.reschedule(now() + 10)
        await asyncio.sleep(0.01)
        cm.reschedule(None)
        assert cm.when() is None
        await asyncio.sleep(0.002)
    assert not cm.expired()
    with pytest.raises(TimeoutError):
        async with aio.timeout(None) as cm:
            cm.reschedule(now() + 0.001)
            await asyncio.sleep(10)
    assert cm.expired()


@where_tasks_are_known
async def test_rescheduling_to_the_past_and_back_does_not_expire(aio):
    async with aio.timeout(10) as cm:
        for _ in range(3):
            cm.reschedule(now() - 1)
            cm.reschedule(now() + 10)
        cm.reschedule(now() - 1)
        cm.reschedule(None)
        await turns(4)
    assert not cm.expired()
    with pytest.raises(TimeoutError):
        async with aio.timeout(10) as cm:
            cm.reschedule(now() - 1)
            cm.reschedule(now() + 10)
            cm.reschedule(now() - 1)
            await asyncio.sleep(10)


@where_tasks_are_known
async def test_rescheduling_needs_an_active_timeout(aio):
    timeout = aio.timeout(10)
    with pytest.raises(RuntimeError, match=r"^Timeout has not been entered$"):
        timeout.reschedule(1)
    async with timeout:
        pass
    with pytest.raises(RuntimeError, match=r"^Cannot change state of finished Timeout$"):
        timeout.reschedule(1)
    late = aio.timeout(0)
    with pytest.raises(TimeoutError):
        async with late:
            try:
                await asyncio.sleep(10)
            finally:
                with pytest.raises(RuntimeError, match=r"^Cannot change state of expiring Timeout$"):
                    late.reschedule(None)
    with pytest.raises(RuntimeError, match=r"^Cannot change state of expired Timeout$"):
        late.reschedule(1)


@where_tasks_are_known
async def test_a_timeout_is_entered_once(aio):
    timeout = aio.timeout(10)
    async with timeout:
        with pytest.raises(RuntimeError, match=r"^Timeout has already been entered$"):
            async with timeout:
                raise AssertionError("not reached")
    with pytest.raises(RuntimeError, match=r"^Timeout has already been entered$"):
        await timeout.__aenter__()


@where_tasks_are_known
async def test_a_timeout_needs_a_task(aio):
    timeout = aio.timeout(10)
    outcome = asyncio.get_running_loop().create_future()

    def enter():
        try:
            timeout.__aenter__().send(None)
        except BaseException as error:
            outcome.set_result(error)

    asyncio.get_running_loop().call_soon(enter)
    error = await outcome
    assert (type(error), str(error)) == (RuntimeError, "Timeout should be used inside a task")


def test_a_timeout_needs_a_running_loop(sabio):
    for aio in (asyncio, sabio):
        with pytest.raises(RuntimeError, match="no running event loop"):
            aio.timeout(1)
        with pytest.raises(RuntimeError, match="no running event loop"):
            aio.timeout_at(1).__aenter__().send(None)


@where_tasks_are_known
async def test_leaving_without_entering_is_an_assertion_error(aio):
    with pytest.raises(AssertionError):
        await aio.timeout(1).__aexit__(None, None, None)


@where_tasks_are_known
async def test_a_cancellation_from_outside_stays_one(aio):
    async def work():
        async with aio.timeout(10):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await turns(2)
    task.cancel("outside")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("outside",)
    assert task.cancelled()


@where_tasks_are_known
async def test_a_cancellation_from_outside_wins_when_time_is_up_as_well(aio):
    async def work():
        async with aio.timeout(0) as cm:
            try:
                await asyncio.sleep(10)
            finally:
                assert cm.expired()
                asyncio.current_task().cancel()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


@where_tasks_are_known
async def test_the_outer_of_two_timeouts_ends_both_blocks(aio):
    with pytest.raises(TimeoutError):
        async with aio.timeout(0.001) as outer, aio.timeout(10) as inner:
            await asyncio.sleep(10)
    assert outer.expired()
    assert not inner.expired()


@where_tasks_are_known
async def test_the_inner_of_two_timeouts_ends_its_own_block(aio):
    async with aio.timeout(10) as outer:
        with pytest.raises(TimeoutError):
            async with aio.timeout(0.001) as inner:
                await asyncio.sleep(10)
        await turns(2)
    assert inner.expired()
    assert not outer.expired()


@where_tasks_are_known
async def test_two_timeouts_that_end_at_once_end_in_one_error(aio):
    deadline = now() - 1
    with pytest.raises(TimeoutError):
        async with aio.timeout_at(deadline) as outer, aio.timeout_at(deadline) as inner:
            await asyncio.sleep(10)
    assert outer.expired()
    assert inner.expired()
    assert asyncio.current_task().cancelling() == 0


@where_tasks_are_known
async def test_an_exception_of_the_block_comes_out_as_it_is(aio):
    error = ValueError("inside")
    with pytest.raises(ValueError, match="inside") as caught:
        async with aio.timeout(10):
            raise error
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


@where_tasks_are_known
async def test_a_block_that_swallows_the_cancellation_ends_well(aio):
    async with aio.timeout(0) as cm:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass
    assert cm.expired()
    assert asyncio.current_task().cancelling() == 0


@since_3_13
async def test_exception_after_the_cancellation_has_the_timeout_in_its_context(aio):
    with pytest.raises(ValueError, match="cleaning up") as caught:
        async with aio.timeout(0):
            try:
                await asyncio.sleep(10)
            finally:
                raise ValueError("cleaning up")
    context = caught.value.__context__
    assert isinstance(context, TimeoutError)
    assert isinstance(context.__cause__, asyncio.CancelledError)
    assert context.__context__ is context.__cause__


@since_3_13_or_ours
async def test_exceptions_of_a_group_have_the_timeout_in_their_context(aio):
    async def fail():
        try:
            await asyncio.sleep(10)
        finally:
            raise ValueError("child")

    with pytest.raises(ExceptionGroup) as caught:
        async with aio.timeout(0.001), aio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(10)
    (child,) = caught.value.exceptions
    assert isinstance(child.__context__, TimeoutError)


@since_3_13
async def test_subclasses_of_cancelled_error_become_the_timeout_as_well(aio):
    class Stopped(asyncio.CancelledError):
        pass

    with pytest.raises(TimeoutError) as caught:
        async with aio.timeout(0):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise Stopped from None
    assert isinstance(caught.value.__cause__, Stopped)


@where_tasks_are_known
async def test_timeouts_are_asyncio_s_and_hold_attributes(aio):
    timeout = aio.timeout(1)
    assert isinstance(timeout, asyncio.Timeout)
    timeout.note = "mine"
    assert timeout.note == "mine"
    assert weakref.ref(timeout)() is timeout


@where_tasks_are_known
async def test_timeouts_leave_nothing_behind(aio):
    class Marker:
        pass

    async def work(marker):
        try:
            async with aio.timeout(1000):
                await asyncio.sleep(0)
            async with aio.timeout(0):
                await asyncio.sleep(1)
        except TimeoutError:
            pass
        return weakref.ref(marker)

    ref = await asyncio.create_task(work(Marker()))
    await turns(2)
    gc.collect()
    assert ref() is None


def test_a_loop_that_is_dropped_with_a_timeout_in_force_is_collected(sabio):
    async def work():
        async with sabio.timeout(1000):
            await asyncio.get_running_loop().create_future()

    assert task_left_waiting(sabio, work) is None


@where_tasks_are_known
async def test_a_subclass_of_the_loop_is_asked_for_time_and_timers(aio):
    base = type(asyncio.get_running_loop())
    asked = []

    class Loop(base):
        def time(self):
            asked.append("time")
            return super().time()

        def call_at(self, when, callback, *args, context=None):
            asked.append("call_at")
            return super().call_at(when, callback, *args, context=context)

    async def work():
        asked.clear()
        with pytest.raises(TimeoutError):
            async with aio.timeout(0.001):
                await asyncio.get_running_loop().create_future()
        assert "time" in asked
        assert "call_at" in asked

    def in_thread():
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(work())

    await asyncio.to_thread(in_thread)
