"""Future: states, results, callbacks, awaiting (asyncio docs, "Futures")."""

import asyncio
import concurrent.futures
import contextvars
import itertools
import traceback

import pytest

from tests.support.versions import SINCE_3_12, SINCE_3_13, SINCE_3_14
from tests.support.waiting import turns


def run_once(loop):
    loop.stop()
    loop.run_forever()


# ---------------------------------------------------------------- states


def test_create_future_gives_an_asyncio_future(loop):
    future = loop.create_future()
    assert isinstance(future, asyncio.Future)
    assert asyncio.isfuture(future)
    assert future.get_loop() is loop
    assert future._loop is loop


def test_class_of_sabio_is_what_its_loop_gives(sabio, loop):
    assert type(loop.create_future()) is sabio.Future
    assert issubclass(sabio.Future, asyncio.Future)


@pytest.mark.parametrize("eager", [False, True] if SINCE_3_12 else [False])
def test_future_in_a_task_of_asyncios_own_class_is_awaited_to_its_result(loop, eager):
    """Made in the task, in a callback and in another task; all are awaited in it and in a task of the loop's."""
    made = []

    async def wait(future):
        return await future

    async def body():
        made.append(loop.create_future())
        loop.call_soon(lambda: made.append(loop.create_future()))
        await asyncio.sleep(0)
        others = [loop.create_task(wait(future)) for future in made]
        await asyncio.sleep(0)
        for number, future in enumerate(made):
            loop.call_soon(future.set_result, number)
        own = [await future for future in made]
        return own, await asyncio.gather(*others)

    async def main():
        options = {"eager_start": True} if eager else {}
        return await asyncio.Task(body(), loop=loop, **options)

    assert loop.run_until_complete(main()) == ([0, 1], [0, 1])
    assert all(isinstance(future, asyncio.Future) and future.get_loop() is loop for future in made)


@pytest.mark.skipif(not SINCE_3_14, reason="older versions do not tell at once which task runs")
def test_task_of_asyncios_own_class_gets_futures_of_asyncios_own_class(sabio, loop):
    async def kind():
        return type(loop.create_future())

    async def main():
        return [await asyncio.Task(kind(), loop=loop), await loop.create_task(kind()), await kind()]

    assert loop.run_until_complete(main()) == [asyncio.Future, sabio.Future, sabio.Future]


def test_new_future_is_pending(loop):
    future = loop.create_future()
    assert not future.done()
    assert not future.cancelled()
    assert future._state == "PENDING"
    with pytest.raises(asyncio.InvalidStateError, match=r"Result is not set\."):
        future.result()
    with pytest.raises(asyncio.InvalidStateError, match=r"Exception is not set\."):
        future.exception()


def test_future_with_a_result(loop):
    future = loop.create_future()
    value = object()
    assert future.set_result(value) is None
    assert future.done()
    assert not future.cancelled()
    assert future.result() is value
    assert future.result() is value
    assert future.exception() is None
    assert future._state == "FINISHED"


def test_future_with_an_exception(loop):
    future = loop.create_future()
    error = ValueError("kept")
    future.set_exception(error)
    assert future.done()
    assert not future.cancelled()
    assert future.exception() is error
    with pytest.raises(ValueError, match=r"kept") as caught:
        future.result()
    assert caught.value is error


def test_cancelled_future(loop):
    future = loop.create_future()
    assert future.cancel() is True
    assert future.done()
    assert future.cancelled()
    assert future._state == "CANCELLED"
    with pytest.raises(asyncio.CancelledError):
        future.result()
    with pytest.raises(asyncio.CancelledError):
        future.exception()


def test_cancel_message_comes_with_the_exception(loop):
    future = loop.create_future()
    future.cancel("enough")
    assert future._cancel_message == "enough"
    with pytest.raises(asyncio.CancelledError) as caught:
        future.result()
    assert caught.value.args == ("enough",)
    other = loop.create_future()
    other.cancel(msg="by keyword")
    with pytest.raises(asyncio.CancelledError, match=r"by keyword"):
        other.exception()


def test_cancel_of_a_done_future_does_nothing(loop):
    future = loop.create_future()
    future.set_result(1)
    assert future.cancel() is False
    assert future.result() == 1
    cancelled = loop.create_future()
    cancelled.cancel()
    assert cancelled.cancel() is False


@pytest.mark.parametrize("finish", ["result", "exception", "cancel"])
def test_done_future_refuses_another_outcome(loop, finish):
    future = loop.create_future()
    if finish == "result":
        future.set_result(1)
    elif finish == "exception":
        future.set_exception(ValueError())
        future.exception()
    else:
        future.cancel()
    with pytest.raises(asyncio.InvalidStateError):
        future.set_result(2)
    with pytest.raises(asyncio.InvalidStateError):
        future.set_exception(ValueError())


def test_set_exception_makes_an_instance_of_a_class(loop):
    future = loop.create_future()
    future.set_exception(ValueError)
    assert type(future.exception()) is ValueError


def test_set_exception_refuses_what_is_no_exception(loop):
    future = loop.create_future()
    for wrong in (1, "text", None, int):
        with pytest.raises(TypeError):
            future.set_exception(wrong)
    assert not future.done()


def test_stop_iteration_cannot_be_the_exception(loop):
    # A late release of 3.12 began to wrap it; before that it is refused.
    future = loop.create_future()
    try:
        future.set_exception(StopIteration("inner"))
    except TypeError as error:
        assert not SINCE_3_13
        assert "StopIteration interacts badly" in str(error)  # noqa: PT017
        assert not future.done()
        return
    assert SINCE_3_12
    error = future.exception()
    assert isinstance(error, RuntimeError)
    assert "StopIteration interacts badly" in str(error)
    assert isinstance(error.__cause__, StopIteration)


def test_base_exceptions_can_be_the_exception(loop):
    future = loop.create_future()
    future.set_exception(KeyboardInterrupt("kept"))
    with pytest.raises(KeyboardInterrupt, match=r"kept"):
        future.result()


# ---------------------------------------------------------------- callbacks


def test_callbacks_run_in_order_in_a_later_turn(loop):
    future, order = loop.create_future(), []
    for number in range(5):
        future.add_done_callback(lambda f, number=number: order.append((number, f)))
    future.set_result(None)
    assert order == []
    run_once(loop)
    assert order == [(number, future) for number in range(5)]


def test_callback_added_to_a_done_future_runs_in_a_later_turn(loop):
    future, order = loop.create_future(), []
    future.set_result(None)
    future.add_done_callback(order.append)
    assert order == []
    run_once(loop)
    assert order == [future]


def test_callbacks_run_on_exception_and_on_cancellation(loop):
    order = []
    failed, cancelled = loop.create_future(), loop.create_future()
    failed.add_done_callback(lambda f: order.append(type(f.exception())))
    cancelled.add_done_callback(lambda f: order.append(f.cancelled()))
    failed.set_exception(ValueError())
    cancelled.cancel()
    run_once(loop)
    assert order == [ValueError, True]


def test_callbacks_run_in_the_context_in_which_they_were_added(loop):
    variable = contextvars.ContextVar("variable", default="unset")
    future, seen = loop.create_future(), []

    def add(value):
        variable.set(value)
        future.add_done_callback(lambda _: seen.append(variable.get()))

    contextvars.copy_context().run(add, "first")
    contextvars.copy_context().run(add, "second")
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    future.add_done_callback(lambda _: seen.append(variable.get()), context=given)
    future.set_result(None)
    run_once(loop)
    assert seen == ["first", "second", "given"]


def test_remove_done_callback_removes_all_and_counts(loop):
    future, order = loop.create_future(), []
    keep = lambda _: order.append("kept")  # noqa: E731
    future.add_done_callback(order.append)
    future.add_done_callback(keep)
    future.add_done_callback(order.append)
    future.add_done_callback(order.append)
    assert future.remove_done_callback(order.append) == 3
    assert future.remove_done_callback(order.append) == 0
    future.set_result(None)
    run_once(loop)
    assert order == ["kept"]


def test_remove_done_callback_compares_for_equality(loop):
    class Bound:
        def method(self, future):
            pytest.fail("was removed")

    future, bound = loop.create_future(), Bound()
    future.add_done_callback(bound.method)
    assert future.remove_done_callback(bound.method) == 1
    future.set_result(None)
    run_once(loop)


def test_remove_done_callback_survives_callbacks_that_interfere(loop):
    future = loop.create_future()

    class Meddler:
        meddled = False

        def __eq__(self, other):
            if not Meddler.meddled:
                Meddler.meddled = True
                future.remove_done_callback(int)
            return False

        __hash__ = None

    for callback in (int, int, str, Meddler(), int, str):
        future.add_done_callback(callback)
    assert future.remove_done_callback(Meddler()) == 0
    assert future.remove_done_callback(str) == 2


def test_error_in_a_callback_is_reported_and_the_others_run(loop, reports):
    future, order = loop.create_future(), []

    def fail(_):
        raise ValueError("in a callback")

    future.add_done_callback(fail)
    future.add_done_callback(order.append)
    future.set_result(None)
    run_once(loop)
    assert order == [future]
    assert [str(error) for error in reports.take_exceptions()] == ["in a callback"]


def test_callback_may_finish_other_futures(loop):
    futures = [loop.create_future() for _ in range(50)]
    for one, following in itertools.pairwise(futures):
        one.add_done_callback(lambda _, following=following: following.set_result(None))
    futures[0].set_result(None)
    loop.run_until_complete(futures[-1])
    assert all(future.done() for future in futures)


# ---------------------------------------------------------------- awaiting


async def test_await_gives_the_result():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, "late")
    assert await future == "late"
    assert await future == "late"


async def test_await_raises_the_exception():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_exception, ValueError("late"))
    with pytest.raises(ValueError, match=r"late"):
        await future
    with pytest.raises(ValueError, match=r"late"):
        await future


async def test_await_of_a_cancelled_future_raises_cancelled_error_with_the_message():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.cancel, "enough")
    with pytest.raises(asyncio.CancelledError) as caught:
        await future
    assert caught.value.args == ("enough",)
    assert asyncio.current_task().cancelling() == 0


async def test_await_of_a_done_future_does_not_leave_the_turn():
    loop = asyncio.get_running_loop()
    future, order = loop.create_future(), []
    future.set_result(1)
    loop.call_soon(order.append, "turn")
    await future
    assert order == []


async def test_tasks_and_callbacks_of_a_future_run_in_the_order_of_their_coming():
    loop = asyncio.get_running_loop()
    future, order = loop.create_future(), []

    async def wait(name):
        await future
        order.append(name)

    tasks = [asyncio.create_task(wait("task 1"))]
    await turns(1)
    future.add_done_callback(lambda _: order.append("callback 1"))
    tasks.append(asyncio.create_task(wait("task 2")))
    await turns(1)
    future.add_done_callback(lambda _: order.append("callback 2"))
    tasks.append(asyncio.create_task(wait("task 3")))
    await turns(1)
    future.set_result(None)
    await asyncio.gather(*tasks)
    assert order == ["task 1", "callback 1", "task 2", "callback 2", "task 3"]


async def test_callback_added_before_the_task_runs_before_it():
    loop = asyncio.get_running_loop()
    future, order = loop.create_future(), []
    future.add_done_callback(lambda _: order.append("callback"))

    async def wait():
        await future
        order.append("task")

    task = asyncio.create_task(wait())
    await turns(1)
    future.set_result(None)
    await task
    assert order == ["callback", "task"]


async def test_many_tasks_wait_for_one_future():
    future = asyncio.get_running_loop().create_future()

    async def wait(number):
        return number, await future

    tasks = [asyncio.create_task(wait(number)) for number in range(500)]
    await turns(2)
    future.set_result("all")
    assert await asyncio.gather(*tasks) == [(number, "all") for number in range(500)]


def test_future_yields_itself_and_is_marked_as_blocking(loop):
    future = loop.create_future()
    iterator = iter(future.__await__())
    assert next(iterator) is future
    assert future._asyncio_future_blocking is True
    with pytest.raises(RuntimeError, match=r"await wasn't used with future"):
        next(iterator)


def test_future_iterator_returns_the_result(loop):
    future = loop.create_future()
    iterator = future.__await__()
    assert iterator.send(None) is future
    future._asyncio_future_blocking = False
    future.set_result("value")
    with pytest.raises(StopIteration) as stopped:
        iterator.send(None)
    assert stopped.value.value == "value"


def test_future_iterator_lets_exceptions_be_thrown_in(loop):
    future = loop.create_future()
    iterator = future.__await__()
    next(iterator)
    with pytest.raises(ValueError, match=r"thrown"):
        iterator.throw(ValueError("thrown"))
    assert not future.done()
    future.__await__().close()


async def test_awaited_exception_keeps_where_it_came_from():
    async def origin():
        raise ValueError("with a trace")

    task = asyncio.create_task(origin())
    with pytest.raises(ValueError, match=r"with a trace") as caught:
        await task
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_awaited_exception_keeps_where_it_came_from", "origin"]
    with pytest.raises(ValueError, match=r"with a trace") as again:
        await task
    assert again.value is caught.value


# ---------------------------------------------------------------- concurrent.futures


async def test_wrap_future_follows_a_concurrent_future():
    inner = concurrent.futures.Future()
    outer = asyncio.wrap_future(inner)
    inner.set_result("from a thread")
    assert await outer == "from a thread"
    other = concurrent.futures.Future()
    outer = asyncio.wrap_future(other)
    outer.cancel()
    await turns(2)
    assert other.cancelled()


@pytest.mark.parametrize("waits", [False, True])
async def test_an_exception_that_is_none_is_refused_and_changes_nothing(waits):
    future = asyncio.get_running_loop().create_future()

    async def wait():
        return await future

    task = asyncio.create_task(wait())
    if waits:
        await asyncio.sleep(0)
    for wrong in (5, "text", object):
        with pytest.raises(TypeError, match="invalid exception object"):
            future.set_exception(wrong)
        assert not future.done()
    await asyncio.sleep(0)
    assert not task.done()
    future.set_result("right")
    assert await task == "right"
