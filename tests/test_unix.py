"""Unix stream sockets: connections and servers by path and by abstract name (asyncio docs, "Event Loop")."""

import asyncio
import errno
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.support.net import socket_pair, tcp_pair
from tests.support.protocols import BufferedRecorder, Echo, Recorder
from tests.support.waiting import until

CLEANS_UP = sys.version_info >= (3, 13)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "socket")


def is_socket(path):
    return Path(path).is_socket()


def exists(path):
    return Path(path).exists()


def put_file(path):
    """Puts an empty file there, in the place of what there is."""
    temporary = Path(path).with_name("temporary")
    temporary.touch()
    temporary.rename(path)


def listing(path):
    return list(Path(path).iterdir())


async def serve(address, protocol=Echo, **options):
    return await asyncio.get_running_loop().create_unix_server(protocol, address, **options)


async def connect(address, protocol=Recorder, **options):
    return await asyncio.get_running_loop().create_unix_connection(protocol, address, **options)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
async def test_bytes_go_there_and_back(path, kind):
    server = await serve(kind(path))
    transport, protocol = await connect(kind(path))
    transport.write(b"ping")
    assert await protocol.receive(4) == b"ping"
    transport.close()
    assert await protocol.lost is None
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("kind", [str, os.fsencode])
async def test_abstract_names_leave_no_file(tmp_path, kind):
    name = kind(f"\0sabio-test-{os.getpid()}-{tmp_path.name}")
    server = await serve(name)
    transport, protocol = await connect(name)
    transport.write(b"ping")
    assert await protocol.receive(4) == b"ping"
    assert transport.get_extra_info("peername") == os.fsencode(name)
    transport.close()
    await protocol.lost
    server.close()
    assert listing(tmp_path) == []


async def test_large_messages_arrive_whole(path):
    data = bytes(range(256)) * 20_000
    server = await serve(path)
    transport, protocol = await connect(path)
    transport.write(data)
    assert await protocol.receive(len(data)) == data
    transport.close()
    await protocol.lost
    server.close()


async def test_buffered_protocol(path):
    server = await serve(path)
    transport, protocol = await connect(path, BufferedRecorder)
    transport.write(b"x" * 100_000)
    await until(lambda: len(protocol.received) == 100_000)
    transport.close()
    await protocol.lost
    server.close()


async def test_half_closing(path):
    seen = []

    class Sink(Recorder):
        def eof_received(self):
            seen.append(bytes(self.received))
            self.transport.write(b"bye")
            self.transport.close()
            return True

    server = await serve(path, Sink)
    transport, protocol = await connect(path)
    assert transport.can_write_eof()
    transport.write(b"all")
    transport.write_eof()
    assert await protocol.receive(3) == b"bye"
    assert seen == [b"all"]
    transport.close()
    await protocol.lost
    server.close()


async def test_what_the_transport_tells(path):
    server = await serve(path)
    transport, protocol = await connect(path)
    assert transport.get_extra_info("peername") == path
    assert transport.get_extra_info("sockname") == ""
    sock = transport.get_extra_info("socket")
    assert (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
    assert isinstance(transport, asyncio.Transport)
    transport.close()
    await protocol.lost
    server.close()


async def test_server_is_told_by_its_sockets(path):
    server = await serve(path)
    [sock] = server.sockets
    assert sock.getsockname() == path
    assert server.is_serving()
    server.close()


async def test_serving_starts_later_on_request(path):
    server = await serve(path, start_serving=False)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError):
        await connect(path)
    await server.start_serving()
    transport, protocol = await connect(path)
    transport.close()
    await protocol.lost
    server.close()


async def test_socket_of_the_caller(path):
    with socket_pair() as (left, right):
        transport, protocol = await connect(None, sock=left)
        right.send(b"hello")
        assert await protocol.receive(5) == b"hello"
        transport.close()
        await protocol.lost


async def test_accepted_socket_of_the_caller():
    with socket_pair() as (left, right):
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_accepted_socket(Recorder, left)
        right.send(b"hello")
        assert await protocol.receive(5) == b"hello"
        transport.close()
        await protocol.lost


async def test_listening_socket_of_the_caller(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        server = await serve(None, sock=sock)
        transport, protocol = await connect(path)
        transport.write(b"ping")
        assert await protocol.receive(4) == b"ping"
        transport.close()
        await protocol.lost
        server.close()


# ---------------------------------------------------------------- the file


async def test_file_of_a_closed_server(path):
    server = await serve(path)
    assert is_socket(path)
    server.close()
    assert exists(path) is not CLEANS_UP


async def test_file_goes_with_the_server_on_request(sabio, path):
    server = await serve(path, cleanup_socket=True)
    server.close()
    assert not exists(path)


async def test_file_stays_on_request(sabio, path):
    server = await serve(path, cleanup_socket=False)
    server.close()
    assert is_socket(path)


async def test_file_of_the_callers_socket_goes_with_the_server_too(sabio, path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        server = await serve(None, sock=sock, cleanup_socket=True)
        server.close()
    assert not exists(path)


async def test_file_that_somebody_else_has_put_there_stays(path):
    server = await serve(path)
    put_file(path)
    server.close()
    assert exists(path)
    assert not is_socket(path)


async def test_file_that_is_gone_already_is_no_error(path):
    server = await serve(path)
    os.unlink(path)
    server.close()


async def test_file_whose_path_is_no_text(path):
    path += "-\udcff"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    server = await serve(path)
    transport, protocol = await connect(path)
    transport.close()
    await protocol.lost
    server.close()
    assert exists(path) is not CLEANS_UP


async def test_stale_file_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    server = await serve(path)
    transport, protocol = await connect(path)
    transport.close()
    await protocol.lost
    server.close()


# ---------------------------------------------------------------- bad input and faults


async def test_path_in_use_by_something_else_is_named(path):
    put_file(path)
    with pytest.raises(OSError, match="is already in use") as caught:
        await serve(path)
    assert (caught.value.errno, repr(path) in str(caught.value)) == (errno.EADDRINUSE, True)


async def test_nobody_listens(path):
    with pytest.raises(FileNotFoundError):
        await connect(path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    with pytest.raises(ConnectionRefusedError):
        await connect(path)


async def test_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        await serve(str(tmp_path / "missing" / "socket"))


async def test_path_that_is_too_long():
    for call in (connect, serve):
        with pytest.raises(OSError, match="AF_UNIX path too long"):
            await call("x" * 108)


async def test_longest_path():
    with pytest.raises(FileNotFoundError):
        await connect("x" * 107)


@pytest.mark.asyncio_lacks("the socket is left open", run=False)
async def test_nul_in_the_middle_of_a_path(path):
    for call in (connect, serve):
        with pytest.raises((ValueError, OSError)):
            await call(path + "\0x")


@pytest.mark.parametrize("call", [connect, serve])
async def test_path_that_is_none(call):
    for wrong in (3, 2.5, object()):
        with pytest.raises(TypeError):
            await call(wrong)


@pytest.mark.parametrize("call", [connect, serve])
async def test_neither_path_nor_socket(call):
    with pytest.raises(ValueError, match="sock"):
        await call(None)


@pytest.mark.parametrize("call", [connect, serve])
async def test_both_path_and_socket(call, path):
    with (
        socket.socket(socket.AF_UNIX) as sock,
        pytest.raises(ValueError, match="path and sock can not be specified at the same time"),
    ):
        await call(path, sock=sock)


@pytest.mark.parametrize("call", [connect, serve])
async def test_socket_of_another_kind(call):
    left, right = tcp_pair()
    with (
        left,
        right,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        for sock in (left, datagrams):
            with pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected"):
                await call(None, sock=sock)


async def test_arguments_of_tls_without_tls(path):
    with pytest.raises(ValueError, match="server_hostname is only meaningful with ssl"):
        await connect(path, server_hostname="host")
    for call in (connect, serve):
        with pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
            await call(path, ssl_handshake_timeout=1.0)
        with pytest.raises(ValueError, match="ssl_shutdown_timeout is only meaningful with ssl"):
            await call(path, ssl_shutdown_timeout=1.0)
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
        await serve(path, ssl=True)
    with pytest.raises(ValueError, match="you have to pass server_hostname when using ssl"):
        await connect(path, ssl=True)


async def test_full_queue_is_an_error_and_leaves_nothing_open(sabio, path):
    # asyncio takes such a socket for a connected one.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        transports = []

        async def fill():
            while True:
                transports.append(await connect(path))

        with pytest.raises(BlockingIOError):
            await fill()
        for transport, protocol in transports:
            transport.abort()
            await protocol.lost


async def test_factory_that_raises_leaves_nothing_open(sabio, path):
    server = await serve(path)

    def fail():
        raise LookupError("no protocol")

    with pytest.raises(LookupError, match="no protocol"):
        await connect(path, fail)
    server.close()


async def test_streams_run_over_it(path):
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"hello\n")
    assert await reader.read() == b"HELLO\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
