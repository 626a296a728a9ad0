"""call_soon_threadsafe (asyncio docs, "Concurrency and multithreading")."""

import asyncio
import contextvars
import threading
import time

import pytest

from tests.support.waiting import until

before_3_14 = pytest.mark.asyncio_lacks("handles are not thread-safe before 3.14", "<3.14")


def start(target, *args):
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


async def join(thread):
    await until(lambda: not thread.is_alive())
    thread.join()


def test_call_from_another_thread_wakes_the_sleeping_loop(loop):
    def wake():
        time.sleep(0.05)
        loop.call_soon_threadsafe(loop.stop)

    loop.call_later(20, pytest.fail, "nobody woke the loop")
    before = loop.time()
    thread = start(wake)
    loop.run_forever()
    thread.join()
    assert 0.04 <= loop.time() - before < 2


def test_callback_runs_on_the_thread_of_the_loop(loop):
    seen = []

    def callback():
        seen.append(threading.get_ident())
        loop.stop()

    thread = start(loop.call_soon_threadsafe, callback)
    loop.run_forever()
    thread.join()
    assert seen == [threading.get_ident()]


def test_calls_of_one_thread_keep_their_order(loop):
    order = []

    def work():
        for number in range(5000):
            loop.call_soon_threadsafe(order.append, number)
        loop.call_soon_threadsafe(loop.stop)

    thread = start(work)
    loop.run_forever()
    thread.join()
    assert order == list(range(5000))


def test_calls_of_many_threads_all_arrive_in_order(loop):
    order = {number: [] for number in range(8)}
    ended = []

    def work(number):
        for item in range(1000):
            loop.call_soon_threadsafe(order[number].append, item)
        loop.call_soon_threadsafe(end)

    def end():
        ended.append(True)
        if len(ended) == 8:
            loop.stop()

    threads = [start(work, number) for number in range(8)]
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert all(items == list(range(1000)) for items in order.values())


def test_calls_made_before_the_loop_runs_are_kept(loop):
    order = []
    start(loop.call_soon_threadsafe, order.append, "early").join()
    loop.call_soon(order.append, "later")
    loop.stop()
    loop.run_forever()
    assert order == ["early", "later"]


async def test_order_with_call_soon_on_the_thread_of_the_loop():
    loop = asyncio.get_running_loop()
    order = []
    loop.call_soon(order.append, 1)
    loop.call_soon_threadsafe(order.append, 2)
    loop.call_soon(order.append, 3)
    await asyncio.sleep(0.001)
    assert order == [1, 2, 3]


def test_context_is_that_of_the_caller(loop):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    def callback():
        seen.append(variable.get())

    def work():
        variable.set("of the thread")
        loop.call_soon_threadsafe(callback)
        given = contextvars.copy_context()
        given.run(variable.set, "given")
        loop.call_soon_threadsafe(callback, context=given)
        loop.call_soon_threadsafe(loop.stop)

    thread = start(work)
    loop.run_forever()
    thread.join()
    assert seen == ["of the thread", "given"]


def test_closed_loop_refuses_calls_of_other_threads(loop):
    errors = []

    def work():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            errors.append(str(error))

    loop.close()
    start(work).join()
    assert errors == ["Event loop is closed"]


def test_exceptions_of_the_callback_are_reported(loop, reports):
    def fail():
        raise ValueError("from a thread's callback")

    def work():
        loop.call_soon_threadsafe(fail)
        loop.call_soon_threadsafe(loop.stop)

    thread = start(work)
    loop.run_forever()
    thread.join()
    [error] = reports.take_exceptions()
    assert str(error) == "from a thread's callback"


async def test_handle_can_be_cancelled_by_the_thread_that_made_it():
    loop = asyncio.get_running_loop()
    ran = []

    def work():
        for number in range(100):
            handle = loop.call_soon_threadsafe(ran.append, number)
            handle.cancel()
            assert handle.cancelled()

    # The loop is kept busy meanwhile, so nothing runs before it is cancelled.
    thread = start(work)
    thread.join()
    await asyncio.sleep(0.01)
    assert ran == []


@before_3_14
async def test_cancel_waits_for_the_callback_that_runs_right_now():
    loop = asyncio.get_running_loop()
    entered, cancelled = threading.Event(), threading.Event()
    order = []

    def callback():
        entered.set()
        # The other thread is inside cancel() by now, and must not come out of it before this returns.
        order.append(cancelled.wait(0.2))
        order.append("callback ended")

    def work():
        handle = loop.call_soon_threadsafe(callback)
        entered.wait()
        handle.cancel()
        order.append("cancel returned")
        cancelled.set()

    thread = start(work)
    await join(thread)
    assert order == [False, "callback ended", "cancel returned"]


@before_3_14
async def test_cancelled_waits_for_the_callback_that_runs_right_now():
    loop = asyncio.get_running_loop()
    entered, asked = threading.Event(), threading.Event()
    order = []

    def callback():
        entered.set()
        order.append(asked.wait(0.2))

    def work():
        handle = loop.call_soon_threadsafe(callback)
        entered.wait()
        order.append(handle.cancelled())
        asked.set()

    await join(start(work))
    assert order == [False, False]


async def test_callback_may_cancel_its_own_handle():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    handles = []

    def callback():
        handles[0].cancel()
        done.set_result(handles[0].cancelled())

    handles.append(loop.call_soon_threadsafe(callback))
    assert await done is True


async def test_cancel_from_another_thread_before_it_runs_is_final():
    loop = asyncio.get_running_loop()
    for _ in range(50):
        ran = []
        handle = loop.call_soon_threadsafe(ran.append, True)
        thread = start(handle.cancel)
        thread.join()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ran == []


async def test_run_coroutine_threadsafe_gives_the_result_to_the_thread():
    loop = asyncio.get_running_loop()
    results = []

    async def add(a, b):
        await asyncio.sleep(0.001)
        return a + b

    def work():
        results.append(asyncio.run_coroutine_threadsafe(add(1, 2), loop).result(10))

    await join(start(work))
    assert results == [3]


async def test_run_coroutine_threadsafe_passes_exceptions_and_cancellation():
    loop = asyncio.get_running_loop()
    cancelled = asyncio.Event()
    errors = []

    async def fail():
        raise ValueError("over there")

    async def hang():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    def work():
        try:
            asyncio.run_coroutine_threadsafe(fail(), loop).result(10)
        except ValueError as error:
            errors.append(str(error))
        future = asyncio.run_coroutine_threadsafe(hang(), loop)
        time.sleep(0.02)
        future.cancel()

    await join(start(work))
    await asyncio.wait_for(cancelled.wait(), 10)
    assert errors == ["over there"]


@pytest.mark.debug_mode
async def test_debug_mode_allows_threadsafe_calls_only():
    loop = asyncio.get_running_loop()
    errors, ran = [], []

    def work():
        for method, args in (
            (loop.call_soon, (print,)),
            (loop.call_later, (1, print)),
            (loop.call_at, (1, print)),
        ):
            try:
                method(*args)
            except RuntimeError as error:
                errors.append(str(error))
        loop.call_soon_threadsafe(ran.append, True)

    await join(start(work))
    await asyncio.sleep(0.001)
    expected = "Non-thread-safe operation invoked on an event loop other than the current one"
    assert errors == [expected] * 3
    assert ran == [True]


def test_threads_race_with_close(loop_factory):
    # Whoever loses the race gets the error; nobody crashes and nobody hangs.
    for _ in range(20):
        loop = loop_factory()
        outcomes = []

        def work(loop=loop, outcomes=outcomes):
            while True:
                try:
                    loop.call_soon_threadsafe(int)
                except RuntimeError as error:
                    outcomes.append(str(error))
                    return

        threads = [start(work) for _ in range(2)]
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
        loop.close()
        for thread in threads:
            thread.join()
        assert outcomes == ["Event loop is closed"] * 2
