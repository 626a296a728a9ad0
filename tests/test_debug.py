"""Debug mode: slow callbacks, wrong threads, origins, ResourceWarnings (asyncio docs, "Debug mode")."""

import asyncio
import gc
import logging
import re
import sys
import threading
import time
import warnings

import pytest

from tests.support.net import tcp_pair
from tests.support.process import output_of, run_program
from tests.support.waiting import turns, until


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, logger="asyncio")
    return caplog


def messages(log, level):
    return [record.getMessage() for record in log.records if record.levelno == level]


def run_once(loop):
    loop.stop()
    loop.run_forever()


# ---------------------------------------------------------------- turning it on


def test_debug_mode_is_off_and_can_be_set(loop):
    assert loop.get_debug() is False
    loop.set_debug(True)
    assert loop.get_debug() is True
    assert "debug=True" in repr(loop)
    loop.set_debug(False)
    assert loop.get_debug() is False


@pytest.mark.parametrize(
    ("options", "env", "expected"),
    [
        ((), {}, "False"),
        ((), {"PYTHONASYNCIODEBUG": "1"}, "True"),
        ((), {"PYTHONASYNCIODEBUG": ""}, "False"),
        (("-X", "dev"), {}, "True"),
        (("-E",), {"PYTHONASYNCIODEBUG": "1"}, "False"),
    ],
)
def test_debug_mode_follows_the_interpreter(loop_name, options, env, expected):
    code = """
        loop = new_event_loop()
        print(loop.get_debug())
        loop.close()
    """
    assert output_of(loop_name, code, *options, env=env) == [expected]


# ---------------------------------------------------------------- slow callbacks


def test_slow_callback_is_logged_in_the_words_of_asyncio(loop, log):
    def slow():
        time.sleep(0.03)

    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    loop.call_soon(slow)
    run_once(loop)
    [message] = [text for text in messages(log, logging.WARNING) if "slow" in text]
    assert re.match(
        r"^Executing <Handle .*slow\(\) at .*test_debug.py:\d+ created at .*> took 0\.\d{3} seconds$", message
    )


def test_slow_task_step_is_logged_with_the_task(loop, log):
    async def slow():
        await asyncio.sleep(0)
        time.sleep(0.03)  # noqa: ASYNC251

    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    loop.run_until_complete(loop.create_task(slow(), name="slow task"))
    [message] = [text for text in messages(log, logging.WARNING) if "took" in text]
    assert re.match(
        r"^Executing <Task .*name='slow task' coro=<.*slow\(\).*> took 0\.\d{3} seconds$", message
    )


def test_fast_callbacks_are_not_logged(loop, log):
    loop.set_debug(True)
    for _ in range(10):
        loop.call_soon(int)
    run_once(loop)
    assert messages(log, logging.WARNING) == []


def test_slow_callbacks_are_not_logged_outside_debug_mode(loop, log):
    loop.slow_callback_duration = 0.0
    loop.call_soon(time.sleep, 0.001)
    run_once(loop)
    assert messages(log, logging.WARNING) == []


def test_threshold_is_a_tenth_of_a_second_by_default(loop):
    assert loop.slow_callback_duration == 0.1


def test_threshold_can_be_changed_inside_a_run(loop, log):
    loop.set_debug(True)

    def lower():
        loop.slow_callback_duration = 0.001
        loop.call_soon(time.sleep, 0.005)

    loop.call_soon(lower)
    run_once(loop)
    log.clear()
    run_once(loop)
    assert len([text for text in messages(log, logging.WARNING) if "took" in text]) == 1


def test_debug_mode_can_be_turned_on_inside_a_run(loop, log):
    async def main():
        loop.set_debug(True)
        loop.slow_callback_duration = 0.001
        await asyncio.sleep(0)
        loop.call_soon(time.sleep, 0.005)
        await turns(2)

    loop.run_until_complete(main())
    assert [text for text in messages(log, logging.WARNING) if "sleep" in text]


# ---------------------------------------------------------------- wrong threads


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_scheduling_from_another_thread_is_refused(loop, method):
    loop.set_debug(True)
    errors = []
    args = (print,) if method == "call_soon" else (0, print)

    def work():
        try:
            getattr(loop, method)(*args)
        except RuntimeError as error:
            errors.append(str(error))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert errors == ["Non-thread-safe operation invoked on an event loop other than the current one"]


def test_task_made_on_another_thread_is_refused(loop, reports):
    loop.set_debug(True)
    errors = []

    async def nothing():
        pass

    def work():
        coro = nothing()
        try:
            loop.create_task(coro)
        except RuntimeError as error:
            errors.append(str(error))
        coro.close()
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert errors == ["Non-thread-safe operation invoked on an event loop other than the current one"]
    assert all(message.startswith("Task was destroyed") for message in reports.take_logged())


def test_loop_that_does_not_run_may_be_used_from_any_thread(loop):
    loop.set_debug(True)
    order = []
    thread = threading.Thread(target=lambda: loop.call_soon(order.append, True))
    thread.start()
    thread.join()
    run_once(loop)
    assert order == [True]


def test_finishing_a_future_from_another_thread_is_refused(loop):
    loop.set_debug(True)
    errors = []
    future = loop.create_future()
    future.add_done_callback(int)

    def work():
        try:
            future.set_result(None)
        except RuntimeError as error:
            errors.append(str(error))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert errors == ["Non-thread-safe operation invoked on an event loop other than the current one"]


# ---------------------------------------------------------------- origins


def test_never_awaited_coroutine_tells_where_it_was_made(loop_name):
    code = """
        async def forgotten():
            pass

        async def main():
            forgotten()

        loop = new_event_loop()
        loop.set_debug(True)
        loop.run_until_complete(main())
        loop.close()
    """
    done = run_program(loop_name, code)
    assert "coroutine 'forgotten' was never awaited" in done.stderr
    assert "Coroutine created at (most recent call last)" in done.stderr


def test_origin_tracking_is_on_while_a_debug_loop_runs(loop):
    seen = []
    assert sys.get_coroutine_origin_tracking_depth() == 0
    loop.set_debug(True)
    loop.call_soon(lambda: seen.append(sys.get_coroutine_origin_tracking_depth()))
    run_once(loop)
    assert seen[0] > 0
    assert sys.get_coroutine_origin_tracking_depth() == 0


@pytest.mark.debug_mode
async def test_source_tracebacks_of_handles_futures_and_tasks_name_the_caller():
    loop = asyncio.get_running_loop()
    timer = loop.call_later(60, print)
    task = loop.create_task(asyncio.sleep(0))
    made = [loop.call_soon(int), loop.call_soon_threadsafe(int), timer, loop.create_future(), task]
    for thing in made:
        names = [frame.name for frame in thing._source_traceback]
        assert "test_source_tracebacks_of_handles_futures_and_tasks_name_the_caller" in names
    timer.cancel()
    made[3].cancel()
    await task


@pytest.mark.debug_mode
async def test_debug_mode_changes_nothing_about_results():
    loop = asyncio.get_running_loop()

    async def work(number):
        await asyncio.sleep(0.001)
        return await loop.run_in_executor(None, abs, -number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(number)) for number in range(20)]
    assert [task.result() for task in tasks] == list(range(20))
    left, right = tcp_pair()
    await loop.sock_sendall(left, b"data")
    assert await loop.sock_recv(right, 10) == b"data"
    left.close()
    right.close()


@pytest.mark.debug_mode
async def test_blocking_sockets_are_refused():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    left.setblocking(True)
    for call in (
        lambda: loop.sock_recv(left, 10),
        lambda: loop.sock_recv_into(left, bytearray(10)),
        lambda: loop.sock_sendall(left, b"data"),
        lambda: loop.sock_connect(left, ("127.0.0.1", 9)),
        lambda: loop.sock_accept(left),
    ):
        with pytest.raises(ValueError, match=r"^the socket must be non-blocking$"):
            await call()
    left.close()
    right.close()


@pytest.mark.debug_mode
async def test_slow_name_resolution_is_logged(log):
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("127.0.0.1", 80)
    # asyncio logs each resolution at debug or, when it is slow, at info level; numeric hosts may need none.
    for record in log.records:
        assert record.levelno < logging.WARNING or "took" in record.getMessage()


# ---------------------------------------------------------------- ResourceWarnings


def test_unclosed_loop_warns(loop_factory):
    loop = loop_factory()
    loop.run_until_complete(asyncio.sleep(0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert ["unclosed event loop" in str(w.message) for w in caught] == [True]
    assert caught[0].category is ResourceWarning


async def test_unclosed_transport_warns():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()

    class Quiet(asyncio.Protocol):
        pass

    transport, _ = await loop.connect_accepted_socket(Quiet, left)
    transport.pause_reading()
    del left
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, _
        gc.collect()
        await turns(2)
        gc.collect()
    right.close()
    assert {w.category for w in caught} == {ResourceWarning}
    assert len([w for w in caught if str(w.message).startswith("unclosed transport <")]) == 1


async def test_closed_transport_does_not_warn():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, left)
    transport.close()
    await turns(3)
    del transport, left, _
    gc.collect()
    right.close()


@pytest.mark.debug_mode
async def test_debug_mode_logs_connections(log):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    transport.close()
    server.close()
    await until(lambda: [text for text in messages(log, logging.DEBUG) if "connected to" in text])
    await asyncio.sleep(0.01)


def test_debug_mode_logs_the_close_of_the_loop(loop_factory, log):
    loop = loop_factory()
    loop.set_debug(True)
    loop.close()
    assert [text for text in messages(log, logging.DEBUG) if text.startswith("Close <")]
