"""shield: a cancellation stops at it (asyncio docs, "Shielding From Cancellation")."""

import asyncio
import sys

import pytest

from tests.support.combinations import everywhere, natively, without
from tests.support.coroutines import fail, give
from tests.support.waiting import turns

LOGS = hasattr(asyncio.tasks, "_log_on_exception")


@everywhere
async def test_result_exception_and_cancellation_come_through(aio):
    assert await aio.shield(give(1, 2)) == 1
    with pytest.raises(ValueError, match=r"^inner$"):
        await aio.shield(fail(ValueError("inner"), 1))
    inner = asyncio.ensure_future(give(1, 9))
    outer = aio.shield(inner)
    await turns(1)
    inner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert outer.cancelled()


@everywhere
async def test_what_is_done_is_given_back(aio):
    inner = asyncio.get_running_loop().create_future()
    inner.set_result(1)
    assert aio.shield(inner) is inner


@everywhere
async def test_cancelling_the_outer_future_leaves_the_inner_one(aio):
    inner = asyncio.get_running_loop().create_future()
    outer = aio.shield(inner)
    assert outer.cancel("message")
    assert outer.cancelled()
    await turns(2)
    assert not inner.done()
    inner.set_result(1)
    await turns(2)
    with pytest.raises(asyncio.CancelledError, match=r"message"):
        await outer


@everywhere
async def test_cancelling_the_task_leaves_the_inner_task(aio):
    inner = asyncio.ensure_future(give(1, 9))
    ended = []

    async def work():
        try:
            await aio.shield(inner)
        except asyncio.CancelledError:
            ended.append(inner.done())
            raise

    task = asyncio.ensure_future(work())
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [False]
    assert await inner == 1


@everywhere
async def test_exception_after_a_cancellation(aio, reports):
    inner = asyncio.get_running_loop().create_future()
    for _ in range(3):
        aio.shield(inner).cancel()
        await turns(2)
    inner.set_exception(ValueError("late"))
    await turns(2)
    del inner
    if LOGS:
        assert [m.partition("\n")[0] for m in reports.take_logged()] == [
            "ValueError exception in shielded future"
        ]
    else:
        assert [m.partition("\n")[0] for m in reports.take_logged()] == [
            "Future exception was never retrieved"
        ]


@everywhere
async def test_cancellation_and_end_in_one_turn(aio, reports):
    inner = asyncio.get_running_loop().create_future()
    outer = aio.shield(inner)
    outer.cancel()
    inner.set_exception(ValueError("too late"))
    await turns(3)
    reports.take_logged()
    inner.exception()
    other = asyncio.get_running_loop().create_future()
    outer = aio.shield(other)
    other.set_result(1)
    outer.cancel()
    await turns(3)
    assert outer.cancelled()


@everywhere
async def test_no_callback_is_left_behind(aio):
    inner = asyncio.get_running_loop().create_future()
    outer = aio.shield(inner)
    assert inner._callbacks
    outer.cancel()
    await turns(2)
    assert len(inner._callbacks or ()) <= LOGS
    inner.set_result(None)


@everywhere
async def test_the_turns_it_takes(aio):
    order = []
    inner = asyncio.get_running_loop().create_future()
    outer = aio.shield(inner)
    inner.add_done_callback(lambda _: order.append(("inner", outer.done())))
    outer.add_done_callback(lambda _: order.append("outer"))
    inner.set_result(None)
    assert not outer.done()
    await turns(1)
    assert order == [("inner", True)]
    await turns(1)
    assert order == [("inner", True), "outer"]


@everywhere
async def test_shields_in_shields(aio):
    inner = asyncio.ensure_future(give(1, 5))
    assert await aio.shield(aio.shield(aio.shield(inner))) == 1
    with pytest.raises(TypeError, match=r"^An asyncio.Future, a coroutine or an awaitable is required$"):
        aio.shield(1)
    with pytest.raises(TypeError):
        aio.shield()


@everywhere
async def test_shield_of_what_is_gathered(aio):
    gathered = aio.gather(give(1, 3), give(2, 4))
    outer = aio.shield(gathered)
    await turns(1)
    outer.cancel()
    assert await gathered == [1, 2]
    assert await aio.gather(aio.shield(give(1)), aio.shield(give(2))) == [1, 2]


@everywhere
async def test_outer_future_that_somebody_else_ends(aio):
    inner = asyncio.get_running_loop().create_future()
    outer = aio.shield(inner)
    outer.set_result("mine")
    await turns(2)
    inner.set_result("inner")
    await turns(2)
    assert await outer == "mine"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
@without("sabio-python-tasks")
async def test_who_awaits_the_inner_future(aio):
    inner, ended = asyncio.get_running_loop().create_future(), asyncio.ensure_future(give(1, 4))

    async def work():
        await aio.shield(ended)
        await aio.shield(inner)

    task = asyncio.ensure_future(work())
    await turns(2)
    assert set(ended._asyncio_awaited_by) == {task}
    await ended
    await turns(4)
    assert not ended._asyncio_awaited_by
    assert set(inner._asyncio_awaited_by) == {task}
    task.cancel()
    await turns(3)
    assert not inner._asyncio_awaited_by


@natively
async def test_the_future_it_gives(aio):
    inner = asyncio.get_running_loop().create_future()
    outer = aio.shield(inner)
    assert type(outer) is type(inner)
    assert outer.get_loop() is asyncio.get_running_loop()
    inner.set_result(None)
    await outer
