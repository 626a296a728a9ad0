"""Datagram endpoints: full buffers, paths that cannot be had, errors of the network (udp(7), unix(7))."""

import asyncio
import errno
import socket

import pytest

from tests.support.datagrams import Echo, address_of, close, endpoint
from tests.support.net import HOST, unused_udp_port
from tests.support.waiting import turns, until


def unix(path, remote=None):
    return {"local_addr": path, "remote_addr": remote, "family": socket.AF_UNIX}


async def test_path_that_is_too_long():
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await endpoint(**unix("/tmp/" + "x" * 200))


async def test_path_in_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        await endpoint(**unix(str(tmp_path / "nowhere" / "path")))


async def test_path_that_is_something_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("a file")
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        await endpoint(**unix(str(path)))
    assert path.read_text() == "a file"


async def test_path_that_nobody_listens_on_any_more_is_taken(tmp_path):
    path = str(tmp_path / "path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
    server, sink = await endpoint(**unix(path))
    client, _ = await endpoint(remote_addr=path, family=socket.AF_UNIX)
    client.sendto(b"x")
    await until(lambda: sink.received)
    await close(client, server)


async def test_remote_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        await endpoint(remote_addr=str(tmp_path / "nobody"), family=socket.AF_UNIX)


async def test_peer_that_goes_away(tmp_path):
    path = str(tmp_path / "peer")
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(path)
    client, protocol = await endpoint(remote_addr=path, family=socket.AF_UNIX)
    peer.close()
    client.sendto(b"x")
    await until(lambda: protocol.errors)
    assert protocol.errors[0].errno in (errno.ECONNREFUSED, errno.ENOTCONN)
    assert not client.is_closing()
    await close(client)


async def test_unix_datagram_beyond_the_buffer_concerns_nothing_else(tmp_path):
    path = str(tmp_path / "server")
    server, sink = await endpoint(**unix(path))
    client, protocol = await endpoint(remote_addr=path, family=socket.AF_UNIX)
    client.sendto(b"before")
    client.sendto(bytes(32 << 20))
    client.sendto(b"after")
    await until(lambda: len(sink.received) == 2)
    assert [data for data, _ in sink.received] == [b"before", b"after"]
    assert [error.errno for error in protocol.errors] == [errno.EMSGSIZE]
    await close(client, server)


@pytest.mark.parametrize("size", [65508, 65536, 1 << 20])
async def test_udp_datagrams_that_are_too_long(size):
    server, sink = await endpoint()
    client, protocol = await endpoint()
    for _ in range(3):
        client.sendto(bytes(size), address_of(server))
    client.sendto(b"after", address_of(server))
    await until(lambda: sink.received)
    assert [error.errno for error in protocol.errors] == [errno.EMSGSIZE] * 3
    assert [data for data, _ in sink.received] == [b"after"]
    await close(client, server)


async def test_error_of_the_network_ends_nothing():
    server, _ = await endpoint(Echo)
    client, protocol = await endpoint(remote_addr=(HOST, unused_udp_port()))
    for round_number in range(1, 4):
        client.sendto(b"x")
        await until(lambda count=round_number: len(protocol.errors) >= count)
    assert all(isinstance(error, ConnectionRefusedError) for error in protocol.errors)
    assert not client.is_closing()
    await close(client, server)


async def test_unconnected_endpoint_hears_of_no_errors():
    server, sink = await endpoint()
    client, protocol = await endpoint()
    for _ in range(5):
        client.sendto(b"lost", (HOST, unused_udp_port()))
        client.sendto(b"x", address_of(server))
        await turns(2)
    await until(lambda: len(sink.received) == 5)
    assert protocol.errors == []
    await close(client, server)


async def test_what_is_lost_in_a_full_buffer_is_lost_whole():
    server, sink = await endpoint()
    server.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client, protocol = await endpoint(remote_addr=address_of(server))
    sent = [bytes([number]) * 900 for number in range(200)]
    for data in sent:
        client.sendto(data)
    await asyncio.sleep(0.05)
    received = [data for data, _ in sink.received]
    assert 0 < len(received) < 200
    # Some are missing, and those that came are whole and in order.
    assert received == [data for data in sent if data in received]
    assert protocol.errors == []
    client.sendto(b"after")
    await until(lambda: sink.received[-1][0] == b"after")
    await close(client, server)
