"""as_completed: in the order in which they end (asyncio docs, "Waiting Primitives")."""

import asyncio
import gc
import sys
import weakref

import pytest

from tests.support.combinations import everywhere, natively, since, without
from tests.support.coroutines import fail, give
from tests.support.waiting import turns


@everywhere
async def test_results_come_as_they_end(aio):
    given = [give(1, 9), give(2, 3), give(3, 6)]
    assert [await coroutine for coroutine in aio.as_completed(given)] == [2, 3, 1]


@since(3, 13)
async def test_futures_come_as_they_end(aio):
    slow, quick = asyncio.ensure_future(give(1, 9)), asyncio.ensure_future(give(2, 3))
    seen = []
    async for future in aio.as_completed([slow, quick]):
        assert future.done()
        seen.append(future)
    assert seen == [quick, slow]


@since(3, 13)
async def test_tasks_made_for_coroutines_come_too(aio):
    seen = [task async for task in aio.as_completed({give(1, 2), give(2, 5)})]
    assert sorted(task.result() for task in seen) == [1, 2]


@everywhere
async def test_exceptions_come_out_of_the_coroutine(aio):
    first, second = aio.as_completed([give(1, 3), fail(ValueError("soon"), 1)])
    with pytest.raises(ValueError, match=r"^soon$"):
        await first
    assert await second == 1


@everywhere
async def test_coroutines_may_be_awaited_in_any_order_and_at_once(aio):
    first, second, third = aio.as_completed([give(number, 5 * number) for number in (3, 1, 2)])
    tasks = [asyncio.ensure_future(coroutine) for coroutine in (third, first, second)]
    assert [await task for task in tasks] == [1, 2, 3]


@everywhere
async def test_one_that_is_given_twice_comes_once(aio):
    task = asyncio.ensure_future(give(1))
    assert [await coroutine for coroutine in aio.as_completed([task, task])] == [1]


@everywhere
async def test_nothing_comes_of_nothing(aio):
    assert list(aio.as_completed([])) == []
    assert list(aio.as_completed((), timeout=1)) == []
    iterator = iter(aio.as_completed([]))
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(iterator)


@since(3, 13)
async def test_asynchronously_nothing_comes_of_nothing(aio):
    iterator = aiter(aio.as_completed([]))
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)


@everywhere
async def test_time_runs_out(aio):
    future = asyncio.get_running_loop().create_future()
    results = []
    for coroutine in aio.as_completed([give(1), future, give(2, 1)], timeout=0.02):
        try:
            results.append(await coroutine)
        except TimeoutError:
            results.append("timeout")
    assert sorted(map(str, results)) == ["1", "2", "timeout"]
    assert results[-1] == "timeout"
    assert not future.cancelled()
    assert not future._callbacks


@since(3, 13)
async def test_asynchronously_time_runs_out(aio):
    future = asyncio.get_running_loop().create_future()
    seen = []

    async def collect():
        async for done in aio.as_completed([give(1), future], timeout=0.02):
            seen.append(done.result())

    with pytest.raises(TimeoutError):
        await collect()
    assert seen == [1]


@everywhere
async def test_time_that_does_not_run_out(aio):
    assert [await coroutine for coroutine in aio.as_completed([give(1, 2), give(2)], timeout=10)] == [2, 1]


@everywhere
async def test_a_cancelled_coroutine_leaves_its_result_to_the_next(aio):
    future = asyncio.get_running_loop().create_future()
    first, second = aio.as_completed([future, give(2, 9)])
    waiting = asyncio.ensure_future(first)
    other = asyncio.ensure_future(second)
    await turns(2)
    future.set_result(1)
    await turns(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await other == 1


@everywhere
async def test_a_single_awaitable_is_refused(aio):
    future = asyncio.get_running_loop().create_future()
    coroutine = give(1)
    name = type(future).__name__
    with pytest.raises(TypeError, match=rf"^expects? an iterable of (awaitables|futures), not {name}$"):
        next(iter(aio.as_completed(future)))
    with pytest.raises(TypeError, match=r"^expects? an iterable of (awaitables|futures), not coroutine$"):
        next(iter(aio.as_completed(coroutine)))
    coroutine.close()
    with pytest.raises(TypeError):
        next(iter(aio.as_completed(5)))
    with pytest.raises(TypeError):
        aio.as_completed([future], 1)


@everywhere
async def test_what_is_not_asked_for_is_not_lost(aio):
    iterator = iter(aio.as_completed([give(number, number) for number in range(4)]))
    assert await next(iterator) == 0
    await turns(9)
    assert [await coroutine for coroutine in iterator] == [1, 2, 3]


@everywhere
async def test_many(aio):
    seen = [await coroutine for coroutine in aio.as_completed([give(n, 1 + n % 5) for n in range(300)])]
    assert sorted(seen) == list(range(300))
    assert [number % 5 for number in seen] == sorted(number % 5 for number in seen)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
@without("sabio-python-tasks")
async def test_who_awaits_the_futures(aio):
    quick, slow = asyncio.ensure_future(give(1, 3)), asyncio.get_running_loop().create_future()

    async def work():
        for coroutine in aio.as_completed([quick, slow], timeout=0.05):
            await coroutine

    task = asyncio.ensure_future(work())
    await turns(1)
    assert [set(future._asyncio_awaited_by) for future in (quick, slow)] == [{task}, {task}]
    await turns(5)
    assert not quick._asyncio_awaited_by
    with pytest.raises(TimeoutError):
        await task
    assert not slow._asyncio_awaited_by


@natively
async def test_it_is_both_kinds_of_iterator(aio):
    iterator = aio.as_completed([])
    assert iter(iterator) is iterator
    assert aiter(iterator) is iterator
    coroutine = next(iter(aio.as_completed([give(1)])))
    assert asyncio.iscoroutine(coroutine)
    assert await coroutine == 1


@natively
async def test_cycles_through_it_are_collected(aio):
    class Witness:
        pass

    loop, witness = asyncio.get_running_loop(), Witness()
    future = loop.create_future()
    iterator = aio.as_completed([future])
    future.add_done_callback(lambda _, cycle=(iterator, witness): None)
    seen = weakref.ref(witness)
    del witness, future, iterator
    gc.collect()
    assert seen() is None
