"""Messages by buffered protocols, streams and raw sockets: none lost, none twice, none to somebody else.

Each message carries the number of its connection and its place in that connection's sequence; every side checks both.
"""

import array
import asyncio
import random
import socket
import struct

import pytest

from tests.support.waiting import until

pytestmark = pytest.mark.timeout(90, method="signal")

MESSAGES = 1_000_000
CONNECTIONS = 40
MESSAGE = struct.Struct("<II")


def expected_stream(connection, start, count):
    """The bytes of `count` messages of a connection from number `start` on."""
    numbers = array.array("I", bytes(8 * count))
    numbers[0::2] = array.array("I", [connection]) * count
    numbers[1::2] = array.array("I", range(start, start + count))
    return numbers.tobytes()


class Checking(asyncio.Protocol):
    """Sends the messages of its connection, a window at a time, and checks every byte that comes back."""

    window = 2000

    def __init__(self, connection, count, generator):
        self.connection = connection
        self.count = count
        self.generator = generator
        self.sent = 0
        self.checked = 0
        self.pending = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.refill()

    def refill(self):
        if self.sent == self.count:
            return
        batch = min(self.window, self.count - self.sent)
        data = expected_stream(self.connection, self.sent, batch)
        self.sent += batch
        # Cut where no message ends, and sometimes as mutable memory that is overwritten at once.
        cut = self.generator.randrange(len(data))
        self.transport.write(data[:cut])
        if self.generator.random() < 0.5:
            self.transport.write(data[cut:])
        else:
            self.transport.writelines([data[cut : cut + 7], data[cut + 7 :]])

    def data_received(self, data):
        self.pending += data
        whole = len(self.pending) // MESSAGE.size
        if not whole:
            return
        size = whole * MESSAGE.size
        expected = expected_stream(self.connection, self.checked, whole)
        if self.pending[:size] != expected:
            self.fail(size)
            return
        self.pending = self.pending[size:]
        self.checked += whole
        if self.checked == self.count:
            self.done.set_result(self.checked)
        elif self.checked == self.sent:
            self.refill()

    def fail(self, size):
        self.transport.abort()
        for place, message in enumerate(MESSAGE.iter_unpack(self.pending[:size])):
            wanted = (self.connection, self.checked + place)
            if message != wanted:
                self.done.set_exception(AssertionError(f"expected {wanted}, got {message}"))
                return


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends back what is read into its own memory, which is used again at once."""

    def __init__(self):
        self.memory = memoryview(bytearray(5000))

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.memory

    def buffer_updated(self, nbytes):
        self.transport.write(bytes(self.memory[:nbytes]))


async def test_messages_through_a_buffered_protocol_come_back_to_whom_they_belong():
    loop = asyncio.get_running_loop()
    generator = random.Random(11)
    server = await loop.create_server(BufferedEcho, "127.0.0.1", 0)
    share = MESSAGES // CONNECTIONS
    clients = [
        await loop.create_connection(
            lambda number=number: Checking(number, share, generator), *server.sockets[0].getsockname()
        )
        for number in range(CONNECTIONS)
    ]
    counts = await asyncio.gather(*(client.done for _, client in clients))
    assert sum(counts) == MESSAGES
    for transport, _ in clients:
        transport.close()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


async def test_messages_through_streams_and_raw_sockets_come_back_to_whom_they_belong():
    loop = asyncio.get_running_loop()
    generator = random.Random(12)

    async def echo(reader, writer):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def by_streams(connection):
        reader, writer = await asyncio.open_connection(*address)
        for start in range(0, 5000, 500):
            data = expected_stream(connection, start, 500)
            writer.write(data)
            await writer.drain()
            assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()

    async def by_socket(connection):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            for start in range(0, 5000, 500):
                data = expected_stream(connection, start, 500)
                await loop.sock_sendall(sock, data)
                received = b""
                while len(received) < len(data):
                    received += await loop.sock_recv(sock, generator.randrange(1, 3000))
                assert received == data

    await asyncio.gather(*(by_streams(n) for n in range(20)), *(by_socket(n) for n in range(20, 40)))
    server.close()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_slow_and_fast_readers_all_get_everything():
    loop = asyncio.get_running_loop()
    generator = random.Random(13)
    size = 200_000

    class Source(asyncio.Protocol):
        """Sends a stream that its own number determines, as fast as it may."""

        made = 0

        def __init__(self):
            self.number = Source.made
            Source.made += 1

        def connection_made(self, transport):
            transport.write(self.number.to_bytes(4, "little"))
            transport.write(expected_stream(self.number, 0, size // 8))
            transport.close()

    class Sink(asyncio.Protocol):
        def __init__(self):
            self.received = bytearray()
            self.lost = loop.create_future()

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.received += data
            if generator.random() < 0.3:
                self.transport.pause_reading()
                loop.call_later(generator.random() * 0.002, self.transport.resume_reading)

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    server = await loop.create_server(Source, "127.0.0.1", 0, backlog=200)
    sinks = [(await loop.create_connection(Sink, *server.sockets[0].getsockname()))[1] for _ in range(60)]
    assert await asyncio.gather(*(sink.lost for sink in sinks)) == [None] * 60
    for sink in sinks:
        number = int.from_bytes(sink.received[:4], "little")
        assert sink.received[4:] == expected_stream(number, 0, size // 8)
    assert {int.from_bytes(sink.received[:4], "little") for sink in sinks} == set(range(60))
    server.close()
    await server.wait_closed()
