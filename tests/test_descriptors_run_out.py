"""What opens sockets fails when the process has no descriptor left, leaves nothing open, and works again afterwards."""

import asyncio
import errno
import os
import socket

import pytest

from tests.support.descriptors import exhausted
from tests.support.net import HOST, listener
from tests.support.protocols import Recorder


async def connect(loop, place):
    return (await loop.create_connection(Recorder, *place["tcp"]))[0]


async def connect_with_local_address(loop, place):
    return (await loop.create_connection(Recorder, *place["tcp"], local_addr=(HOST, 0)))[0]


async def connect_to_unix(loop, place):
    return (await loop.create_unix_connection(Recorder, place["unix"]))[0]


async def serve(loop, place):
    return await loop.create_server(asyncio.Protocol, HOST, 0)


async def serve_unix(loop, place):
    return await loop.create_unix_server(asyncio.Protocol, place["free"])


async def datagrams(loop, place):
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0)))[0]


async def datagrams_to(loop, place):
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=place["tcp"]))[0]


async def unix_datagrams(loop, place):
    options = {"local_addr": place["free"], "family": socket.AF_UNIX}
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, **options))[0]


WAYS = [
    connect,
    connect_with_local_address,
    connect_to_unix,
    pytest.param(
        serve,
        marks=pytest.mark.asyncio_lacks("a server without a socket comes back", "<3.13", strict=False),
    ),
    serve_unix,
    datagrams,
    datagrams_to,
    unix_datagrams,
]


@pytest.mark.parametrize("way", WAYS)
async def test_no_descriptor_left(way, tmp_path):
    loop = asyncio.get_running_loop()
    with listener() as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "unix"))
        unix.listen(1)
        place = {
            "tcp": tcp.getsockname(),
            "unix": unix.getsockname(),
            "free": str(tmp_path / "free"),
        }
        for _ in range(3):
            with (
                exhausted(),
                pytest.raises(OSError, match=rf"{os.strerror(errno.EMFILE)}|could not bind on any"),
            ):
                await way(loop, place)
        made = await way(loop, place)
        made.close()
        if isinstance(made, asyncio.Transport) and isinstance(made.get_protocol(), Recorder):
            await made.get_protocol().lost
        await asyncio.sleep(0.01)


async def test_connection_that_waits_for_acceptance_comes_through_later(reports):
    """The server has no descriptor for it; the client is connected by the kernel all the same."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(factory, HOST, 0)
    with socket.socket() as client:
        client.setblocking(False)
        with exhausted():
            client.connect_ex(server.sockets[0].getsockname())
            await asyncio.sleep(0.1)
            assert not made
        for _ in range(200):
            if made:
                break
            await asyncio.sleep(0.02)
        client.send(b"hello")
        assert await made[0].receive(5) == b"hello"
    await made[0].lost
    server.close()
    await server.wait_closed()
