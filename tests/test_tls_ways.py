"""Every method of the loop that takes `ssl`, and files through what it gives."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.net import tcp_pair
from tests.support.protocols import Recorder
from tests.support.tls import serving
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("tls_engine")


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


async def exchange(transport, protocol):
    transport.write(b"hello")
    assert await protocol.receive(5) == b"hello"
    assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
    transport.close()
    assert await protocol.lost is None


async def test_unix_connection_and_server(tmp_path):
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    protocols = []

    def make():
        protocols.append(Echo())
        return protocols[-1]

    server = await loop.create_unix_server(make, path, ssl=server_context())
    async with server:
        transport, protocol = await loop.create_unix_connection(
            Recorder, path, ssl=client_context(), server_hostname="localhost"
        )
        await exchange(transport, protocol)
        await protocols[0].lost


async def test_unix_streams(tmp_path):
    path = str(tmp_path / "socket")
    handled = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()
        handled.set_result(None)

    server = await asyncio.start_unix_server(handle, path, ssl=server_context())
    async with server:
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"line\n")
        assert await reader.read() == b"LINE\n"
        writer.close()
        await writer.wait_closed()
        await handled


async def test_accepted_socket_is_the_server_s_side():
    left, right = tcp_pair()
    loop = asyncio.get_running_loop()
    accepting = asyncio.ensure_future(loop.connect_accepted_socket(Echo, left, ssl=server_context()))
    transport, protocol = await loop.create_connection(
        Recorder, sock=right, ssl=client_context(), server_hostname="localhost"
    )
    _, accepted = await accepting
    await exchange(transport, protocol)
    await accepted.lost


async def test_server_on_a_socket_of_the_user():
    async with serving(Echo) as served:
        assert served.server.sockets[0].getsockname() == served.address
        await exchange(*await served.connect(sock=None))


async def test_connection_needs_a_name_or_a_host():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="You must set server_hostname when using ssl without a host"):
            await loop.create_connection(Recorder, sock=left, ssl=client_context())
        with pytest.raises(ValueError, match="you have to pass server_hostname when using ssl"):
            await loop.create_unix_connection(Recorder, sock=left, ssl=client_context())


async def test_file_goes_through_by_the_fallback(tmp_path):
    data = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(data)
    loop = asyncio.get_running_loop()
    async with serving() as served:
        transport, protocol = await served.connect()
        with (tmp_path / "file").open("rb") as file:
            with pytest.raises(
                RuntimeError, match="fallback is disabled and native sendfile is not supported"
            ):
                await loop.sendfile(transport, file, fallback=False)
            assert await loop.sendfile(transport, file, 100, 500_000) == 500_000
        await until(lambda: len(served.protocols[0].received) == 500_000)
        assert served.protocols[0].received == data[100:500_100]
        transport.close()
        await protocol.lost


@pytest.mark.debug_mode
async def test_debug_mode_tells_of_the_handshake(caplog):
    caplog.set_level("DEBUG", "asyncio")
    async with serving(Echo) as served:
        await exchange(*await served.connect())
    messages = [record.getMessage() for record in caplog.records]
    assert sum("starts SSL handshake" in message for message in messages) == 2
    assert sum("SSL handshake took" in message for message in messages) == 2
    assert any("connected to 127.0.0.1" in message for message in messages)
