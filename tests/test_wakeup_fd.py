"""Who hears of signals: the program's own wakeup descriptor, several loops of one thread, forked children."""

import asyncio
import contextlib
import os
import signal
import threading

import pytest

from tests.support.process import output_of


@pytest.fixture
def wakeup():
    """A wakeup descriptor that the program has set: gives the end to read from and the number that was set."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    yield reading, writing
    signal.signal(signal.SIGUSR1, before)
    signal.set_wakeup_fd(-1)
    os.close(reading)
    os.close(writing)


def kill(number=signal.SIGUSR1):
    os.kill(os.getpid(), number)


def numbers(descriptor):
    with contextlib.suppress(BlockingIOError):
        return list(os.read(descriptor, 100))
    return []


def current():
    """The wakeup descriptor that is set now."""
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor


async def nap():
    await asyncio.sleep(0.02)


def test_the_program_s_descriptor_hears_of_signals_while_a_loop_with_handlers_runs(sabio, loop, wakeup):
    reading, writing = wakeup
    handled = []
    loop.add_signal_handler(signal.SIGUSR2, handled.append, "handled")
    loop.call_soon(kill, signal.SIGUSR2)
    loop.call_soon(kill, signal.SIGUSR1)
    loop.run_until_complete(nap())
    assert numbers(reading) == [signal.SIGUSR2, signal.SIGUSR1]
    assert handled == ["handled"]
    loop.remove_signal_handler(signal.SIGUSR2)
    assert current() == writing


def test_a_descriptor_that_is_set_while_the_loop_runs_stays(sabio, loop, wakeup):
    reading, writing = wakeup
    other_reading, other_writing = os.pipe()
    os.set_blocking(other_writing, False)
    loop.call_soon(signal.set_wakeup_fd, other_writing)
    loop.run_until_complete(nap())
    assert current() == other_writing
    kill()
    assert numbers(other_reading) == [signal.SIGUSR1]
    assert numbers(reading) == []
    signal.set_wakeup_fd(writing)
    os.close(other_reading)
    os.close(other_writing)


def test_a_descriptor_that_was_closed_meanwhile_is_not_set_again(sabio, loop):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    loop.call_soon(os.close, writing)
    loop.run_until_complete(nap())
    os.close(reading)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_is_kept_for_the_loop_that_has_its_handler(sabio, loop_factory):
    first, second = loop_factory(), loop_factory()
    handled = []
    first.add_signal_handler(signal.SIGUSR1, handled.append, "first")
    second.add_signal_handler(signal.SIGUSR2, handled.append, "second")
    kill(signal.SIGUSR1)
    second.run_until_complete(nap())
    assert handled == []
    kill(signal.SIGUSR2)
    first.run_until_complete(nap())
    assert handled == ["first"]
    second.run_until_complete(nap())
    assert handled == ["first", "second"]
    first.close()
    kill(signal.SIGUSR2)
    second.run_until_complete(nap())
    assert handled == ["first", "second", "second"]
    second.close()
    assert signal.set_wakeup_fd(-1) == -1


def test_a_loop_in_the_middle_of_the_chain_may_be_closed_first(sabio, loop_factory, wakeup):
    reading, writing = wakeup
    loops = [loop_factory() for _ in range(3)]
    for loop in loops:
        loop.add_signal_handler(signal.SIGUSR2, lambda: None)
    loops[1].close()
    loops[0].close()
    loops[2].call_soon(kill)
    loops[2].run_until_complete(nap())
    loops[2].close()
    assert numbers(reading) == [signal.SIGUSR1]
    assert current() == writing


def test_closing_in_another_thread_does_not_leave_the_number_to_others(sabio):
    # The interpreter refuses to change its wakeup descriptor there: the number must go on meaning the loop's pipe.
    code = """
        import os, signal, threading
        loop = new_event_loop()
        loop.add_signal_handler(signal.SIGUSR1, print)
        def close():
            try:
                loop.close()
            except ValueError as error:
                print(error)
        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
        descriptor = signal.set_wakeup_fd(-1)
        print(os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:"))
        others = os.pipe()
        print(descriptor not in others)
    """
    words = "signal only works in main thread of the main interpreter"
    assert output_of("sabio", code) == [words, "True", "True"]


def test_signals_of_a_forked_child_do_not_reach_the_parent(sabio):
    code = """
        import os, signal
        def child():
            signal.signal(signal.SIGUSR1, lambda *_: None)
            os.kill(os.getpid(), signal.SIGUSR1)
            os._exit(0)
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, print, "reached the parent")
            pid = os.fork()
            if pid == 0:
                child()
            os.waitpid(pid, 0)
            await asyncio.sleep(0.02)
        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        print("end")
    """
    assert output_of("sabio", code) == ["end"]


def test_a_signal_that_hits_another_thread_ends_the_wait(loop_name, loop):
    # asyncio notices while it has a handler of its own; sabio always does.
    if loop_name == "asyncio":
        loop.add_signal_handler(signal.SIGUSR2, lambda: None)

    def hit():
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    def handle(*_):
        loop.stop()

    before = signal.signal(signal.SIGUSR1, handle)
    timer = threading.Timer(0.02, hit)
    timer.start()
    started = loop.time()
    loop.call_later(20, loop.stop)
    loop.run_forever()
    timer.join()
    signal.signal(signal.SIGUSR1, before)
    assert loop.time() - started < 5
