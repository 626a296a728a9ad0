"""TaskGroup: its tasks, from entering it to its end (asyncio docs, "Task Groups"). One body in every pairing."""

# What is tested is how a block ends.
# ruff: noqa: PT012

import asyncio
import contextvars
import gc
import warnings
import weakref

import pytest

from tests.support.abandoned import task_left_waiting
from tests.support.combinations import (
    where_tasks_are_known,
)
from tests.support.coroutines import fail, give, hang
from tests.support.versions import SINCE_3_13
from tests.support.waiting import turns


@where_tasks_are_known
async def test_the_block_ends_when_all_tasks_have(aio):
    async with aio.TaskGroup() as group:
        tasks = [group.create_task(give(n, n)) for n in range(10)]
    assert [task.result() for task in tasks] == list(range(10))


@where_tasks_are_known
async def test_a_group_without_tasks_ends_at_once(aio):
    async with aio.TaskGroup() as group:
        assert isinstance(group, asyncio.TaskGroup)
    async with aio.TaskGroup() as group:
        task = group.create_task(give(1))
        await task
        await turns(2)
    assert task.result() == 1


@where_tasks_are_known
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


@where_tasks_are_known
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


async def refused(group, coro):
    """The message with which the group refuses the coroutine."""
    with pytest.raises(RuntimeError) as caught:
        group.create_task(coro)
    coro.close()
    return str(caught.value)


@where_tasks_are_known
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
@where_tasks_are_known
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


@where_tasks_are_known
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


@where_tasks_are_known
async def test_repr_tells_how_it_stands(aio):
    group = aio.TaskGroup()
    assert repr(group) == "<TaskGroup>"
    async with group:
        assert repr(group) == "<TaskGroup entered>"
        group.create_task(give(1))
        group.create_task(give(2))
        assert repr(group) == "<TaskGroup tasks=2 entered>"
    assert repr(group) == "<TaskGroup entered>"


@where_tasks_are_known
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


@where_tasks_are_known
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

    assert task_left_waiting(sabio, work) is None


@where_tasks_are_known
@pytest.mark.parametrize("ending", ["well", "by a child", "by its body"])
async def test_a_group_that_has_ended_is_gone_without_the_collector(aio, ending):
    if aio is asyncio and ending != "well":
        pytest.skip("on some versions asyncio's group refers to its exception")

    async def block():
        group = aio.TaskGroup()
        try:
            async with group:
                group.create_task(fail(KeyError()) if ending == "by a child" else give(1))
                if ending == "by its body":
                    raise KeyError
        except ExceptionGroup:
            pass
        return weakref.ref(group)

    gc.disable()
    try:
        gone = await asyncio.create_task(block())
        await turns(2)
        assert gone() is None
    finally:
        gc.enable()
