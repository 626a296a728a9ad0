"""The coroutines that a loop gives (`sock_recv`, `getaddrinfo`, ...) and `sabio.sleep`: as `async def` makes them."""

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import warnings
import weakref

import pytest

import sabio
from tests.support.net import socket_pair
from tests.support.process import output_of, run_python
from tests.support.waiting import turns

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def pair():
    with socket_pair() as sockets:
        yield sockets


# Coroutines of every kind that waits for something; none of them is ever started by making it.
MAKERS = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 10),
    "sock_recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
    "sock_sendall": lambda loop, sock: loop.sock_sendall(sock, b"data"),
    "sock_connect": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 9)),
    "sock_accept": lambda loop, sock: loop.sock_accept(sock),
    "getaddrinfo": lambda loop, sock: loop.getaddrinfo("127.0.0.1", 80),
    "getnameinfo": lambda loop, sock: loop.getnameinfo(("127.0.0.1", 80)),
    "create_connection": lambda loop, sock: loop.create_connection(asyncio.Protocol, "127.0.0.1", 9),
    "create_server": lambda loop, sock: loop.create_server(asyncio.Protocol, "127.0.0.1", 0),
    "connect_accepted_socket": lambda loop, sock: loop.connect_accepted_socket(asyncio.Protocol, sock),
    "shutdown_asyncgens": lambda loop, sock: loop.shutdown_asyncgens(),
    "shutdown_default_executor": lambda loop, sock: loop.shutdown_default_executor(),
}


@pytest.mark.parametrize("name", MAKERS)
async def test_methods_that_wait_give_coroutines(pair, name):
    coroutine = MAKERS[name](asyncio.get_running_loop(), pair[0])
    assert asyncio.iscoroutine(coroutine)
    assert inspect.isawaitable(coroutine)
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert not asyncio.isfuture(coroutine)
    assert coroutine.__name__ == name
    assert coroutine.__qualname__.endswith(name)
    assert f"{name} at 0x" in repr(coroutine)
    coroutine.close()


@pytest.mark.parametrize("name", MAKERS)
async def test_coroutine_that_is_never_awaited_warns(pair, name):
    loop = asyncio.get_running_loop()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MAKERS[name](loop, pair[0])
        gc.collect()
    [warning] = [w for w in caught if w.category is RuntimeWarning]
    assert str(warning.message).startswith("coroutine '")
    assert str(warning.message).endswith(f"{name}' was never awaited")


@pytest.mark.parametrize("name", MAKERS)
async def test_coroutine_that_is_closed_does_not_warn(pair, name):
    coroutine = MAKERS[name](asyncio.get_running_loop(), pair[0])
    assert coroutine.close() is None
    coroutine.close()
    del coroutine
    gc.collect()


async def test_making_a_coroutine_does_nothing_yet(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    sending = loop.sock_sendall(left, b"data")
    await asyncio.sleep(0.005)
    with pytest.raises(BlockingIOError):
        right.recv(10)
    await sending
    assert right.recv(10) == b"data"


async def test_awaiting_twice_is_an_error(pair):
    loop = asyncio.get_running_loop()
    coroutine = loop.sock_sendall(pair[0], b"data")
    await coroutine
    with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
        await coroutine


async def test_awaiting_a_closed_coroutine_is_an_error(pair):
    coroutine = asyncio.get_running_loop().sock_recv(pair[0], 10)
    coroutine.close()
    with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
        await coroutine


async def test_awaiting_while_another_task_awaits_is_an_error(pair):
    left, right = pair
    coroutine = asyncio.get_running_loop().sock_recv(left, 10)

    async def wait():
        return await coroutine

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await turns(2)
    assert second.done()
    with pytest.raises(RuntimeError, match=r"coroutine is being awaited already"):
        await second
    right.send(b"data")
    assert await first == b"data"


async def test_coroutine_can_be_a_task(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    task = loop.create_task(loop.sock_recv(left, 10), name="receiver")
    await turns(2)
    assert "receiver" in repr(task)
    right.send(b"data")
    assert await task == b"data"


@pytest.mark.parametrize("kind", ["_CTask", "_PyTask"])
async def test_coroutine_runs_under_the_tasks_of_asyncio(pair, kind):
    loop = asyncio.get_running_loop()
    left, right = pair

    async def work():
        await loop.sock_sendall(left, b"ping")
        return await loop.sock_recv(left, 10)

    task = getattr(asyncio.tasks, kind)(work(), loop=loop)
    await asyncio.sleep(0.005)
    assert right.recv(10) == b"ping"
    assert not task.done()
    right.send(b"pong")
    assert await task == b"pong"


@pytest.mark.parametrize("kind", ["_CTask", "_PyTask"])
async def test_coroutine_under_a_task_of_asyncio_can_be_cancelled(pair, kind):
    loop = asyncio.get_running_loop()
    left, right = pair
    task = getattr(asyncio.tasks, kind)(loop.sock_recv(left, 10), loop=loop)
    await asyncio.sleep(0.002)
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError, match=r"message"):
        await task
    right.send(b"data")
    assert await loop.sock_recv(left, 10) == b"data"


async def test_coroutine_in_gather_wait_for_shield_and_wait(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    right.send(b"abcd")
    received, info = await asyncio.gather(loop.sock_recv(left, 1), loop.getaddrinfo("127.0.0.1", 80))
    assert received == b"a"
    assert info
    assert await asyncio.wait_for(loop.sock_recv(left, 1), 10) == b"b"
    assert await asyncio.shield(loop.sock_recv(left, 1)) == b"c"
    done, _ = await asyncio.wait([asyncio.ensure_future(loop.sock_recv(left, 1))])
    assert done.pop().result() == b"d"


async def test_wait_for_drops_the_operation_on_timeout(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.sock_recv(left, 10), 0.005)
    # The dropped read is gone: it neither takes what comes next nor keeps its place at the descriptor.
    right.send(b"next")
    await asyncio.sleep(0.002)
    assert left.recv(10) == b"next"
    loop.add_reader(left, print)
    assert loop.remove_reader(left)


async def test_cancelled_operation_can_be_started_anew(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    for number in range(20):
        task = loop.create_task(loop.sock_recv(left, 10))
        await turns(1 + number % 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
    right.send(b"data")
    assert await loop.sock_recv(left, 10) == b"data"


async def test_operation_sees_the_context_of_its_task(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    variable.set("mine")

    async def work():
        variable.set("of the task")
        await loop.sock_recv(left, 10)
        return variable.get()

    task = asyncio.create_task(work())
    await turns(2)
    right.send(b"data")
    assert await task == "of the task"
    assert variable.get() == "mine"


# ---------------------------------------------------------------- driven by hand


def result_of(coroutine):
    """Drive a coroutine that needs no loop to its end; what it yielded and what it returned."""
    yielded = []
    while True:
        try:
            yielded.append(coroutine.send(None))
        except StopIteration as stop:
            return yielded, stop.value


async def test_finished_operation_driven_by_hand_returns_by_stop_iteration(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    right.send(b"data")
    assert result_of(loop.sock_recv(left, 10)) == ([], b"data")


@pytest.mark.parametrize("result", ["text", (1, 2), (), ValueError("a result"), False], ids=repr)
async def test_next_ends_with_a_stop_iteration_that_carries_the_result_as_it_is(result):
    queue = sabio.Queue()
    for _ in range(2):
        queue.put_nowait(result)
        with pytest.raises(StopIteration) as stopped:
            next(queue.get().__await__())
        assert stopped.value.value is result
        assert stopped.value.args == (result,)
        assert stopped.value.__context__ is None
    queue.put_nowait(result)
    assert await queue.get() is result


async def test_stop_iteration_of_next_looks_like_any_other():
    queue = sabio.Queue()
    for result in ("text", True, ()):
        queue.put_nowait(result)
        with pytest.raises(StopIteration) as stopped:
            next(queue.get().__await__())
        stop = stopped.value
        assert repr(stop) == repr(StopIteration(result))
        assert str(stop) == str(StopIteration(result))
        stop.args = (1, 2)
        assert stop.args == (1, 2)
        with pytest.raises(TypeError):
            del stop.args
        stop.value, stop.__context__, stop.note = "changed", ValueError(), "a note"
        del stop, stopped
        queue.put_nowait(result)
        with pytest.raises(StopIteration) as stopped:
            next(queue.get().__await__())
        assert (stopped.value.args, stopped.value.value) == ((result,), result)
        assert stopped.value.__context__ is None
        assert not hasattr(stopped.value, "note")


@pytest.mark.parametrize("waits", [False, True])
async def test_ended_coroutine_is_not_another_one(waits):
    queue = asyncio.Queue()

    async def end_one():
        coroutine = queue.get()
        if waits:
            asyncio.get_running_loop().call_soon(queue.put_nowait, 1)
        else:
            queue.put_nowait(1)
        assert await coroutine == 1
        return coroutine

    ended = [await end_one() for _ in range(5)]
    assert len(set(map(id, ended))) == 5
    for coroutine in ended:
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine
    watched = queue.get()
    weak = weakref.ref(watched)
    queue.put_nowait(2)
    assert await watched == 2
    del watched
    assert weak() is None


async def test_ended_coroutine_lets_go_of_its_object_and_argument():
    class Item:
        pass

    queue = sabio.Queue()
    item = Item()
    putting = queue.put(item)
    await putting
    assert await queue.get() is item
    seen = [weakref.ref(queue), weakref.ref(item)]
    del queue, item
    assert [weak() for weak in seen] == [None, None]
    del putting


async def test_results_that_travel_by_stop_iteration_are_let_go():
    class Item:
        pass

    queue = sabio.Queue()
    item = Item()
    seen = weakref.ref(item)
    queue.put_nowait(item)
    del item
    assert isinstance(await queue.get(), Item)
    assert seen() is None


async def test_send_of_a_value_before_the_start_is_an_error(pair):
    loop = asyncio.get_running_loop()
    coroutine = loop.sock_recv(pair[0], 10)
    with pytest.raises(TypeError, match=r"can't send non-None value to a just-started coroutine"):
        coroutine.send(1)
    coroutine.close()


async def test_throw_before_the_start_ends_the_coroutine(pair):
    loop = asyncio.get_running_loop()
    coroutine = loop.sock_recv(pair[0], 10)
    with pytest.raises(ValueError, match=r"thrown"):
        coroutine.throw(ValueError("thrown"))
    with pytest.raises(RuntimeError, match=r"cannot reuse already awaited coroutine"):
        coroutine.send(None)


async def test_throw_takes_a_class_as_well(pair):
    loop = asyncio.get_running_loop()
    coroutine = loop.sock_recv(pair[0], 10)
    with pytest.raises(ValueError):  # noqa: PT011
        coroutine.throw(ValueError)
    other = loop.sock_recv(pair[0], 10)
    with pytest.raises(TypeError):
        other.throw("no exception")
    other.close()


async def test_throw_into_a_finished_coroutine_is_an_error(pair):
    loop = asyncio.get_running_loop()
    coroutine = loop.sock_sendall(pair[0], b"data")
    result_of(coroutine)
    with pytest.raises(RuntimeError, match=r"cannot reuse already awaited coroutine"):
        coroutine.throw(ValueError("late"))


@pytest.mark.asyncio_lacks("asyncio leaves its reader behind, which then takes the data")
async def test_close_of_a_waiting_coroutine_drops_the_operation(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    coroutine = loop.sock_recv(left, 10)
    coroutine.send(None)
    coroutine.close()
    right.send(b"data")
    await asyncio.sleep(0.002)
    assert left.recv(10) == b"data"


async def test_await_iterator_has_the_protocol_of_a_coroutine_wrapper(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    right.send(b"data")
    iterator = loop.sock_recv(left, 10).__await__()
    assert iter(iterator) is iterator
    with pytest.raises(StopIteration) as stop:
        next(iterator)
    assert stop.value.value == b"data"


async def test_errors_come_out_of_the_await_with_the_frames_of_the_caller(pair):
    loop = asyncio.get_running_loop()
    left, _ = pair

    async def caller():
        await loop.sock_connect(left, "no such path")

    with pytest.raises(OSError) as caught:  # noqa: PT011
        await caller()
    assert "caller" in [entry.name for entry in caught.traceback]


async def test_coroutine_of_another_loop_is_refused_or_runs_there(loop_factory, pair):
    # What must not happen: a wake-up that never comes.
    other = loop_factory()
    left, right = pair
    right.send(b"data")
    try:
        async with asyncio.timeout(5):
            assert await other.sock_recv(left, 10) == b"data"
    except RuntimeError:
        pass
    finally:
        other.close()


# ---------------------------------------------------------------- sabio.sleep


async def test_sleep_of_sabio_sleeps_and_gives_its_result(sabio):
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert await sabio.sleep(0.01, "result") == "result"
    assert loop.time() - before >= 0.01
    assert await sabio.sleep(0) is None


async def test_sleep_of_sabio_gives_up_one_turn_for_zero_and_less(sabio):
    loop = asyncio.get_running_loop()
    for delay in (0, 0.0, -1, -0.0):
        order = []
        loop.call_soon(order.append, "turn")
        await sabio.sleep(delay)
        assert order == ["turn"]


async def test_sleep_of_sabio_takes_turns_with_that_of_asyncio(sabio):
    order = []

    async def work(name, sleep):
        for number in range(3):
            order.append(f"{name}{number}")
            await sleep(0)

    await asyncio.gather(work("a", sabio.sleep), work("b", asyncio.sleep))
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


async def test_sleep_of_sabio_driven_by_hand(sabio):
    yielded, result = result_of(sabio.sleep(0, "result"))
    assert len(yielded) == 1
    assert result == "result"


async def test_sleep_of_sabio_can_be_cancelled(sabio):
    task = asyncio.create_task(sabio.sleep(60))
    await turns(2)
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError, match=r"message"):
        await task


async def test_sleep_of_sabio_refuses_junk(sabio):
    for wrong in ("text", None, []):
        with pytest.raises(TypeError):
            await sabio.sleep(wrong)
    with pytest.raises(ValueError, match=r"NaN"):
        await sabio.sleep(float("nan"))


async def test_sleep_of_sabio_never_awaited_warns(sabio):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sabio.sleep(1)
        gc.collect()
    assert [str(w.message) for w in caught] == ["coroutine 'sleep' was never awaited"]


async def test_sleep_of_sabio_under_the_tasks_of_asyncio(sabio):
    loop = asyncio.get_running_loop()
    for kind in (asyncio.tasks._CTask, asyncio.tasks._PyTask):
        assert await kind(sabio.sleep(0.001, "slept"), loop=loop) == "slept"
        assert await kind(sabio.sleep(0, "slept"), loop=loop) == "slept"


async def test_sleep_of_sabio_in_many_tasks_wakes_in_order(sabio):
    order = []

    async def work(number):
        # Far enough apart that a process that is held up between two of them does not change their order.
        await sabio.sleep(number * 0.01)
        order.append(number)

    await asyncio.gather(*(work(number) for number in reversed(range(20))))
    assert order == list(range(20))


async def test_sleep_of_sabio_is_seen_by_timeouts(sabio):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await sabio.sleep(60)
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.usefixtures("sabio")
def test_a_coroutine_that_outlives_the_program_warns_and_the_process_ends_well() -> None:
    done = run_python("-c", "import sabio, sys\nsys.kept = [sabio.sleep(0)]\nprint('kept')")
    assert (done.returncode, done.stdout) == (0, "kept\n")
    assert done.stderr in ("", "sys:1: RuntimeWarning: coroutine 'sleep' was never awaited\n")


def test_coroutines_that_are_used_again_are_collected_after_a_freeze(sabio):
    code = """
    import asyncio, gc, sabio, weakref

    async def main():
        # Waits that have ended: their coroutines are kept for the next ones.
        for _ in range(3):
            event = sabio.Event()
            asyncio.get_running_loop().call_soon(event.set)
            await event.wait()
        gc.freeze()
        event = sabio.Event()
        task = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        task._log_destroy_pending = False
        return weakref.ref(task)

    loop = sabio.new_event_loop()
    reference = loop.run_until_complete(main())
    gc.collect()
    print(reference())
    loop.close()
    """
    assert output_of("sabio", code) == ["None"]
