"""Much data: what a protocol does between two reads of one turn takes effect at once, and nobody else has to wait."""

import asyncio
import contextlib
import fcntl
import os
import time

import pytest

from tests.support.bulk import DATA, Sipping
from tests.support.net import reset
from tests.support.pipes import pipe, reading
from tests.support.protocols import BufferedRecorder, Recorder
from tests.support.tcp import peers
from tests.support.waiting import turns, until

__all__ = ["peers"]

FATAL = "Fatal error: protocol.data_received() call failed."


class Paused(Recorder):
    """Reads nothing before it is told to, so that much is waiting then."""

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()


@pytest.fixture(params=["socket", "pipe"])
def flooded(request, peers):
    """Makes a paused transport, with DATA on its way to it; the task that sends it is to be awaited."""
    tasks = []

    async def connect(factory):
        loop = asyncio.get_running_loop()
        if request.param == "socket":
            transport, protocol, peer = await peers(factory)
            sending = loop.create_task(loop.sock_sendall(peer, DATA))
        else:
            reader, writer = pipe()
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
            transport, protocol = await reading(reader, factory)
            sending = loop.create_task(asyncio.to_thread(write_and_close, writer))
        transport.pause_reading()
        tasks.append(sending)
        await asyncio.sleep(0.01)
        return transport, protocol, sending

    yield connect
    assert all(task.done() for task in tasks)


def write_and_close(writer):
    with writer, contextlib.suppress(BrokenPipeError):
        view = memoryview(DATA)
        while view:
            view = view[writer.write(view) :]


async def test_pausing_in_data_received_stops_the_reads(flooded):
    transport, protocol, sending = await flooded(Sipping)
    transport.resume_reading()
    assert await protocol.receive(len(DATA)) == DATA
    await sending
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_nothing_comes_after_the_end_in_data_received(flooded, way):
    class Fed(Paused):
        def data_received(self, data):
            super().data_received(data)
            self.parts.append(len(data))
            if len(self.parts) == 2:
                getattr(self.transport, way if hasattr(self.transport, way) else "close")()

        parts: list[int]

    def make():
        protocol = Fed()
        protocol.parts = []
        return protocol

    transport, protocol, sending = await flooded(make)
    transport.resume_reading()
    assert await protocol.lost is None
    assert len(protocol.parts) == 2
    assert protocol.received == DATA[: len(protocol.received)]
    await asyncio.gather(sending, return_exceptions=True)


async def test_protocol_that_takes_over_between_two_reads_gets_the_next_one(flooded):
    class Relay(Paused):
        def data_received(self, data):
            assert self.transport.get_protocol() is self
            order.append(self)
            whole.extend(data)
            successor = Relay()
            successor.transport = self.transport
            self.transport.set_protocol(successor)

        def connection_lost(self, exc):
            lost.set_result(exc)

    order, whole = [], bytearray()
    lost = asyncio.get_running_loop().create_future()
    transport, _, sending = await flooded(Relay)
    transport.resume_reading()
    await until(lambda: len(whole) == len(DATA))
    assert whole == DATA
    assert len(set(order)) == len(order) > 1
    await sending
    transport.close()
    await lost


async def test_another_way_of_delivery_between_two_reads(peers):
    class Turncoat(Paused):
        def data_received(self, data):
            whole.extend(data)
            self.transport.set_protocol(buffered)

    class Buffered(BufferedRecorder):
        def buffer_updated(self, nbytes):
            whole.extend(self.buffer[:nbytes])
            self.transport.set_protocol(protocol)

    whole, buffered = bytearray(), Buffered(1 << 18)
    loop = asyncio.get_running_loop()
    transport, protocol, peer = await peers(Turncoat)
    buffered.transport = transport
    sending = loop.create_task(loop.sock_sendall(peer, DATA))
    transport.resume_reading()
    await until(lambda: len(whole) == len(DATA))
    assert whole == DATA
    await sending
    transport.set_protocol(protocol)
    transport.close()
    await protocol.lost


async def test_stream_reader_that_takes_over_between_two_reads(peers):
    class Handing(Paused):
        def data_received(self, data):
            super().data_received(data)
            self.transport.set_protocol(successor)
            reader.set_transport(self.transport)

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(1 << 24)
    successor = asyncio.StreamReaderProtocol(reader)
    transport, protocol, peer = await peers(Handing)
    sending = loop.create_task(loop.sock_sendall(peer, DATA))
    transport.resume_reading()
    await until(lambda: protocol.received)
    rest = await reader.readexactly(len(DATA) - len(protocol.received))
    assert protocol.received + rest == DATA
    await sending
    transport.set_protocol(protocol)
    transport.close()
    await protocol.lost


async def test_failure_between_two_reads_ends_the_connection(peers):
    class Failing(Paused):
        def data_received(self, data):
            super().data_received(data)
            self.count += 1
            if self.count == 2:
                raise ValueError("enough")

        count = 0

    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    transport, protocol, peer = await peers(Failing)
    sending = loop.create_task(loop.sock_sendall(peer, DATA))
    transport.resume_reading()
    with pytest.raises(ValueError, match="enough"):
        raise await protocol.lost
    assert protocol.count == 2
    assert [context["message"] for context in contexts] == [FATAL]
    contexts.clear()
    await asyncio.gather(sending, return_exceptions=True)


async def test_end_of_the_data_comes_after_all_of_it(flooded):
    transport, protocol, sending = await flooded(Paused)
    peer = transport.get_extra_info("socket")
    transport.resume_reading()
    assert await protocol.receive(len(DATA)) == DATA
    await sending
    if peer is None:
        assert await protocol.lost is None
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    transport.close()
    await protocol.lost


async def test_end_that_is_waiting_already_comes_after_the_data(peers):
    transport, protocol, peer = await peers(Paused)
    size = 0
    with contextlib.suppress(BlockingIOError):
        while size < len(DATA):
            size += peer.send(DATA[size:])
    peer.close()
    transport.resume_reading()
    assert await protocol.lost is None
    assert protocol.received == DATA[:size]
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]


async def test_reset_in_the_middle(peers):
    transport, protocol, peer = await peers(Paused)
    loop = asyncio.get_running_loop()
    sending = loop.create_task(loop.sock_sendall(peer, DATA))
    await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.wait([sending])
    reset(peer)
    transport.resume_reading()
    with pytest.raises(ConnectionResetError):
        raise await protocol.lost
    assert protocol.received == DATA[: len(protocol.received)]


async def test_slow_protocol_does_not_keep_callbacks_waiting(flooded):
    class Slow(Paused):
        def data_received(self, data):
            super().data_received(data)
            reads[-1] += 1
            time.sleep(0.005)

    def tick():
        reads.append(0)
        if not protocol.lost.done() and len(protocol.received) < len(DATA):
            loop.call_soon(tick)

    loop = asyncio.get_running_loop()
    reads = [0]
    transport, protocol, sending = await flooded(Slow)
    transport.resume_reading()
    tick()
    assert await protocol.receive(len(DATA)) == DATA
    assert max(reads) <= 2
    await sending
    transport.close()
    await protocol.lost


async def test_much_data_is_read_in_one_turn(loop_name):
    class Counting(Paused):
        def data_received(self, data):
            super().data_received(data)
            loop.call_soon(lambda: ticks.append(len(self.received)))

    loop = asyncio.get_running_loop()
    ticks = []
    reader, writer = pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    transport, protocol = await reading(reader, Counting)
    writer.write(DATA[:size])
    transport.resume_reading()
    assert await protocol.receive(size) == DATA[:size]
    # What the callback sees that the first read has scheduled.
    if loop_name == "sabio":
        assert ticks[0] >= 1 << 19
    else:
        assert ticks[0] == 1 << 18
    transport.close()
    await protocol.lost
    writer.close()


@pytest.mark.parametrize("kind", ["protocol", "buffered", "reader", "pipe"])
async def test_messages_of_all_sizes_one_after_the_other(peers, kind):
    sizes = [1, 40_000, 100_000, 122_880, 122_881, 262_144, 10, 32_768, 262_145, 600_000, 65_536, 65_536, 3]
    loop = asyncio.get_running_loop()
    if kind == "pipe":
        file, writer = pipe()
        transport, protocol = await reading(file)
    elif kind == "reader":
        reader = asyncio.StreamReader()
        transport, protocol, peer = await peers(lambda: asyncio.StreamReaderProtocol(reader))
    else:
        transport, protocol, peer = await peers(Recorder if kind == "protocol" else BufferedRecorder)
    for size in sizes:
        message = os.urandom(size)
        if kind == "pipe":
            sending = loop.create_task(asyncio.to_thread(os.write, writer.fileno(), message))
        else:
            sending = loop.create_task(loop.sock_sendall(peer, message))
        if kind == "reader":
            assert await reader.readexactly(size) == message
        else:
            assert await protocol.receive(size) == message
            protocol.received.clear()
        await sending
    transport.close()
    if kind == "pipe":
        writer.close()
    await turns(3)
