"""TaskGroup: what exceptions, of a task or of the block, do to the others (asyncio docs, "Task Groups")."""

# What is tested is how a block ends.
# ruff: noqa: PT012

import asyncio

import pytest

from tests.support.combinations import (
    natively_where_tasks_are_known,
    where_tasks_are_known,
)
from tests.support.coroutines import fail, fail_when_cancelled, hang
from tests.support.versions import SINCE_3_13, SINCE_3_15
from tests.support.waiting import turns

since_3_13 = where_tasks_are_known if SINCE_3_13 else natively_where_tasks_are_known

since_3_15 = where_tasks_are_known if SINCE_3_15 else natively_where_tasks_are_known


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


@where_tasks_are_known
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


@where_tasks_are_known
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


@where_tasks_are_known
async def test_all_exceptions_are_gathered(aio):
    with pytest.raises(ExceptionGroup) as caught:
        async with aio.TaskGroup() as group:
            group.create_task(fail_when_cancelled(OSError("cleaning up")))
            group.create_task(fail(ValueError("child"), 2))
            await turns(10)
            raise AssertionError("not reached")
    assert [type(error) for error in caught.value.exceptions] == [ValueError, OSError]


@where_tasks_are_known
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
