"""wait: until the first, the first failed or the last (asyncio docs, "Waiting Primitives")."""

import asyncio
import gc
import sys
import weakref

import pytest

from tests.support.combinations import everywhere, natively, without
from tests.support.coroutines import fail, give
from tests.support.waiting import turns


def start(*coroutines):
    return [asyncio.ensure_future(coroutine) for coroutine in coroutines]


@everywhere
async def test_waits_for_all(aio):
    tasks = start(give(1), give(2, 3), fail(ValueError(), 2))
    done, pending = await aio.wait(tasks)
    assert (done, pending) == (set(tasks), set())
    assert tasks[2].exception() is not None


@everywhere
async def test_waits_for_the_first(aio):
    first, second = start(give(1, 2), give(2, 9))
    done, pending = await aio.wait([second, first], return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == ({first}, {second})
    await second


@everywhere
async def test_waits_for_the_first_that_fails(aio):
    first, failing, last = start(give(1), fail(ValueError(), 2), give(2, 9))
    done, pending = await aio.wait((first, failing, last), return_when=asyncio.FIRST_EXCEPTION)
    assert (done, pending) == ({first, failing}, {last})
    assert isinstance(failing.exception(), ValueError)
    await last


@everywhere
async def test_a_cancelled_future_has_not_failed(aio):
    cancelled, other = start(give(1, 9), give(2, 4))
    await turns(1)
    cancelled.cancel()
    done, pending = await aio.wait([cancelled, other], return_when=asyncio.FIRST_EXCEPTION)
    assert (done, pending) == ({cancelled, other}, set())


@everywhere
async def test_time_runs_out(aio):
    quick, slow = asyncio.ensure_future(give(1)), asyncio.get_running_loop().create_future()
    done, pending = await aio.wait([quick, slow], timeout=0.01)
    assert (done, pending) == ({quick}, {slow})
    assert not slow.cancelled()
    assert not slow._callbacks


@everywhere
async def test_no_time_at_all_is_some_turns(aio):
    for timeout in (0, -1):
        quick, slow = start(give(1, 1), give(2, 9))
        done, pending = await aio.wait([quick, slow], timeout=timeout)
        assert (done, pending) == ({quick}, {slow})
        await slow


@everywhere
async def test_time_that_does_not_run_out(aio):
    tasks = start(give(1, 3), give(2, 2))
    assert await aio.wait(tasks, timeout=10) == (set(tasks), set())


@everywhere
async def test_one_future_given_twice_counts_once(aio):
    [task] = start(give(1))
    assert await aio.wait([task, task]) == ({task}, set())


@everywhere
async def test_any_iterable_will_do(aio):
    first, second = start(give(1), give(2))
    assert await aio.wait({first: 1, second: 2}) == ({first, second}, set())
    third, fourth = start(give(1), give(2))
    assert await aio.wait(iter([third, fourth])) == ({third, fourth}, set())


@everywhere
async def test_futures_that_are_done_take_two_turns(aio):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    future.set_result(1)
    order = []
    loop.call_soon(lambda: loop.call_soon(order.append, "second turn"))
    loop.call_soon(order.append, "first turn")
    assert await aio.wait([future]) == ({future}, set())
    assert order == ["first turn", "second turn"]


@everywhere
async def test_what_is_refused(aio):
    future = asyncio.get_running_loop().create_future()
    coroutine = give(1)
    with pytest.raises(TypeError, match=rf"^expect a list of futures, not {type(future).__name__}$"):
        await aio.wait(future)
    with pytest.raises(TypeError, match=r"^expect a list of futures, not coroutine$"):
        await aio.wait(coroutine)
    with pytest.raises(TypeError, match=r"^Passing coroutines is forbidden, use tasks explicitly\.$"):
        await aio.wait([coroutine])
    with pytest.raises(ValueError, match=r"^Set of Tasks/Futures is empty\.$"):
        await aio.wait([])
    with pytest.raises(ValueError, match=r"^Invalid return_when value: -1$"):
        await aio.wait([future], return_when=-1)
    with pytest.raises(AssertionError):
        await aio.wait(iter(()))
    with pytest.raises(TypeError):
        aio.wait([future], 1)
    coroutine.close()
    with pytest.raises(ValueError, match=r"^Invalid return_when value: "):
        await aio.wait([future], return_when="no text: \udc80")


@everywhere
async def test_nothing_happens_before_it_is_awaited(aio):
    future = asyncio.get_running_loop().create_future()
    coroutine = aio.wait([future])
    assert not future._callbacks
    coroutine.close()
    waiting = aio.wait([])
    with pytest.raises(ValueError, match=r"empty"):
        await waiting


@everywhere
async def test_cancelling_the_wait_leaves_the_futures_alone(aio):
    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
    task = asyncio.ensure_future(aio.wait(futures, timeout=60))
    await turns(2)
    assert all(future._callbacks for future in futures)
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError, match=r"message"):
        await task
    assert not any(future.cancelled() for future in futures)
    assert not any(future._callbacks for future in futures)


@everywhere
async def test_many_wait_for_the_same(aio):
    future = asyncio.get_running_loop().create_future()
    waits = [asyncio.ensure_future(aio.wait([future])) for _ in range(5)]
    await turns(1)
    future.set_result(None)
    assert [await task for task in waits] == [({future}, set())] * 5


@everywhere
async def test_callbacks_keep_their_order(aio):
    order = []
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: order.append("before"))
    task = asyncio.ensure_future(aio.wait([future]))
    await turns(1)
    future.add_done_callback(lambda _: order.append("after"))
    task.add_done_callback(lambda _: order.append("wait"))
    future.set_result(None)
    await turns(5)
    assert order == ["before", "after", "wait"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
@without("sabio-python-tasks")
async def test_who_awaits_the_futures(aio):
    first, second = start(give(1, 2), give(2, 9))

    async def work():
        await aio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)

    task = asyncio.ensure_future(work())
    await turns(1)
    assert [set(t._asyncio_awaited_by) for t in (first, second)] == [{task}, {task}]
    await task
    assert not first._asyncio_awaited_by
    assert not second._asyncio_awaited_by
    await second


@natively
async def test_it_is_a_coroutine(aio, reports):
    future = asyncio.get_running_loop().create_future()
    coroutine = aio.wait([future])
    assert asyncio.iscoroutine(coroutine)
    assert coroutine.__name__ == "wait"
    held = [coroutine]
    del coroutine
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'wait' was never awaited$"):
        held.clear()


@natively
async def test_cycles_through_it_are_collected(aio):
    class Witness:
        pass

    async def cycle(tasks):
        witness = Witness()
        loop.call_soon(seen.append, weakref.ref(witness))
        future = loop.create_future()
        future.add_done_callback(lambda _, witness=witness: None)
        await aio.wait([future, *tasks[1:]])

    loop, seen, tasks = asyncio.get_running_loop(), [], []
    tasks.append(asyncio.ensure_future(cycle(tasks)))
    await turns(3)
    tasks[0]._log_destroy_pending = False
    tasks.clear()
    gc.collect()
    assert seen[0]() is None
