"""Running, stopping and closing a loop (asyncio docs, "Running and stopping the loop")."""

import asyncio
import socket
import threading
import time
import weakref

import pytest


class Fatal(BaseException):
    """Neither an Exception nor one of the two that loops treat specially."""


def test_loop_is_an_abstract_event_loop(loop):
    assert isinstance(loop, asyncio.AbstractEventLoop)


def test_new_loop_is_neither_running_nor_closed(loop):
    assert not loop.is_running()
    assert not loop.is_closed()


def test_run_forever_runs_until_stop(loop):
    seen = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1]
    assert not loop.is_running()


def test_loop_is_running_inside_callbacks_only(loop):
    states = []
    loop.call_soon(lambda: states.append((loop.is_running(), asyncio.get_running_loop() is loop)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert states == [(True, True)]
    with pytest.raises(RuntimeError, match=r"no running event loop"):
        asyncio.get_running_loop()


def test_loop_can_run_many_times(loop):
    for expected in range(5):
        future = loop.create_future()
        loop.call_soon(future.set_result, expected)
        assert loop.run_until_complete(future) == expected


def test_stop_before_run_forever_runs_one_turn(loop):
    order = []

    def first():
        order.append("first")
        loop.call_soon(order.append, "second turn")

    loop.call_soon(first)
    loop.stop()
    loop.run_forever()
    assert order == ["first"]
    loop.stop()
    loop.run_forever()
    assert order == ["first", "second turn"]


def test_single_step_does_not_wait_for_timers(loop):
    loop.call_later(60, pytest.fail)
    started = loop.time()
    loop.stop()
    loop.run_forever()
    assert loop.time() - started < 5


def test_single_step_runs_a_timer_that_is_due(loop):
    fired = []
    loop.call_at(loop.time() - 1, fired.append, True)
    loop.stop()
    loop.run_forever()
    assert fired == [True]


def test_single_step_collects_ready_descriptors(loop):
    left, right = socket.socketpair()
    with left, right:
        got = []
        loop.add_reader(left, lambda: got.append(left.recv(10)))
        right.send(b"ping")
        loop.stop()
        loop.run_forever()
        assert got == [b"ping"]
        loop.remove_reader(left)


def test_stop_lets_callbacks_of_this_turn_run(loop):
    order = []
    loop.call_soon(loop.stop)
    loop.call_soon(order.append, "same turn")
    loop.call_soon(lambda: loop.call_soon(order.append, "next turn"))
    loop.run_forever()
    assert order == ["same turn"]
    loop.stop()
    loop.run_forever()
    assert order == ["same turn", "next turn"]


def test_stop_twice_stops_once(loop):
    loop.call_soon(loop.stop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    order = []
    loop.call_soon(lambda: (order.append(1), loop.call_soon(lambda: (order.append(2), loop.stop()))))
    loop.run_forever()
    assert order == [1, 2]


def test_stop_from_another_thread_needs_threadsafe(loop):
    thread = threading.Timer(0.05, loop.call_soon_threadsafe, (loop.stop,))
    thread.start()
    loop.run_forever()
    thread.join()
    assert not loop.is_running()


def test_run_until_complete_returns_the_result_of_a_coroutine(loop):
    async def main():
        await asyncio.sleep(0)
        return "result"

    assert loop.run_until_complete(main()) == "result"


def test_run_until_complete_takes_futures_and_tasks(loop):
    async def main():
        return 1

    future = loop.create_future()
    future.set_result(2)
    assert loop.run_until_complete(loop.create_task(main())) == 1
    assert loop.run_until_complete(future) == 2


def test_run_until_complete_takes_any_awaitable(loop):
    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"


def test_run_until_complete_raises_what_the_coroutine_raises(loop):
    async def main():
        raise ValueError("from main")

    with pytest.raises(ValueError, match=r"from main"):
        loop.run_until_complete(main())


def test_run_until_complete_refuses_what_is_not_awaitable(loop):
    with pytest.raises(TypeError):
        loop.run_until_complete("no coroutine")
    with pytest.raises(TypeError):
        loop.run_until_complete(lambda: None)


def test_run_until_complete_refuses_a_future_of_another_loop(loop, loop_factory):
    other = loop_factory()
    future = other.create_future()
    with pytest.raises(ValueError, match=r"loop argument"):
        loop.run_until_complete(future)
    other.close()


def test_run_until_complete_says_when_the_loop_stopped_too_early(loop):
    async def main():
        loop.stop()
        await asyncio.sleep(60)

    task = loop.create_task(main())
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_run_until_complete_leaves_no_stop_behind(loop):
    # The callback that stops the loop when the future is done must go with the run.
    future = loop.create_future()

    def interrupt():
        raise SystemExit

    loop.call_soon(interrupt)
    with pytest.raises(SystemExit):
        loop.run_until_complete(future)
    future.set_result(None)
    turns = []
    loop.call_soon(lambda: loop.call_soon(lambda: (turns.append(1), loop.stop())))
    loop.run_forever()
    assert turns == [1]


def test_a_stop_can_be_taken_back(loop):
    """As Sanic does by `_stopping` before it runs its loop once more."""
    loop.stop()
    assert loop._stopping is True
    loop._stopping = False
    assert loop._stopping is False
    assert loop.run_until_complete(asyncio.sleep(0.001, "ran")) == "ran"
    loop.call_soon(setattr, loop, "_stopping", True)
    loop.run_forever()


def test_loops_in_several_threads_run_side_by_side(loop_factory):
    barrier = threading.Barrier(4, timeout=10)
    results = []

    async def main(number):
        await asyncio.sleep(0.01)
        barrier.wait()
        return number

    def work(number):
        loop = loop_factory()
        results.append(loop.run_until_complete(main(number)))
        loop.close()

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions_leave_a_callback_through_run_forever(loop, kind):
    def leave():
        raise kind("leaving")

    order = []
    loop.call_soon(leave)
    loop.call_soon(lambda: (order.append("kept"), loop.stop()))
    with pytest.raises(kind, match=r"leaving"):
        loop.run_forever()
    assert not loop.is_running()
    loop.run_forever()
    assert order == ["kept"]


def test_other_base_exceptions_of_a_callback_are_reported_and_the_loop_goes_on(loop, reports):
    def fail():
        raise Fatal("reported")

    loop.call_soon(fail)
    loop.call_soon(loop.stop)
    loop.run_forever()
    [error] = reports.take_exceptions()
    assert isinstance(error, Fatal)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions_leave_a_task_and_stay_its_exception(loop, kind):
    async def main():
        raise kind("leaving")

    task = loop.create_task(main())
    with pytest.raises(kind, match=r"leaving"):
        loop.run_forever()
    assert isinstance(task.exception(), kind)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions_leave_run_until_complete(loop, kind):
    async def main():
        await asyncio.sleep(0)
        raise kind("leaving")

    with pytest.raises(kind, match=r"leaving"):
        loop.run_until_complete(main())
    loop.stop()
    loop.run_forever()


def test_loop_goes_on_after_an_exit_exception(loop):
    def leave():
        raise SystemExit(3)

    loop.call_soon(leave)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0.001, "alive")) == "alive"


def test_time_is_monotonic_and_in_seconds(loop):
    before = time.monotonic()
    now = loop.time()
    after = time.monotonic()
    assert before <= now <= after


def test_repr_tells_the_state(loop):
    assert "running=False closed=False debug=False" in repr(loop)
    loop.call_soon(lambda: states.append(repr(loop)))
    loop.call_soon(loop.stop)
    states = []
    loop.run_forever()
    assert "running=True closed=False" in states[0]
    loop.close()
    assert "running=False closed=True" in repr(loop)


def test_loop_can_be_weakly_referenced_and_hashed(loop):
    assert weakref.ref(loop)() is loop
    assert len({loop, loop}) == 1


def test_attributes_can_be_set_on_a_loop(loop):
    loop.note = "mine"
    assert loop.note == "mine"


def test_method_replaced_on_the_instance_is_used(loop):
    calls = []
    original = loop.call_soon

    def call_soon(callback, *args, **kwargs):
        calls.append(callback)
        return original(callback, *args, **kwargs)

    loop.call_soon = call_soon
    handle = loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == [loop.stop]
    assert not handle.cancelled()


def test_subclass_in_python_runs(loop_factory):
    prototype = loop_factory()
    kind = type(prototype)
    prototype.close()

    class Counting(kind):
        def __init__(self):
            super().__init__()
            self.spawned = 0

        def create_task(self, *args, **kwargs):
            self.spawned += 1
            return super().create_task(*args, **kwargs)

    async def main():
        await asyncio.create_task(asyncio.sleep(0))
        return "done"

    loop = Counting()
    assert loop.run_until_complete(main()) == "done"
    assert loop.spawned == 2
    loop.close()


def test_thread_id_is_known_while_running(loop):
    seen = []
    loop.call_soon(lambda: seen.append(loop._thread_id))
    loop.call_soon(loop.stop)
    assert loop._thread_id is None
    loop.run_forever()
    assert seen == [threading.get_ident()]
    assert loop._thread_id is None


def test_get_event_loop_in_a_callback_is_the_running_loop(loop):
    seen = []
    loop.call_soon(lambda: seen.append(asyncio.get_event_loop()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [loop]


def test_io_is_served_while_callbacks_keep_the_loop_busy(loop):
    left, right = socket.socketpair()
    with left, right:
        busy = True
        turns = 0

        def spin():
            nonlocal turns
            turns += 1
            if busy:
                loop.call_soon(spin)

        def readable():
            nonlocal busy
            busy = False
            loop.stop()

        loop.add_reader(left, readable)
        loop.call_soon(spin)
        loop.call_soon(right.send, b"x")
        loop.run_forever()
        loop.remove_reader(left)
        assert turns < 10_000


def test_timers_are_served_while_callbacks_keep_the_loop_busy(loop):
    started = loop.time()

    def spin():
        loop.call_soon(spin)

    loop.call_soon(spin)
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert 0.02 <= loop.time() - started < 0.5


def test_exception_out_of_run_until_complete_keeps_the_task_alive(loop):
    def interrupt():
        raise KeyboardInterrupt

    async def main():
        await asyncio.sleep(0.01)
        return "later"

    task = loop.create_task(main())
    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert not task.done()
    assert loop.run_until_complete(task) == "later"
