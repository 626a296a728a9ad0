"""TLS: connections that are made, used and closed, on every engine."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.protocols import READS_INTO_A_COPY, BufferedRecorder, Echo, Recorder
from tests.support.tls import blocking_client, in_thread, serving
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("tls_engine")

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class EchoRecorder(Recorder):
    """Sends back what comes and writes down what happens."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_messages_go_both_ways(version):
    context = client_context()
    context.minimum_version = context.maximum_version = version
    async with serving(EchoRecorder) as served:
        transport, protocol = await served.connect(ssl=context)
        transport.write(b"hello")
        assert await protocol.receive(5) == b"hello"
        transport.write(bytearray(b", wor"))
        transport.writelines([b"l", memoryview(b"d"), b""])
        assert await protocol.receive(12) == b"hello, world"
        transport.close()
        assert await protocol.lost is None
        assert await served.protocols[0].lost is None
        assert served.protocols[0].calls == [
            "connection_made",
            "data_received",
            "eof_received",
            "connection_lost",
        ]
        assert protocol.calls[:2] == ["connection_made", "data_received"]


@pytest.mark.parametrize("size", [1, 16384, 16385, 3_000_000])
async def test_data_of_any_size_arrives_in_order(size):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    async with serving(EchoRecorder) as served:
        transport, protocol = await served.connect()
        transport.write(data)
        assert await protocol.receive(size) == data
        transport.close()
        await protocol.lost


@pytest.mark.parametrize(
    "size", [1, *(pytest.param(size, marks=READS_INTO_A_COPY) for size in (100, 70_000))]
)
async def test_buffered_protocol_is_read_into_its_own_memory(size):
    data = bytes(range(256)) * 1000
    async with serving(Recorder) as served:
        _, protocol = await served.connect(lambda: BufferedRecorder(size))
        await until(lambda: served.protocols)
        await served.protocols[0].connected
        served.protocols[0].transport.write(data[: size * 3000])
        expected = data[: size * 3000]
        assert await protocol.receive(len(expected)) == expected
        served.protocols[0].transport.close()
        assert await protocol.lost is None
        assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]


async def test_streams_read_and_write():
    handled = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        handled.set_result(None)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_context())
    async with server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(
            *address, ssl=client_context(), server_hostname="localhost"
        )
        for text in (b"one\n", b"two\n", b"x" * 50_000 + b"\n"):
            writer.write(text)
            assert await reader.readline() == text.upper()
        assert not writer.can_write_eof()
        writer.close()
        await writer.wait_closed()
        await handled


async def test_what_the_connection_is_can_be_asked():
    server, client = server_context(), client_context()
    for context in (server, client):
        context.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(Recorder, server) as served:
        transport, protocol = await served.connect(ssl=client)
        assert transport.get_extra_info("sslcontext") is client
        # Private, and asked for all the same: by aiohttp's tests.
        assert transport._ssl_protocol._sslcontext is client
        assert transport.get_extra_info("peername") == served.address
        assert transport.get_extra_info("sockname") == transport.get_extra_info("socket").getsockname()
        assert transport.get_extra_info("compression", "none") is None
        ssl_object = transport.get_extra_info("ssl_object")
        assert isinstance(ssl_object, ssl.SSLObject)
        assert ssl_object.selected_alpn_protocol() == "h2"
        assert transport.get_extra_info("cipher") == ssl_object.cipher()
        assert transport.get_extra_info("peercert") == ssl_object.getpeercert()
        assert transport.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
        assert transport.get_extra_info("nothing", "default") == "default"
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_protocol() is protocol
        transport.close()
        await protocol.lost
        assert transport.get_extra_info("cipher") == ssl_object.cipher()
        assert transport.get_extra_info("sslcontext") is client


async def test_what_one_callback_writes_is_one_record(loop_name):
    def count_records(address):
        with blocking_client(address) as sock:
            sock.sendall(b"?")
            sizes = []
            while sum(sizes) < 30:
                sizes.append(len(sock.recv(1000)))
            return sizes

    class Thrice(Recorder):
        def data_received(self, data: bytes) -> None:
            for _ in range(3):
                self.transport.write(b"0123456789")

    async with serving(Thrice) as served:
        sizes = await in_thread(count_records, served.address)
        assert sizes == ([30] if loop_name == "sabio" else [10, 10, 10])


async def test_protocol_can_be_replaced():
    async with serving(EchoRecorder) as served:
        transport, first = await served.connect()
        transport.write(b"1")
        await first.receive(1)
        second = BufferedRecorder(10)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        transport.write(b"2" * 25)
        assert await second.receive(25) == b"2" * 25
        assert first.received == b"1"
        transport.close()
        assert await second.lost is None


async def test_write_takes_bytes_only():
    async with serving(Echo) as served:
        served.protocols.clear()
        transport, protocol = await served.connect()
        for wrong in ("text", 1, None, [b"x"]):
            with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got"):
                transport.write(wrong)
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        assert transport.can_write_eof() is False
        transport.close()
        await protocol.lost


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_limits_are_those_that_were_set(kind):
    async with serving() as served:
        transport, protocol = await served.connect()
        get = getattr(transport, f"get_{kind}_buffer_limits")
        change = getattr(transport, f"set_{kind}_buffer_limits")
        high = {"read": 256, "write": 512}[kind] * 1024
        assert get() == (high // 4, high)
        change(high=100)
        assert get() == (25, 100)
        change(low=100)
        assert get() == (100, 400)
        change(high=7, low=3)
        assert get() == (3, 7)
        with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
            change(high=1, low=2)
        change()
        assert get() == (high // 4, high)
        transport.close()
        await protocol.lost


async def test_functions_in_the_place_of_the_lower_protocols_methods_are_called():
    """As programs do that want to know when a connection is really gone (aiohttp's advice for a graceful shutdown)."""
    async with serving(EchoRecorder) as served:
        transport, protocol = await served.connect()
        below = transport._ssl_protocol
        told = []

        def wrap(name):
            original = getattr(below, name)

            def called(*args):
                told.append((name, *args))
                return original(*args)

            setattr(below, name, called)

        for name in ("eof_received", "connection_lost"):
            wrap(name)
        transport.write(b"data")
        assert await protocol.receive(4) == b"data"
        served.protocols[0].transport.abort()
        await protocol.lost
        # Told when both transports have lost it.
        await until(lambda: told)
        assert told[-1][0] == "connection_lost"
