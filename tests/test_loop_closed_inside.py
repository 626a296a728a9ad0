"""Loops that are closed from inside of what they run, or while transports live."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import socket
import warnings

import pytest

from tests.support.children import BLOCKED
from tests.support.net import HOST, socket_pair
from tests.support.waiting import until

REFUSED = "Cannot close a running event loop"


class Closing:
    """Closes the loop when it is called, whatever it is called with, and keeps what came of it."""

    def __init__(self, loop):
        self.loop = loop
        self.outcomes = []

    def __call__(self, *args):
        try:
            self.loop.close()
        except RuntimeError as error:
            self.outcomes.append(str(error))
        else:
            self.outcomes.append("closed")


class ClosingProtocol(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """Closes the loop in everything that it is told."""

    def __init__(self, close):
        self.close = close
        self.told = set()

    def tell(self, what):
        self.told.add(what)
        self.close()

    def connection_made(self, transport):
        self.transport = transport
        self.tell("connection_made")

    def data_received(self, data):
        self.tell("data_received")

    def datagram_received(self, data, address):
        self.tell("datagram_received")

    def eof_received(self):
        self.tell("eof_received")

    def pause_writing(self):
        self.tell("pause_writing")

    def resume_writing(self):
        self.tell("resume_writing")

    def pipe_data_received(self, fd, data):
        self.tell("pipe_data_received")

    def pipe_connection_lost(self, fd, error):
        self.tell("pipe_connection_lost")

    def process_exited(self):
        self.tell("process_exited")

    def connection_lost(self, error):
        self.tell("connection_lost")


async def soon(loop, close):
    loop.call_soon(close)
    loop.call_later(0.0001, close)
    loop.call_soon_threadsafe(close)
    await asyncio.sleep(0.002)


async def step(loop, close):
    close()
    await asyncio.sleep(0)
    close()
    await loop.create_task(asyncio.sleep(0))
    close()


async def done_callback(loop, close):
    future = loop.create_future()
    future.add_done_callback(close)
    future.set_result(None)
    task = loop.create_task(asyncio.sleep(0))
    task.add_done_callback(close)
    await task
    await asyncio.sleep(0)


async def another_thread(loop, close):
    await loop.run_in_executor(None, close)


async def handlers(loop, close):
    with socket_pair() as (left, right):
        loop.add_reader(left, close)
        loop.add_writer(left, close)
        right.send(b"x")
        await asyncio.sleep(0.001)
        loop.remove_reader(left)
        loop.remove_writer(left)
    loop.add_signal_handler(signal.SIGUSR1, close)
    os.kill(os.getpid(), signal.SIGUSR1)
    await until(lambda: len(close.outcomes) > 2)
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.set_exception_handler(lambda loop, context: close())
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.set_exception_handler(None)


async def generator(loop, close):
    async def numbers():
        try:
            yield 1
        finally:
            close()

    async for _ in numbers():
        break
    await until(lambda: close.outcomes)


async def connection(loop, close):
    protocol = ClosingProtocol(close)
    with socket_pair() as (left, right):
        transport, _ = await loop.create_connection(lambda: protocol, sock=left)
        right.send(b"x")
        await until(lambda: "data_received" in protocol.told)
        transport.write(b"x" * 3_000_000)
        received = 0
        while received < 3_000_000:
            await asyncio.sleep(0)
            try:
                received += len(right.recv(1 << 20))
            except BlockingIOError:
                pass
        await until(lambda: "resume_writing" in protocol.told)
        right.close()
        await until(lambda: "connection_lost" in protocol.told)
    assert protocol.told >= {"connection_made", "pause_writing", "eof_received"}


async def datagrams(loop, close):
    protocol = ClosingProtocol(close)
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=(HOST, 0))
    transport.sendto(b"x", transport.get_extra_info("sockname"))
    await until(lambda: "datagram_received" in protocol.told)
    transport.close()
    await until(lambda: "connection_lost" in protocol.told)


async def process(loop, close):
    protocol = ClosingProtocol(close)
    await loop.subprocess_exec(lambda: protocol, "/bin/echo", "hello", stdin=None, stderr=None)
    await until(lambda: "connection_lost" in protocol.told)
    assert protocol.told >= {
        "connection_made",
        "pipe_data_received",
        "pipe_connection_lost",
        "process_exited",
    }
    protocol.transport.close()


PLACES = [soon, step, done_callback, another_thread, handlers, generator, connection, datagrams, process]


@pytest.mark.parametrize("place", PLACES)
async def test_a_running_loop_cannot_be_closed_from_inside(place):
    loop = asyncio.get_running_loop()
    close = Closing(loop)
    await place(loop, close)
    assert close.outcomes
    assert set(close.outcomes) == {REFUSED}
    assert not loop.is_closed()
    assert await asyncio.sleep(0.001, "goes on") == "goes on"


async def everything(loop):
    """A transport of each kind, in use, and what keeps the other ends."""
    server = await loop.create_server(asyncio.Protocol, HOST, 0)
    tcp, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    left, right = socket.socketpair()
    unix, _ = await loop.create_connection(asyncio.Protocol, sock=left)
    unix.write(b"x" * 3_000_000)
    udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0))
    reading, writing = os.pipe()
    read_pipe, _ = await loop.connect_read_pipe(asyncio.Protocol, io.FileIO(reading))
    write_pipe, _ = await loop.connect_write_pipe(asyncio.Protocol, io.FileIO(writing, "wb"))
    write_pipe.write(b"x" * 1_000_000)
    transports = [tcp, unix, udp, read_pipe, write_pipe]
    return server, transports, [right]


def refuse_or_end(end):
    """Ends a transport of a closed loop, which may say that it is closed and nothing else."""
    try:
        end()
    except RuntimeError as error:
        if str(error) != "Event loop is closed":
            raise


def test_a_loop_can_be_closed_while_transports_live(loop):
    """They are of no more use, and what needs the loop says so; nothing of theirs stays open once they are gone."""
    server, transports, others = loop.run_until_complete(everything(loop))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        for transport in transports:
            assert isinstance(repr(transport), str)
            assert not transport.is_closing()
            transport.get_extra_info("socket")
        del server, transports, transport
        gc.collect()
    assert any("unclosed" in str(warning.message) for warning in caught)
    for other in others:
        other.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_a_transport_after_its_loop_says_that_the_loop_is_closed(loop, way):
    server, transports, others = loop.run_until_complete(everything(loop))
    loop.close()
    for transport in transports:
        if (end := getattr(transport, way, None)) is None:
            continue
        refuse_or_end(end)
    server.close()
    del server, transports, transport, end
    gc.collect()
    for other in others:
        other.close()


@pytest.mark.asyncio_lacks("the pidfd stays open, and before 3.12 a thread takes the status", run=False)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_loop_can_be_closed_while_a_child_process_runs(loop):
    async def start():
        return await loop.subprocess_exec(asyncio.SubprocessProtocol, *BLOCKED, stdout=None, stderr=None)

    transport, _ = loop.run_until_complete(start())
    pid = transport.get_pid()
    loop.close()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    refuse_or_end(transport.close)
    del transport
    gc.collect()


def test_a_loop_that_is_closed_between_two_runs_lets_nobody_else_down(loop, loop_factory):
    """One loop's callback closes another one that does not run."""
    other = loop_factory()
    task = other.create_task(asyncio.sleep(60))
    other.run_until_complete(asyncio.sleep(0))
    loop.call_soon(other.close)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert other.is_closed()
    task._log_destroy_pending = False
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        other.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0, "works")) == "works"
