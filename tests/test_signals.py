"""add_signal_handler, remove_signal_handler, and signals that Python handles itself (asyncio docs, "Unix signals")."""

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.process import output_of, program, run_program
from tests.support.waiting import turns, until


@pytest.fixture(autouse=True)
def handlers_are_restored():
    """Every test must leave the handlers as they were, and the wakeup descriptor too."""
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in names}
    yield
    assert {number: signal.getsignal(number) for number in names} == before
    assert signal.set_wakeup_fd(-1) == -1


def kill(number=signal.SIGUSR1):
    os.kill(os.getpid(), number)


async def test_handler_is_called_on_the_thread_of_the_loop():
    loop = asyncio.get_running_loop()
    seen = loop.create_future()
    loop.add_signal_handler(
        signal.SIGUSR1, lambda *args: seen.set_result((args, threading.get_ident())), 1, "two"
    )
    kill()
    assert await seen == ((1, "two"), threading.get_ident())
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_signal_wakes_a_sleeping_loop(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    timer = threading.Timer(0.05, kill)
    timer.start()
    before = loop.time()
    loop.call_later(20, pytest.fail)
    loop.run_forever()
    timer.join()
    assert 0.04 <= loop.time() - before < 5
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_handler_runs_between_callbacks_and_not_inside_one():
    loop = asyncio.get_running_loop()
    order = []
    loop.add_signal_handler(signal.SIGUSR1, order.append, "handler")
    kill()
    time.sleep(0.005)  # noqa: ASYNC251
    order.append("same callback")
    await until(lambda: len(order) == 2)
    assert order == ["same callback", "handler"]
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_handler_can_be_replaced():
    loop = asyncio.get_running_loop()
    order = []
    loop.add_signal_handler(signal.SIGUSR1, order.append, "first")
    loop.add_signal_handler(signal.SIGUSR1, order.append, "second")
    kill()
    await until(lambda: order)
    assert order == ["second"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


async def test_several_signals_have_their_own_handlers():
    loop = asyncio.get_running_loop()
    order = []
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        loop.add_signal_handler(number, order.append, number)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        kill(number)
    await until(lambda: len(order) == 3)
    assert set(order) == {signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP}
    for number in order:
        assert loop.remove_signal_handler(number)


async def test_handler_runs_in_the_context_in_which_it_was_added():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("when added")
    loop = asyncio.get_running_loop()
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(variable.get()))
    variable.set("later")
    kill()
    await until(lambda: seen)
    assert seen == ["when added"]
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_error_in_a_handler_is_reported(reports):
    loop = asyncio.get_running_loop()

    def fail():
        raise ValueError("in a signal handler")

    loop.add_signal_handler(signal.SIGUSR1, fail)
    kill()
    await until(lambda: reports.logged)
    assert [str(error) for error in reports.take_exceptions()] == ["in a signal handler"]
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_handler_may_remove_itself():
    loop = asyncio.get_running_loop()
    removed = []
    loop.add_signal_handler(
        signal.SIGUSR1, lambda: removed.append(loop.remove_signal_handler(signal.SIGUSR1))
    )
    kill()
    await until(lambda: removed)
    assert removed == [True]


async def test_handlers_work_again_after_having_been_removed():
    loop = asyncio.get_running_loop()
    for _ in range(5):
        order = []
        loop.add_signal_handler(signal.SIGUSR1, order.append, True)
        kill()
        await until(lambda order=order: order)
        assert loop.remove_signal_handler(signal.SIGUSR1)


async def test_removing_puts_the_default_action_back():
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGUSR1)
    loop.add_signal_handler(signal.SIGUSR1, print)
    assert signal.getsignal(signal.SIGUSR1) is not before
    loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_closing_the_loop_removes_the_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


@pytest.mark.parametrize("number", ["SIGUSR1", None, 1.5, object()])
async def test_signal_must_be_a_number(number):
    with pytest.raises(TypeError, match=r"sig must be an int, not"):
        asyncio.get_running_loop().add_signal_handler(number, print)
    with pytest.raises(TypeError, match=r"sig must be an int, not"):
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.parametrize("number", [-1, 0, 1000, 2**40])
async def test_signal_must_exist(number):
    with pytest.raises((ValueError, OverflowError)):
        asyncio.get_running_loop().add_signal_handler(number, print)
    with pytest.raises((ValueError, OverflowError)):
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_signals_that_cannot_be_caught_are_refused(number):
    with pytest.raises(RuntimeError, match=r"cannot be caught"):
        asyncio.get_running_loop().add_signal_handler(number, print)


async def test_handler_must_be_no_coroutine():
    async def coroutine_function():
        pass

    loop = asyncio.get_running_loop()
    coroutine = coroutine_function()
    for wrong in (coroutine, coroutine_function):
        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, wrong)
    coroutine.close()


def test_closed_loop_refuses_handlers(loop):
    loop.close()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        loop.add_signal_handler(signal.SIGUSR1, print)


def test_loop_of_another_thread_refuses_handlers(loop_factory):
    errors = []

    def work():
        loop = loop_factory()
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except (RuntimeError, ValueError) as error:
            errors.append(type(error))
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == [RuntimeError]


def test_loops_of_threads_leave_the_signals_of_the_main_thread_alone(loop, loop_factory):
    stop = threading.Event()

    def work():
        other = loop_factory()
        while not stop.is_set():
            other.run_until_complete(asyncio.sleep(0.001))
        other.close()

    thread = threading.Thread(target=work)
    thread.start()
    order = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: (order.append(True), loop.stop()))
    loop.call_later(0.02, kill)
    loop.run_forever()
    stop.set()
    thread.join()
    assert order == [True]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_handler_of_python_runs_while_the_loop_sleeps(loop):
    order = []
    before = signal.signal(signal.SIGUSR2, lambda *_: (order.append("python"), loop.call_soon(loop.stop)))
    try:
        timer = threading.Timer(0.05, kill, (signal.SIGUSR2,))
        timer.start()
        loop.call_later(10, loop.stop)
        started = loop.time()
        # With a handler of its own asyncio is woken by every signal; without one it would sleep on.
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.run_forever()
        timer.join()
        assert order == ["python"]
        assert loop.time() - started < 5
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        signal.signal(signal.SIGUSR2, before)


def test_exception_of_a_python_handler_comes_out_of_the_run(loop):
    class Interrupted(Exception):
        pass

    def handler(*_):
        raise Interrupted

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        timer = threading.Timer(0.05, kill, (signal.SIGUSR2,))
        timer.start()
        loop.call_later(10, loop.stop)
        with pytest.raises(Interrupted):
            loop.run_forever()
        timer.join()
        assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_ctrl_c_ends_a_sleeping_loop(loop):
    timer = threading.Timer(0.05, kill, (signal.SIGINT,))
    timer.start()
    loop.call_later(20, loop.stop)
    before = loop.time()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    timer.join()
    assert loop.time() - before < 5


@pytest.mark.asyncio_lacks(
    "an interruption of its own code loses the step that it was about to take", run=False
)
def test_ctrl_c_ends_a_loop_that_is_busy_with_tasks(loop):
    task = loop.create_task(turns(1_000_000_000))
    timer = threading.Timer(0.05, kill, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    timer.join()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


def test_ctrl_c_ends_a_loop_that_is_busy_with_callbacks(loop):
    def spin():
        loop.call_soon(spin)

    loop.call_soon(spin)
    timer = threading.Timer(0.05, kill, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    timer.join()


def test_ctrl_c_is_taken_by_a_handler_of_the_loop(loop):
    order = []
    loop.add_signal_handler(signal.SIGINT, lambda: (order.append("handled"), loop.stop()))
    try:
        loop.call_later(0.01, kill, signal.SIGINT)
        loop.run_forever()
        assert order == ["handled"]
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigchld_may_have_a_handler(loop):
    seen = []
    loop.add_signal_handler(signal.SIGCHLD, lambda: (seen.append(True), loop.stop()))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        loop.call_later(20, loop.stop)
        loop.run_forever()
        child.wait()
    loop.remove_signal_handler(signal.SIGCHLD)
    assert seen


def test_system_calls_are_restarted_under_a_handler(loop):
    # A handler must not make a blocking read elsewhere in the program fail with EINTR.
    loop.add_signal_handler(signal.SIGUSR1, print)
    reading, writing = os.pipe()

    def write():
        time.sleep(0.03)
        kill()
        time.sleep(0.03)
        os.write(writing, b"x")

    thread = threading.Thread(target=write)
    thread.start()
    assert os.read(reading, 1) == b"x"
    thread.join()
    loop.remove_signal_handler(signal.SIGUSR1)
    os.close(reading)
    os.close(writing)


def test_burst_of_signals_is_delivered_at_least_once_and_never_hangs(loop):
    count = 0

    def handler():
        nonlocal count
        count += 1

    loop.add_signal_handler(signal.SIGUSR1, handler)

    def burst():
        for _ in range(200):
            kill()

    loop.call_soon(burst)
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert count >= 1


def test_wakeup_descriptor_of_the_program_is_not_lost_silently(loop_name):
    # A handler takes signal.set_wakeup_fd() over; without one the program's own stays in place.
    code = """
        import os, signal
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        loop = new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        print(signal.set_wakeup_fd(-1) == writing)
    """
    assert output_of(loop_name, code) == ["True"]


def test_program_killed_by_a_signal_dies_of_it(loop_name):
    code = """
        import os, signal
        loop = new_event_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
        loop.run_forever()
    """
    assert run_program(loop_name, code).returncode == -signal.SIGTERM


def test_ctrl_c_in_a_terminal_program_gives_a_traceback_and_its_exit_status(loop_name):
    code = """
        async def main():
            print("ready", flush=True)
            await asyncio.sleep(30)

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", program(loop_name, code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
