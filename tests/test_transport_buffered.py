"""The TCP transport with a BufferedProtocol, and changing protocols (asyncio docs, "Buffered streaming protocols")."""

import array
import asyncio
import os
import socket

import pytest

from tests.support.net import receive_exactly, reset
from tests.support.protocols import BufferedRecorder, Recorder
from tests.support.tcp import peers
from tests.support.waiting import turns, until

__all__ = ["peers"]


async def test_data_is_read_into_the_buffer_of_the_protocol(peers):
    _, protocol, peer = await peers(BufferedRecorder)
    peer.send(b"data")
    assert await protocol.receive(4) == b"data"
    assert protocol.buffer[:4] == b"data"
    assert protocol.hints
    assert all(type(hint) is int for hint in protocol.hints)
    peer.close()
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
async def test_buffers_of_any_size_get_everything_in_order(peers, size):
    loop = asyncio.get_running_loop()
    _, protocol, peer = await peers(lambda: BufferedRecorder(size))
    data = os.urandom(size * 20 if size < 100 else 3 << 20)
    sending = asyncio.create_task(loop.sock_sendall(peer, data))
    assert await protocol.receive(len(data)) == data
    await sending
    peer.close()
    await protocol.lost


@pytest.mark.parametrize(
    "kind", [bytearray, lambda size: memoryview(bytearray(size)), lambda size: array.array("B", bytes(size))]
)
async def test_buffer_may_be_anything_writable(peers, kind):
    class Protocol(BufferedRecorder):
        def get_buffer(self, sizehint):
            self.offered = kind(1024)
            return self.offered

        def buffer_updated(self, nbytes):
            self.received += bytes(self.offered[:nbytes])

    _, protocol, peer = await peers(Protocol)
    peer.send(b"data")
    assert await protocol.receive(4) == b"data"
    peer.close()
    await protocol.lost


async def test_part_of_a_larger_buffer(peers):
    class Protocol(BufferedRecorder):
        def __init__(self):
            super().__init__(64)
            self.end = 0

        def get_buffer(self, sizehint):
            return memoryview(self.buffer)[self.end :]

        def buffer_updated(self, nbytes):
            self.end += nbytes
            self.received += self.buffer[self.end - nbytes : self.end]

    _, protocol, peer = await peers(Protocol)
    for part in (b"one ", b"two ", b"three"):
        peer.send(part)
        await until(lambda part=part: protocol.received.endswith(part))
    assert protocol.buffer[: protocol.end] == b"one two three"
    peer.close()
    await protocol.lost


async def test_buffer_is_free_between_the_calls(peers):
    # Nothing may hold the memory while the protocol works on it: a bytearray can be resized then.
    class Protocol(BufferedRecorder):
        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.buffer.extend(b"more")

    _, protocol, peer = await peers(Protocol)
    for _ in range(3):
        peer.send(b"x")
        await turns(3)
    await protocol.receive(3)
    assert len(protocol.buffer) > 65536
    peer.close()
    await protocol.lost


async def fails_with(peers, factory, message, text):
    """The protocol misbehaves: the connection is aborted and the error reported."""
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    transport, protocol, peer = await peers(factory)
    peer.send(b"data")
    error = await asyncio.wait_for(protocol.lost, 10)
    [context] = contexts
    assert context["message"] == message
    assert text in str(context["exception"])
    assert context["transport"] is transport
    assert context["protocol"] is protocol
    assert error is context["exception"]
    contexts.clear()


async def test_empty_buffer_is_an_error(peers):
    await fails_with(
        peers,
        lambda: BufferedRecorder(0),
        "Fatal error: protocol.get_buffer() call failed.",
        "get_buffer() returned an empty buffer",
    )


async def test_exception_in_get_buffer_ends_the_connection(peers):
    class Protocol(BufferedRecorder):
        def get_buffer(self, sizehint):
            raise ValueError("in get_buffer")

    await fails_with(peers, Protocol, "Fatal error: protocol.get_buffer() call failed.", "in get_buffer")


async def test_exception_in_buffer_updated_ends_the_connection(peers):
    class Protocol(BufferedRecorder):
        def buffer_updated(self, nbytes):
            raise ValueError("in buffer_updated")

    await fails_with(
        peers, Protocol, "Fatal error: protocol.buffer_updated() call failed.", "in buffer_updated"
    )


@pytest.mark.parametrize("wrong", [None, 1, b"read only", "text"])
async def test_what_is_no_writable_buffer_ends_the_connection(peers, wrong):
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Protocol(BufferedRecorder):
        def get_buffer(self, sizehint):
            return wrong

    _, protocol, peer = await peers(Protocol)
    peer.send(b"data")
    assert isinstance(await asyncio.wait_for(protocol.lost, 10), TypeError)
    assert len(contexts) == 1
    contexts.clear()


async def test_reset_reaches_a_buffered_protocol(peers):
    _, protocol, peer = await peers(BufferedRecorder)
    reset(peer)
    assert isinstance(await protocol.lost, ConnectionResetError)


async def test_pausing_and_writing_work_as_with_a_plain_protocol(peers):
    transport, protocol, peer = await peers(BufferedRecorder)
    transport.pause_reading()
    peer.send(b"data")
    await asyncio.sleep(0.01)
    assert protocol.received == b""
    transport.resume_reading()
    await protocol.receive(4)
    transport.write(b"answer")
    assert await receive_exactly(peer, 6) == b"answer"
    transport.close()
    await protocol.lost


async def test_buffered_protocol_may_keep_its_half_open(peers):
    class HalfOpen(BufferedRecorder):
        def eof_received(self):
            super().eof_received()
            return True

    transport, protocol, peer = await peers(HalfOpen)
    peer.shutdown(socket.SHUT_WR)
    await until(lambda: "eof_received" in protocol.calls)
    transport.write(b"answer")
    assert await receive_exactly(peer, 6) == b"answer"
    transport.close()
    await protocol.lost


# ---------------------------------------------------------------- set_protocol


async def test_new_protocol_gets_what_comes_next(peers):
    transport, first, peer = await peers(Recorder)
    peer.send(b"for the first")
    await first.receive(13)
    second = Recorder()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    peer.send(b"for the second")
    assert await second.receive(14) == b"for the second"
    assert first.received == b"for the first"
    assert "connection_made" not in second.calls
    peer.close()
    await second.lost
    assert "connection_lost" not in first.calls


async def test_protocols_of_both_kinds_can_follow_each_other(peers):
    transport, first, peer = await peers(Recorder)
    peer.send(b"one")
    await first.receive(3)
    second = BufferedRecorder()
    transport.set_protocol(second)
    peer.send(b"two")
    assert await second.receive(3) == b"two"
    third = Recorder()
    transport.set_protocol(third)
    peer.send(b"three")
    assert await third.receive(5) == b"three"
    transport.close()
    await third.lost


async def test_protocol_changed_inside_data_received(peers):
    class Switching(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.set_protocol(second)

    _, first, peer = await peers(Switching)
    second = Recorder()
    peer.send(b"first")
    await first.receive(5)
    peer.send(b"second")
    assert await second.receive(6) == b"second"
    assert first.received == b"first"
    peer.close()
    await second.lost


async def test_protocol_changed_while_writing_is_paused_gets_the_resume(peers):
    transport, first, peer = await peers(Recorder)
    while "pause_writing" not in first.calls:
        transport.write(b"x" * (1 << 20))
        await turns(1)
    second = Recorder()
    transport.set_protocol(second)
    while "resume_writing" not in second.calls:
        try:
            peer.recv(1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0)
    assert "resume_writing" not in first.calls
    transport.abort()
    await second.lost


async def test_streams_take_a_connection_over(peers):
    loop = asyncio.get_running_loop()
    transport, _, peer = await peers(Recorder)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    peer.send(b"line\n")
    assert await reader.readline() == b"line\n"
    writer.write(b"answer\n")
    await writer.drain()
    assert await receive_exactly(peer, 7) == b"answer\n"
    writer.close()
    await writer.wait_closed()
