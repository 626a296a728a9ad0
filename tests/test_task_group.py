"""TaskGroup: one body in every pairing of functions, loop and tasks (asyncio docs, "Task Groups")."""

# What is tested is how a block ends.
# ruff: noqa: PT012

import asyncio
import contextvars
import gc
import warnings
import weakref

import pytest

from tests.support.combinations import PAIRINGS, without
from tests.support.versions import SINCE_3_13, SINCE_3_15
from tests.support.waiting import turns

# asyncio's current_task() does not know its tasks that are written in Python, so its own groups fail there.
everywhere = without("sabio-python-tasks")
natively = without("asyncio", "sabio-python-tasks")
since_3_13 = everywhere if SINCE_3_13 else natively
since_3_15 = everywhere if SINCE_3_15 else natively
# Before 3.13 a task of asyncio's cannot take back a cancellation that was not delivered yet.
since_3_15_or_ours = since_3_15 if SINCE_3_13 else without(*(name for name in PAIRINGS if name != "sabio"))


async def give(value, after=0):
    await turns(after)
    return value


async def fail(error, after=0):
    await turns(after)
    raise error


async def hang(ended=None, name="hang"):
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        if ended is not None:
            ended.append(name)


@everywhere
async def test_the_block_ends_when_all_tasks_have(aio):
    async with aio.TaskGroup() as group:
        tasks = [group.create_task(give(n, n)) for n in range(10)]
    assert [task.result() for task in tasks] == list(range(10))


@everywhere
async def test_a_group_without_tasks_ends_at_once(aio):
    async with aio.TaskGroup() as group:
        assert isinstance(group, asyncio.TaskGroup)
    async with aio.TaskGroup() as group:
        task = group.create_task(give(1))
        await task
        await turns(2)
    assert task.result() == 1


@everywhere
async def test_tasks_may_make_more_tasks_of_the_group(aio):
    made = []

    async def grow(depth):
        if depth:
            made.append(group.create_task(grow(depth - 1)))
            made.append(group.create_task(grow(depth - 1)))

    async with aio.TaskGroup() as group:
        group.create_task(grow(4))
    assert len(made) == 30
    assert all(task.done() for task in made)


@everywhere
async def test_names_and_contexts_are_passed_on(aio):
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()
    context.run(variable.set, "set")

    async def look():
        return variable.get(), asyncio.current_task().get_name()

    async with aio.TaskGroup() as group:
        named = group.create_task(look(), name="mine")
        other = group.create_task(look(), context=context, name=None)
        third = group.create_task(coro=look(), name="third", context=context)
    assert named.result() == ("unset", "mine")
    assert other.result()[0] == "set"
    assert third.result() == ("set", "third")


@since_3_13
async def test_an_exception_cancels_the_others_and_comes_out_in_a_group(aio):
    ended = []
    error = ValueError("child")
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(hang(ended, "one"))
            group.create_task(hang(ended, "two"))
            group.create_task(fail(error, 2))
    assert caught.value.message == "unhandled errors in a TaskGroup"
    assert caught.value.exceptions == (error,)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert sorted(ended) == ["one", "two"]
    assert asyncio.current_task().cancelling() == 0


@everywhere
async def test_an_exception_of_a_task_ends_the_block(aio):
    reached = []
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(fail(ValueError("child")))
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                reached.append("cancelled")
                raise
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert reached == ["cancelled"]
    assert asyncio.current_task().cancelling() == 0
    await turns(2)


@everywhere
async def test_an_exception_of_the_block_cancels_the_tasks(aio):
    ended = []
    error = KeyError("block")
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(hang(ended))
            await turns(2)
            raise error
    assert caught.value.exceptions == (error,)
    assert caught.value.__context__ is error
    assert ended == ["hang"]


@everywhere
async def test_all_exceptions_are_gathered(aio):
    async def stubborn():
        try:
            await hang()
        finally:
            raise OSError("cleaning up")

    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(stubborn())
            group.create_task(fail(ValueError("child"), 2))
            await turns(10)
            raise AssertionError("not reached")
    assert [type(error) for error in caught.value.exceptions] == [ValueError, OSError]


@everywhere
async def test_interrupts_come_out_by_themselves(aio):
    class Stop(BaseException):
        pass

    with pytest.raises(BaseExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(fail(Stop(), 1))
    assert [type(error) for error in caught.value.exceptions] == [Stop]

    for kind in (SystemExit, KeyboardInterrupt):
        ended = []
        error = kind("block")
        with pytest.raises(kind) as interrupted:
            async with aio.TaskGroup() as group:
                group.create_task(hang(ended))
                await turns(1)
                raise error
        assert interrupted.value is error
        assert ended == ["hang"]


@everywhere
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


@everywhere
async def test_cancelling_the_parent_while_it_waits_cancels_the_tasks(aio):
    ended = []

    async def slow():
        try:
            await hang()
        finally:
            await turns(3)
            ended.append("slow")

    async def work():
        async with aio.TaskGroup() as group:
            group.create_task(slow())

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


@everywhere
async def test_a_task_that_is_cancelled_is_no_error(aio):
    async with aio.TaskGroup() as group:
        task = group.create_task(hang())
        other = group.create_task(give(1, 5))
        await turns(2)
        task.cancel()
    assert task.cancelled()
    assert other.result() == 1


async def refused(group, coro):
    """The message with which the group refuses the coroutine."""
    with pytest.raises(RuntimeError) as caught:
        group.create_task(coro)
    coro.close()
    return str(caught.value)


@everywhere
async def test_tasks_are_refused_before_and_after(aio):
    group = aio.TaskGroup()
    assert await refused(group, give(1)) == "TaskGroup <TaskGroup> has not been entered"
    async with group:
        with pytest.raises(RuntimeError, match="TaskGroup <TaskGroup entered> has already been entered"):
            await group.__aenter__()
    assert await refused(group, give(1)) == "TaskGroup <TaskGroup entered> is finished"
    with pytest.raises(RuntimeError, match="has already been entered"):
        async with group:
            raise AssertionError("not reached")
    with pytest.raises(ExceptionGroup):
        async with aio.TaskGroup() as group:
            group.create_task(hang())
            group.create_task(fail(ValueError()))
            try:
                await asyncio.sleep(10)
            finally:
                text = await refused(group, give(1))
                assert text == "TaskGroup <TaskGroup tasks=1 errors=1 cancelling> is shutting down"


@pytest.mark.skipif(not SINCE_3_13, reason="before 3.13 it stays as it is")
@everywhere
async def test_a_coroutine_that_is_refused_is_closed(aio):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coro = give(1)
        with pytest.raises(RuntimeError):
            aio.TaskGroup().create_task(coro)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coro
        del coro
        gc.collect()
    assert caught == []


@everywhere
async def test_a_group_needs_a_task(aio):
    group = aio.TaskGroup()
    outcome = asyncio.get_running_loop().create_future()

    def enter():
        try:
            group.__aenter__().send(None)
        except BaseException as error:
            outcome.set_result(error)

    asyncio.get_running_loop().call_soon(enter)
    error = await outcome
    assert type(error) is RuntimeError
    assert str(error) == "TaskGroup <TaskGroup> cannot determine the parent task"


@everywhere
async def test_repr_tells_how_it_stands(aio):
    group = aio.TaskGroup()
    assert repr(group) == "<TaskGroup>"
    async with group:
        assert repr(group) == "<TaskGroup entered>"
        group.create_task(give(1))
        group.create_task(give(2))
        assert repr(group) == "<TaskGroup tasks=2 entered>"
    assert repr(group) == "<TaskGroup entered>"


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
    async def stubborn():
        try:
            await hang()
        finally:
            raise OSError("cleaning up")

    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(stubborn())
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


@since_3_15
async def test_generator_exit_alone_comes_out_as_itself(aio):
    async def numbers():
        async with aio.TaskGroup() as group:
            group.create_task(hang())
            for number in range(3):
                yield number

    generator = numbers()
    assert await anext(generator) == 0
    await generator.aclose()


@since_3_13
async def test_groups_may_be_inside_each_other(aio):
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as outer:
            outer.create_task(hang())
            async with aio.TaskGroup() as inner:
                inner.create_task(hang())
                inner.create_task(fail(ValueError("deep"), 1))
    (group,) = caught.value.exceptions
    assert [type(error) for error in group.exceptions] == [ValueError]
    assert asyncio.current_task().cancelling() == 0


@everywhere
async def test_a_timeout_around_a_group_ends_its_tasks(aio):
    ended = []
    with pytest.raises(TimeoutError):
        async with aio.timeout(0.001), aio.TaskGroup() as group:
            group.create_task(hang(ended))
    assert ended == ["hang"]


@everywhere
async def test_groups_can_be_subclassed(aio):
    class Named(aio.TaskGroup):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def create_task(self, coro, **kwargs):
            return super().create_task(coro, name=self.name, **kwargs)

    async with Named("mine") as group:
        task = group.create_task(give(1))
        assert task.get_name() == "mine"
    assert isinstance(group, asyncio.TaskGroup)
    assert weakref.ref(group)() is group
    with pytest.raises(TypeError):
        aio.TaskGroup(1)


@everywhere
async def test_groups_leave_nothing_behind(aio):
    class Marker:
        pass

    async def child(marker):
        await asyncio.sleep(0)
        return weakref.ref(marker)

    async def work():
        async with aio.TaskGroup() as group:
            task = group.create_task(child(Marker()))
        refs = [task.result(), weakref.ref(group)]
        try:
            async with aio.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                refs.append(weakref.ref(group))
        except* ValueError:
            pass
        return refs

    refs = await asyncio.create_task(work())
    await turns(2)
    gc.collect()
    assert [ref() for ref in refs] == [None, None, None]


def test_a_loop_that_is_dropped_while_a_group_waits_is_collected(sabio):
    async def work():
        async with sabio.TaskGroup() as group:
            group.create_task(hang())._log_destroy_pending = False

    async def start():
        task = asyncio.create_task(work())
        task._log_destroy_pending = False
        await turns(2)
        return weakref.ref(task)

    loop = sabio.new_event_loop()
    ref = loop.run_until_complete(start())
    loop.close()
    del loop
    gc.collect()
    assert ref() is None
