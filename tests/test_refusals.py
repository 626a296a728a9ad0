"""What sabio refuses at once, in so many words, where asyncio fails inside, later or not at all."""

import asyncio
import errno
import os
import socket

import pytest

from tests.support import datagrams
from tests.support.net import HOST, tcp_pair
from tests.support.protocols import BufferedRecorder, Recorder
from tests.support.tls import serving
from tests.support.waiting import turns

SCATTERED = memoryview(b"abcdef")[::2]


async def test_scattered_memory_is_refused_by_connections(sabio, tls_engine):
    async with serving() as served:
        left, right = tcp_pair()
        plain, plain_protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=left)
        secure, secure_protocol = await served.connect()
        for transport in (plain, secure):
            with pytest.raises(BufferError):
                transport.write(SCATTERED)
            assert not transport.is_closing()
            transport.close()
        right.close()
        await plain_protocol.lost
        await secure_protocol.lost


async def test_scattered_memory_is_refused_by_pipes_and_datagrams(sabio):
    reader, writer = os.pipe()
    loop = asyncio.get_running_loop()
    pipe, protocol = await loop.connect_write_pipe(Recorder, os.fdopen(writer, "wb", 0))
    with pytest.raises(BufferError):
        pipe.write(SCATTERED)
    assert not pipe.is_closing()
    pipe.close()
    await protocol.lost
    os.close(reader)
    endpoint, _ = await datagrams.endpoint()
    with pytest.raises(BufferError):
        endpoint.sendto(SCATTERED, datagrams.address_of(endpoint))
    assert not endpoint.is_closing()
    await datagrams.close(endpoint)


async def test_unix_server_without_a_name(sabio):
    loop = asyncio.get_running_loop()
    for path in ("", b""):
        with pytest.raises(ValueError, match="path of a Unix socket is empty"):
            await loop.create_unix_server(Recorder, path)
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        await loop.create_unix_server(Recorder, sock=sock)


async def test_nul_in_the_path_of_a_unix_connection(sabio, tmp_path):
    path = str(tmp_path / "server")
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(Recorder, path)
    with pytest.raises(ValueError, match="embedded null byte"):
        await loop.create_unix_connection(Recorder, f"{path}\0.other")
    server.close()
    await server.wait_closed()


async def test_closed_server_is_not_started_again(sabio):
    server = await asyncio.get_running_loop().create_server(Recorder, HOST, 0)
    server.close()
    for starting in (server.start_serving, server.serve_forever):
        with pytest.raises(RuntimeError, match="is closed"):
            await starting()


async def test_empty_buffer_above_tls_ends_the_connection(sabio, tls_engine, reports):
    async with serving() as served:
        transport, protocol = await served.connect(lambda: BufferedRecorder(0))
        error = await protocol.lost
        assert isinstance(error, RuntimeError)
        assert str(error) == "get_buffer() returned an empty buffer"
        assert transport.is_closing()
    assert [str(error) for error in reports.take_exceptions()] == [str(error)]


async def test_lost_tls_transport_can_be_used(sabio, tls_engine, reports):
    async with serving() as served:
        transport, protocol = await served.connect()
        transport.close()
        await protocol.lost
        for _ in range(2):
            transport.write(b"x")
        transport.writelines([b"x"])
        transport.pause_reading()
        transport.resume_reading()
        transport.set_write_buffer_limits(100)
        assert transport.get_write_buffer_size() == 0
        assert transport.get_protocol() is None
        transport.abort()
        await turns(3)
    assert reports.take_exceptions() == []


async def test_sending_from_a_closed_endpoint_without_an_address(sabio):
    sink, protocol = await datagrams.endpoint()
    endpoint, _ = await datagrams.endpoint()
    endpoint.close()
    endpoint.sendto(b"x", datagrams.address_of(sink))
    await asyncio.sleep(0.01)
    assert protocol.received == []
    await datagrams.close(sink)
