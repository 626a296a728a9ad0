"""gather: results, exceptions, cancellation in both directions (asyncio docs, "Running Tasks Concurrently")."""

import asyncio
import gc
import sys
import weakref

import pytest

from tests.support.combinations import everywhere, natively, without
from tests.support.coroutines import fail, give
from tests.support.waiting import turns


class Later:
    """Awaitable, and nothing more."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield
        return self.value


@everywhere
async def test_results_come_in_the_order_of_the_arguments(aio):
    future = asyncio.get_running_loop().create_future()
    future.set_result("future")
    given = (give(1, 3), give(2, 1), Later(3), future, asyncio.ensure_future(give(4)))
    assert await aio.gather(*given) == [1, 2, 3, "future", 4]


@everywhere
async def test_gather_of_nothing_is_done(aio):
    future = aio.gather()
    assert asyncio.isfuture(future)
    assert future.done()
    assert await future == []
    assert await aio.gather(return_exceptions=True) == []


@everywhere
async def test_an_argument_given_twice_runs_once(aio):
    runs = []

    async def work():
        runs.append(1)
        return "done"

    coroutine, future = work(), asyncio.get_running_loop().create_future()
    gathered = aio.gather(coroutine, future, coroutine, future)
    future.set_result("future")
    assert await gathered == ["done", "future", "done", "future"]
    assert runs == [1]


@everywhere
async def test_equal_awaitables_are_one(aio):
    class Same(Later):
        def __eq__(self, other):
            return isinstance(other, Same)

        def __hash__(self):
            return 1

    assert await aio.gather(Same("first"), Same("second")) == ["first", "first"]


@everywhere
async def test_first_exception_comes_out_and_the_others_go_on(aio):
    ended = []

    async def work():
        await turns(5)
        ended.append("work")

    with pytest.raises(ValueError, match=r"^first$"):
        await aio.gather(work(), fail(ValueError("first"), 1), fail(KeyError("second"), 2))
    assert ended == []
    await turns(6)
    assert ended == ["work"]


@everywhere
async def test_exceptions_can_be_results(aio):
    error = ValueError()
    assert await aio.gather(give(1), fail(error), give(2), return_exceptions=True) == [1, error, 2]


@everywhere
async def test_later_exceptions_count_as_retrieved(aio, reports):
    with pytest.raises(ValueError, match=r"^first$"):
        await aio.gather(fail(ValueError("first")), fail(KeyError(), 3))
    await turns(5)
    assert reports.take_logged() == []


@everywhere
async def test_exception_that_nobody_retrieves_is_reported(aio, reports):
    gathered = aio.gather(fail(ValueError("lost")))
    await turns(4)
    assert gathered.done()
    del gathered
    assert [m.partition("\n")[0] for m in reports.take_logged()] == [
        "_GatheringFuture exception was never retrieved"
    ]


@everywhere
async def test_cancelling_it_cancels_the_children(aio):
    tasks = [asyncio.ensure_future(give(number, 10)) for number in range(3)]
    gathered = aio.gather(*tasks)
    await turns(2)
    assert gathered.cancel("message")
    assert not gathered.done()
    with pytest.raises(asyncio.CancelledError) as caught:
        await gathered
    assert caught.value.args == ("message",)
    assert all(task.cancelled() for task in tasks)
    assert not gathered.cancelled()


@everywhere
async def test_cancelling_the_awaiting_task_cancels_the_children(aio):
    children = [asyncio.ensure_future(give(number, 10)) for number in range(3)]

    async def work():
        await aio.gather(*children)

    task = asyncio.ensure_future(work())
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(child.cancelled() for child in children)


@everywhere
async def test_cancellation_comes_out_even_where_exceptions_are_results(aio):
    gathered = aio.gather(give(1, 10), give(2, 10), return_exceptions=True)
    await turns(2)
    gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered


@everywhere
async def test_children_may_refuse_a_cancellation(aio):
    async def stubborn():
        try:
            await turns(10)
        except asyncio.CancelledError:
            return "still here"

    gathered = aio.gather(stubborn(), stubborn())
    await turns(2)
    assert gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered


@everywhere
async def test_nothing_is_left_to_cancel(aio):
    future = asyncio.get_running_loop().create_future()
    gathered = aio.gather(future)
    future.set_result(1)
    assert not gathered.cancel()
    assert await gathered == [1]
    assert not gathered.cancel()


@everywhere
async def test_a_cancelled_child_is_an_exception(aio):
    child = asyncio.ensure_future(give(1, 10))
    gathered = aio.gather(child, give(2))
    await turns(1)
    child.cancel("child")
    with pytest.raises(asyncio.CancelledError, match=r"child"):
        await gathered
    assert not gathered.cancelled()


@everywhere
async def test_a_cancelled_child_can_be_a_result(aio):
    child, future = asyncio.ensure_future(give(1, 10)), asyncio.get_running_loop().create_future()
    gathered = aio.gather(child, give(2), future, return_exceptions=True)
    await turns(1)
    child.cancel("child")
    future.cancel("future")
    first, second, third = await gathered
    assert isinstance(first, asyncio.CancelledError)
    assert first.args == ("",)
    assert second == 2
    assert third.args == ("future",)


@everywhere
async def test_gathering_what_is_gathered(aio):
    inner = [aio.gather(give(number, number), give(-number)) for number in range(3)]
    assert await aio.gather(*inner) == [[0, 0], [1, -1], [2, -2]]


@everywhere
async def test_what_cannot_be_awaited_is_refused(aio):
    ran = []

    async def work():
        ran.append(1)

    coroutine = work()
    with pytest.raises(TypeError, match=r"^An asyncio.Future, a coroutine or an awaitable is required$"):
        aio.gather(coroutine, 5)
    await turns(2)
    assert ran == [1]
    with pytest.raises(TypeError, match=r"unhashable"):
        aio.gather([])
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'loop'"):
        aio.gather(loop=asyncio.get_running_loop())


@everywhere
async def test_futures_of_two_loops_are_refused(aio):
    other = asyncio.SelectorEventLoop()
    futures = [asyncio.get_running_loop().create_future(), other.create_future()]
    with pytest.raises(
        ValueError, match=r"^The future belongs to a different loop than the one specified as"
    ):
        aio.gather(*futures)
    other.close()


@everywhere
async def test_the_turns_it_takes(aio):
    order = []
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    gathered = aio.gather(first, second)
    for name, future in (("first", first), ("second", second), ("gathered", gathered)):
        future.add_done_callback(lambda _, name=name: order.append(name))
    second.set_result(2)
    first.set_result(1)
    order.append(gathered.done())
    await turns(1)
    order.append(gathered.done())
    await turns(1)
    assert order == [False, "second", "first", True, "gathered"]


@everywhere
async def test_many(aio):
    assert await aio.gather(*[give(number, number % 7) for number in range(500)]) == list(range(500))


@everywhere
async def test_children_made_for_it_do_not_warn_when_destroyed(aio, reports):
    loop = asyncio.get_running_loop()

    async def wait():
        await loop.create_future()

    gathered = aio.gather(wait())
    await turns(2)
    del gathered
    assert reports.take_logged() == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
@everywhere
async def test_eager_children_end_it_at_once(aio):
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(asyncio.eager_task_factory)
    gathered = aio.gather(give(1), give(2))
    failed = aio.gather(give(1), fail(ValueError("eager")))
    mixed = aio.gather(give(1), give(2, 1))
    loop.set_task_factory(before)
    assert gathered.done()
    assert await gathered == [1, 2]
    assert failed.done()
    with pytest.raises(ValueError, match=r"^eager$"):
        await failed
    assert not mixed.done()
    assert await mixed == [1, 2]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
@without("sabio-python-tasks")
async def test_who_awaits_the_children(aio):
    children = [asyncio.ensure_future(give(number, 3)) for number in range(2)]
    failing = asyncio.ensure_future(fail(ValueError("end"), 2))

    def awaiters():
        return [len(child._asyncio_awaited_by or ()) for child in children]

    async def work():
        await aio.gather(*children, failing)

    task = asyncio.ensure_future(work())
    await turns(1)
    assert awaiters() == [1, 1]
    with pytest.raises(ValueError, match=r"^end$"):
        await task
    assert awaiters() == [0, 0]


@natively
async def test_the_future_it_gives(aio):
    child = asyncio.get_running_loop().create_future()
    gathered = aio.gather(child)
    assert isinstance(gathered, asyncio.Future)
    assert isinstance(gathered, aio.Future)
    assert gathered._children == [child]
    assert type(gathered).__name__ == "_GatheringFuture"
    assert gathered.get_loop() is asyncio.get_running_loop()
    child.set_result(None)
    await gathered


@natively
async def test_cycles_through_it_are_collected(aio):
    class Witness:
        pass

    child = asyncio.get_running_loop().create_future()
    gathered = aio.gather(child)
    child.witness = witness = Witness() if hasattr(child, "__dict__") else None
    if witness is None:
        witness = Witness()
        child.add_done_callback(lambda _, witness=witness: None)
    seen = weakref.ref(witness)
    del witness, child, gathered
    gc.collect()
    assert seen() is None
