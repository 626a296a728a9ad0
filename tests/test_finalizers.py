"""Finalizers that call back into the loop, wherever the loop drops the last reference to something of the user's.

Each object below is kept by nothing but the loop, in one place after the other. When it goes, its `__del__` does what a
program should not do there, and must not disturb what the loop is in the middle of.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import os
import socket

import pytest

from tests.support.net import HOST, socket_pair
from tests.support.waiting import until


class Mischief:
    """Can be called, awaited for nothing, and used as data; `__del__` runs `act`."""

    def __init__(self, act, done):
        self.act, self.done = act, done

    def __call__(self, *args):
        pass

    def __del__(self):
        self.done.append(True)
        self.act()


# ---------------------------------------------------------------- what the finalizers do


def schedule(loop):
    loop.call_soon(int)
    loop.call_later(0.0001, int)
    loop.call_later(60, int).cancel()
    loop.call_soon_threadsafe(int)


def make_tasks(loop):
    task = loop.create_task(asyncio.sleep(0.0001))
    task.add_done_callback(lambda _: None)
    loop.create_task(asyncio.sleep(60)).cancel()


def finish_futures(loop):
    future = loop.create_future()
    future.add_done_callback(lambda _: None)
    future.set_result(None)
    loop.create_future().cancel()


def watch(loop):
    left, right = socket.socketpair()
    loop.add_reader(left, int)
    loop.add_writer(left, int)
    loop.remove_reader(left)
    loop.remove_writer(left)
    left.close()
    right.close()


def collect(loop):
    gc.collect()


def fail(loop):
    raise ZeroDivisionError("in a finalizer")


def run(loop):
    for call in (loop.run_forever, loop.close):
        try:
            call()
        except RuntimeError:
            continue
        raise AssertionError("a running loop has run again, or was closed")


def many_more(loop):
    """So many callbacks that the ready queue grows."""
    for _ in range(300):
        loop.call_soon(int)


ACTS = [
    schedule,
    make_tasks,
    finish_futures,
    watch,
    collect,
    fail,
    many_more,
    pytest.param(
        run,
        marks=pytest.mark.asyncio_lacks(
            "early releases of 3.13 clean up as after a run when run_forever() refuses to start",
            "==3.13.*",
            run=False,
        ),
    ),
]


# ---------------------------------------------------------------- where they are dropped


async def callback(loop, make):
    loop.call_soon(make())


async def argument_of_a_callback(loop, make):
    loop.call_soon(int.__init__, 1)
    loop.call_soon(id, make())


async def cancelled_callback(loop, make):
    loop.call_soon(make(), make()).cancel()


async def timer(loop, make):
    loop.call_later(0.0001, make(), make())


async def cancelled_timers(loop, make):
    # Enough for a loop to throw them out before they are due.
    handles = [loop.call_later(60, make()) for _ in range(150)]
    for handle in handles:
        handle.cancel()
    del handles, handle


async def callback_from_a_thread(loop, make):
    await loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(make(), make()))


async def result_of_a_task(loop, make):
    async def body():
        return make()

    await loop.create_task(body())


async def local_of_a_cancelled_task(loop, make):
    async def body():
        kept = make()
        await asyncio.sleep(60)
        kept()

    task = loop.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def context_of_a_callback(loop, make):
    context = contextvars.Context()
    context.run(contextvars.ContextVar("kept").set, make())
    loop.call_soon(int, context=context)
    loop.call_later(0.0001, int, context=context)


async def result_of_a_future(loop, make):
    future = loop.create_future()
    future.add_done_callback(make())
    future.set_result(make())
    await future


async def exception_of_a_future(loop, make):
    future = loop.create_future()
    error = ValueError("with something attached")
    error.kept = make()
    future.set_exception(error)
    del error
    try:
        await future
    except ValueError:
        pass


async def callback_of_a_cancelled_future(loop, make):
    future = loop.create_future()
    future.add_done_callback(make())
    future.cancel()


async def reader_and_writer(loop, make):
    with socket_pair() as (left, right):
        loop.add_reader(left, make(), make())
        loop.add_writer(left, make(), make())
        right.send(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.add_reader(left, make())
        loop.remove_reader(left)
        loop.remove_writer(left)


async def protocol(loop, make):
    class Kept(asyncio.Protocol):
        def __init__(self):
            self.kept = make()

    server = await loop.create_server(Kept, HOST, 0)
    transport, _ = await loop.create_connection(Kept, *server.sockets[0].getsockname())
    transport.write(b"x")
    await asyncio.sleep(0.001)
    transport.close()
    server.close()
    await server.wait_closed()


async def replaced_protocol(loop, make):
    class Kept(asyncio.Protocol):
        def __init__(self):
            self.kept = make()

        def data_received(self, data):
            transport.set_protocol(asyncio.Protocol())

    with socket_pair() as (left, right):
        transport, _ = await loop.create_connection(Kept, sock=left)
        right.send(b"x")
        await asyncio.sleep(0.005)
        transport.abort()
        await asyncio.sleep(0)


async def error_of_a_protocol(loop, make):
    class Failing(asyncio.Protocol):
        def data_received(self, data):
            error = ValueError("with something attached")
            error.kept = make()
            raise error

    # The handler that there is without this one logs, and the log of the tests keeps the error.
    loop.set_exception_handler(lambda loop, context: None)
    with socket_pair() as (left, right):
        transport, protocol = await loop.create_connection(Failing, sock=left)
        del protocol
        right.send(b"x")
        await until(transport.is_closing)
        await asyncio.sleep(0.001)


async def data_that_is_written(loop, make):
    class Data(bytes):
        pass

    with socket_pair() as (left, _):
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        for size in (1, 100_000, 3_000_000):
            data = Data(size)
            data.kept = make()
            transport.write(data)
            del data
        await asyncio.sleep(0.001)
        transport.abort()
        await asyncio.sleep(0)


async def datagram_that_is_sent(loop, make):
    class Data(bytes):
        pass

    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0))
    data = Data(10)
    data.kept = make()
    transport.sendto(data, transport.get_extra_info("sockname"))
    del data
    await asyncio.sleep(0.001)
    transport.close()


async def pipe_and_its_file(loop, make):
    class Kept(asyncio.Protocol):
        def __init__(self):
            self.kept = make()

    reading, writing = os.pipe()
    reader, _ = await loop.connect_read_pipe(Kept, io.FileIO(reading))
    writer, _ = await loop.connect_write_pipe(Kept, io.FileIO(writing, "wb"))
    writer.write(b"x")
    writer.close()
    await asyncio.sleep(0.005)
    reader.close()


async def item_of_a_queue(loop, make):
    queue = asyncio.Queue()
    getter = loop.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(make())
    await getter
    queue.put_nowait(make())


async def result_of_a_thread(loop, make):
    await loop.run_in_executor(None, make)


async def results_that_are_gathered(loop, make):
    async def body():
        return make()

    await asyncio.gather(body(), body())
    await asyncio.wait_for(body(), 60)


async def exception_handler(loop, make):
    def handler(loop, context):
        pass

    loop.set_exception_handler(make())
    loop.call_soon(lambda kept: 1 / 0, make())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.set_exception_handler(handler)


async def executor(loop, make):
    def factory(loop, coro, **kwargs):
        return asyncio.Task(coro, loop=loop, **kwargs)

    factory.kept = make()
    loop.set_task_factory(factory)
    await loop.create_task(asyncio.sleep(0))
    del factory
    loop.set_task_factory(None)


async def signal_handler(loop, make):
    loop.add_signal_handler(12, make(), make())
    loop.add_signal_handler(12, make())
    loop.remove_signal_handler(12)


async def abandoned_generator(loop, make):
    async def numbers():
        kept = make()
        yield 1
        kept()

    async for _ in numbers():
        break
    await asyncio.sleep(0)


PLACES = [
    callback,
    argument_of_a_callback,
    cancelled_callback,
    timer,
    cancelled_timers,
    callback_from_a_thread,
    result_of_a_task,
    local_of_a_cancelled_task,
    context_of_a_callback,
    result_of_a_future,
    exception_of_a_future,
    callback_of_a_cancelled_future,
    reader_and_writer,
    protocol,
    replaced_protocol,
    error_of_a_protocol,
    data_that_is_written,
    datagram_that_is_sent,
    pipe_and_its_file,
    item_of_a_queue,
    result_of_a_thread,
    results_that_are_gathered,
    exception_handler,
    executor,
    signal_handler,
    abandoned_generator,
]


async def drop_everything(loop, place, make, made, dropped):
    await place(loop, make)

    def all_are_gone():
        gc.collect()
        return len(dropped) == len(made)

    assert made
    await until(all_are_gone)
    # Everything still works.
    assert await asyncio.sleep(0.0001, "slept") == "slept"
    await loop.run_in_executor(None, int)
    done = loop.create_future()
    loop.call_soon(done.set_result, None)
    await done


@pytest.mark.parametrize("act", ACTS)
def test_a_finalizer_may_call_back_wherever_the_loop_lets_go(loop_factory, act, reports):
    for place in PLACES:
        made, dropped = [], []
        loop = loop_factory()

        def make(loop=loop, made=made, dropped=dropped):
            made.append(True)
            return Mischief(lambda: act(loop), dropped)

        try:
            loop.run_until_complete(drop_everything(loop, place, make, made, dropped))
            if tasks := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.wait(tasks))
            loop.run_until_complete(loop.shutdown_default_executor())
            complaints = reports.take_unraisable()
            assert len(complaints) == (len(made) if act is fail else 0)
            assert all("ZeroDivisionError: in a finalizer" in line for line in complaints)
        except BaseException as error:
            error.add_note(f"dropped was: {place.__name__}")
            raise
        finally:
            loop.close()


@pytest.mark.parametrize("act", [schedule, make_tasks, finish_futures, collect, fail])
def test_a_finalizer_may_call_back_while_the_loop_is_closed(loop_factory, act, reports):
    """What a closed loop refuses is an error of the finalizer alone."""
    loop = loop_factory()
    dropped = []

    def make():
        return Mischief(lambda: act(loop), dropped)

    left, right = socket.socketpair()
    with left, right:
        loop.call_soon(make(), make())
        loop.call_later(60, make(), make())
        loop.call_soon_threadsafe(make(), make())
        loop.add_reader(left, make(), make())
        loop.add_signal_handler(12, make(), make())
        loop.set_exception_handler(make())
        loop.remove_reader(left)
        before = len(dropped)
        reports.take_unraisable()
        loop.close()
    loop.set_exception_handler(None)
    gc.collect()
    assert (before, len(dropped)) == (2, 11)
    complaints = [line for line in reports.take_unraisable() if "never awaited" not in line]
    if act is collect:
        assert complaints == []
    else:
        expected = "ZeroDivisionError" if act is fail else "Event loop is closed"
        assert len(complaints) == 9
        assert all(expected in line for line in complaints)
