"""to_thread, run_coroutine_threadsafe, wrap_future, ensure_future (asyncio docs, "Running in Threads")."""

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import threading
import weakref

import pytest

from tests.support.combinations import natively, without
from tests.support.coroutines import fail, give
from tests.support.waiting import turns, until

#: From 3.14 on the runner cannot end the executor where all tasks are of the Python kind.
everywhere = without("sabio-python-tasks")

variable = contextvars.ContextVar("variable", default="unset")


# ---------------------------------------------------------------- to_thread


@everywhere
async def test_function_runs_in_another_thread(aio):
    assert await aio.to_thread(threading.get_ident) != threading.get_ident()
    assert await aio.to_thread(lambda *args, **kwargs: (args, kwargs), 1, 2, key=3) == ((1, 2), {"key": 3})
    assert await aio.to_thread(dict, func=1, loop=2) == {"func": 1, "loop": 2}


@everywhere
async def test_exception_comes_out(aio):
    with pytest.raises(ZeroDivisionError):
        await aio.to_thread(divmod, 1, 0)


@everywhere
async def test_context_is_copied_when_it_is_awaited(aio):
    variable.set("made")
    coroutine = aio.to_thread(variable.get)
    variable.set("awaited")
    assert await coroutine == "awaited"
    await aio.to_thread(variable.set, "in the thread")
    assert variable.get() == "awaited"


@everywhere
async def test_nothing_runs_before_it_is_awaited(aio):
    ran = []
    coroutine = aio.to_thread(ran.append, 1)
    assert asyncio.iscoroutine(coroutine)
    await turns(3)
    coroutine.close()
    assert ran == []
    with pytest.raises(TypeError):
        aio.to_thread()


@everywhere
async def test_cancelled_before_it_began(aio):
    block = threading.Event()
    blockers = [asyncio.ensure_future(aio.to_thread(block.wait, 10)) for _ in range(64)]
    ran = []
    task = asyncio.ensure_future(aio.to_thread(ran.append, 1))
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    block.set()
    await asyncio.gather(*blockers)
    assert ran == []


@natively
async def test_cycles_through_it_are_collected(aio):
    class Witness:
        coroutine = None

    witness = Witness()
    witness.coroutine = aio.to_thread(functools.partial(lambda _: None, witness))
    seen = weakref.ref(witness)
    del witness
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'to_thread' was never awaited$"):
        gc.collect()
    # The warning had the coroutine for its source.
    gc.collect()
    assert seen() is None


# ---------------------------------------------------------------- run_coroutine_threadsafe


@everywhere
async def test_result_is_kept_by_nobody_when_the_future_is_gone(aio):
    """Without the collector, as a server that asks a million times must have it."""

    class Result:
        pass

    async def work():
        return Result()

    loop = asyncio.get_running_loop()
    enabled = gc.isenabled()
    gc.disable()
    try:
        result = weakref.ref(
            await asyncio.to_thread(lambda: aio.run_coroutine_threadsafe(work(), loop).result(10))
        )
        for _ in range(100):
            if result() is None:
                break
            await asyncio.sleep(0.01)
        assert result() is None
    finally:
        if enabled:
            gc.enable()


@everywhere
async def test_result_of_a_coroutine_of_another_thread(aio):
    loop = asyncio.get_running_loop()

    def work():
        return aio.run_coroutine_threadsafe(give(1, 3), loop).result(10)

    assert await aio.to_thread(work) == 1


@everywhere
async def test_exception_of_a_coroutine_of_another_thread(aio):
    loop = asyncio.get_running_loop()
    future = aio.run_coroutine_threadsafe(fail(ValueError("there")), loop)
    assert isinstance(future, concurrent.futures.Future)
    await until(future.done)
    assert str(future.exception()) == "there"


async def begun(aio):
    """A coroutine that goes on for long: its future for other threads, and its task, once that runs."""
    loop, seen = asyncio.get_running_loop(), []

    async def work():
        seen.append(asyncio.current_task())
        await asyncio.sleep(60)

    future = aio.run_coroutine_threadsafe(work(), loop)
    await until(lambda: seen)
    return future, seen[0]


@everywhere
async def test_cancelling_there_cancels_here(aio):
    future, task = await begun(aio)
    assert await aio.to_thread(future.cancel)
    await until(task.done)
    assert task.cancelled()


@everywhere
async def test_cancelling_here_cancels_there(aio):
    future, task = await begun(aio)
    task.cancel()
    await until(future.done)
    assert future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


@everywhere
async def test_only_coroutines_are_taken(aio):
    loop = asyncio.get_running_loop()
    for wrong in (1, loop.create_future(), give):
        with pytest.raises(TypeError, match=r"^A coroutine object is required$"):
            aio.run_coroutine_threadsafe(wrong, loop)


@everywhere
async def test_task_factory_that_fails(aio, reports):
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def factory(loop, coro, **kwargs):
        coro.close()
        raise NameError("factory")

    loop.set_task_factory(factory)
    future = aio.run_coroutine_threadsafe(give(1), loop)
    for _ in range(3):
        future_turn = loop.create_future()
        loop.call_soon(future_turn.set_result, None)
        await future_turn
    loop.set_task_factory(before)
    assert isinstance(future.exception(0), NameError)
    assert len(reports.take_logged()) == 1


# ---------------------------------------------------------------- wrap_future


@everywhere
async def test_wrapping_a_future_of_another_thread(aio):
    for end, expected in (
        (lambda f: f.set_result(1), 1),
        (lambda f: f.set_exception(ValueError("x")), ValueError),
    ):
        future = concurrent.futures.Future()
        wrapped = aio.wrap_future(future)
        assert asyncio.isfuture(wrapped)
        threading.Thread(target=end, args=(future,)).start()
        if expected is ValueError:
            with pytest.raises(ValueError, match=r"^x$"):
                await wrapped
        else:
            assert await wrapped == expected


@everywhere
async def test_cancelling_what_is_wrapped(aio):
    future = concurrent.futures.Future()
    wrapped = aio.wrap_future(future, loop=asyncio.get_running_loop())
    wrapped.cancel()
    await turns(2)
    assert future.cancelled()
    other = concurrent.futures.Future()
    wrapped = aio.wrap_future(other)
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wrapped


@everywhere
async def test_what_can_be_wrapped(aio):
    future = asyncio.get_running_loop().create_future()
    assert aio.wrap_future(future) is future
    with pytest.raises(AssertionError, match=r"^concurrent.futures.Future is expected, got 5$"):
        aio.wrap_future(5)


@everywhere
async def test_exceptions_of_concurrent_futures_have_counterparts(aio):
    future = concurrent.futures.Future()
    wrapped = aio.wrap_future(future)
    future.set_exception(concurrent.futures.InvalidStateError("text"))
    with pytest.raises(asyncio.InvalidStateError, match=r"^text$"):
        await wrapped


# ---------------------------------------------------------------- ensure_future


@everywhere
async def test_ensure_future_of_everything(aio):
    class Later:
        def __await__(self):
            yield
            return "awaited"

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    assert aio.ensure_future(future) is future
    assert aio.ensure_future(future, loop=loop) is future
    task = aio.ensure_future(give(1))
    assert isinstance(task, asyncio.Task | asyncio.tasks._PyTask)
    assert await task == 1
    assert await aio.ensure_future(Later()) == "awaited"
    assert await aio.ensure_future(give(2), loop=loop) == 2
    assert await aio.ensure_future(aio.sleep(0, "slept")) == "slept"


@everywhere
async def test_ensure_future_refuses(aio):
    other = asyncio.SelectorEventLoop()
    message = r"^The future belongs to a different loop than the one specified as the loop argument$"
    with pytest.raises(ValueError, match=message):
        aio.ensure_future(asyncio.get_running_loop().create_future(), loop=other)
    with pytest.raises(TypeError, match=r"^An asyncio.Future, a coroutine or an awaitable is required$"):
        aio.ensure_future("text")
    other.close()
    coroutine = give(1)
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        aio.ensure_future(coroutine, loop=other)
    assert coroutine.cr_frame is None


@natively
async def test_asyncio_knows_what_is_ours(aio):
    loop = asyncio.get_running_loop()
    for future in (aio.gather(), aio.Future(loop=loop), aio.ensure_future(give(1)), aio.shield(give(1))):
        assert asyncio.isfuture(future)
        assert not asyncio.iscoroutine(future)
    for coroutine in (aio.sleep(0), aio.sleep(1), aio.wait([]), aio.to_thread(int)):
        assert asyncio.iscoroutine(coroutine)
        assert not asyncio.isfuture(coroutine)
        coroutine.close()
    await turns(2)
