"""What programs do with attributes that asyncio does not document, where they are known to do it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.net import socket_pair
from tests.support.protocols import Recorder
from tests.support.waiting import until

# ---------------------------------------------------------------- max_size


class Sizes(Recorder):
    """Sets how much a read gives and writes down how much came."""

    def __init__(self, max_size):
        super().__init__()
        self.max_size = max_size
        self.sizes = []

    def connection_made(self, transport):
        super().connection_made(transport)
        assert transport.max_size == 256 * 1024
        transport.max_size = self.max_size
        assert transport.max_size == self.max_size

    def data_received(self, data):
        super().data_received(data)
        self.sizes.append(len(data))


@pytest.mark.parametrize("max_size", [1000, 50_000, 300_000])
async def test_a_stream_reads_no_more_at_a_time_than_max_size(max_size):
    loop = asyncio.get_running_loop()
    size = 3 * max_size + 1
    with socket_pair() as (near, far):
        transport, protocol = await loop.create_connection(lambda: Sizes(max_size), sock=near)
        sending = asyncio.ensure_future(loop.sock_sendall(far, bytes(size)))
        assert await protocol.receive(size) == bytes(size)
        await sending
        assert max(protocol.sizes) <= max_size
        # It holds for all reads to come.
        await loop.sock_sendall(far, bytes(max_size // 2))
        await protocol.receive(size + max_size // 2)
        await loop.sock_sendall(far, bytes(3 * max_size if max_size < 60_000 else 10))
        await until(lambda: sum(protocol.sizes) >= size + max_size // 2 + 10)
        assert max(protocol.sizes) <= max_size
        transport.close()


async def test_a_pipe_reads_no_more_at_a_time_than_max_size():
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    os.write(writing, bytes(5000))
    with open(reading, "rb", 0) as file:
        transport, protocol = await loop.connect_read_pipe(lambda: Sizes(1000), file)
        assert await protocol.receive(5000) == bytes(5000)
        assert protocol.sizes == [1000] * 5
        transport.close()
        os.close(writing)
        await protocol.lost


async def test_a_reader_gets_no_more_at_a_time_than_max_size():
    with socket_pair() as (near, far):
        reader, writer = await asyncio.open_connection(sock=near)
        writer.transport.max_size = 1000
        far.send(bytes(5000))
        assert await reader.read(10_000) == bytes(1000)
        assert await reader.readexactly(4000) == bytes(4000)
        writer.close()


async def test_a_datagram_is_cut_off_behind_max_size():
    loop = asyncio.get_running_loop()
    got = loop.create_future()

    class Receiver(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            transport.max_size = 10

        def datagram_received(self, data, addr):
            got.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"0123456789abc", transport.get_extra_info("sockname"))
        assert await got == b"0123456789"
    transport.close()


@pytest.mark.parametrize("wrong", [0, -1, 1 << 32, "1000", None])
async def test_a_max_size_that_is_none_is_refused(sabio, wrong):
    async def main():
        with socket_pair() as (near, _far):
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
            with pytest.raises((ValueError, TypeError)):
                transport.max_size = wrong
            assert transport.max_size == 256 * 1024
            transport.close()

    await asyncio.to_thread(sabio.run, main())


# ---------------------------------------------------------------- streams


async def test_streams_are_led_over_to_tls_by_hand():
    """As programs did before `StreamWriter.start_tls()` was there, in 3.11."""
    loop = asyncio.get_running_loop()

    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go on\n")
        await writer.drain()
        await writer.start_tls(server_context())
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go on\n"
    protocol = writer.transport.get_protocol()
    transport = await loop.start_tls(
        writer.transport, protocol, client_context(), server_hostname="localhost"
    )
    reader._transport = writer._transport = protocol._transport = transport
    protocol._over_ssl = True
    assert (protocol._transport, protocol._over_ssl) == (transport, True)
    writer.write(b"secret\n")
    assert await reader.readline() == b"secret\n"
    assert await reader.read() == b""
    writer.close()
    server.close()


async def test_a_writer_can_be_given_another_reader():
    with socket_pair() as (near, _far):
        _reader, writer = await asyncio.open_connection(sock=near)
        other = asyncio.StreamReader()
        other.set_exception(ConnectionError("told by the other"))
        writer._reader = other
        assert writer._reader is other
        with pytest.raises(ConnectionError, match="told by the other"):
            await writer.drain()
        writer.close()


async def test_a_protocol_can_be_given_another_callback():
    called = []

    class Server(asyncio.StreamReaderProtocol):
        def connection_made(self, transport):
            self._client_connected_cb = lambda reader, writer: called.append((reader, writer))
            super().connection_made(transport)

    loop = asyncio.get_running_loop()
    with socket_pair() as (near, _far):
        transport, _ = await loop.create_connection(
            lambda: Server(asyncio.StreamReader(), lambda *_: called.append("not this one")), sock=near
        )
        [(_reader, writer)] = called
        assert writer.transport is transport
        writer.close()


# ---------------------------------------------------------------- signals


async def test_the_handler_that_is_displaced_can_be_put_back():
    """As prompt_toolkit does with that of SIGWINCH, for the time of an application."""
    loop = asyncio.get_running_loop()
    called = []
    assert loop._signal_handlers.get(signal.SIGWINCH) is None
    loop.add_signal_handler(signal.SIGWINCH, called.append, "mine")
    handle = loop._signal_handlers.get(signal.SIGWINCH)
    loop.add_signal_handler(signal.SIGWINCH, called.append, "theirs")
    os.kill(os.getpid(), signal.SIGWINCH)
    await until(lambda: called == ["theirs"])
    loop.remove_signal_handler(signal.SIGWINCH)
    loop.add_signal_handler(signal.SIGWINCH, handle._callback, *handle._args)
    os.kill(os.getpid(), signal.SIGWINCH)
    await until(lambda: called == ["theirs", "mine"])
    assert loop.remove_signal_handler(signal.SIGWINCH)
    assert not loop._signal_handlers
