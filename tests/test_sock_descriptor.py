"""Descriptors under the sock_* methods and add_reader: numbers that were reused, and sockets that would block."""

import asyncio
import gc
import socket
import weakref

import pytest

from tests.support.net import fill, socket_pair
from tests.support.waiting import turns


@pytest.fixture
def pair():
    with socket_pair() as sockets:
        yield sockets


@pytest.fixture
def blocking():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def reuse(sock):
    """Closes a socket; a pair of which the first has the number that it had."""
    number = sock.fileno()
    sock.close()
    left, right = socket.socketpair()
    assert number in (left.fileno(), right.fileno())
    if right.fileno() == number:
        left, right = right, left
    left.setblocking(False)
    right.setblocking(False)
    return left, right


async def test_a_wait_never_takes_the_data_of_a_socket_that_reused_its_number(sabio, pair):
    loop = asyncio.get_running_loop()
    stale = loop.create_task(loop.sock_recv(pair[0], 100))
    await turns(2)
    left, right = reuse(pair[0])
    with left, right:
        fresh = loop.create_task(loop.sock_recv(left, 100))
        await turns(2)
        right.send(b"for the new one")
        assert await fresh == b"for the new one"
    with pytest.raises(OSError, match="Bad file descriptor"):
        await stale


async def test_a_wait_to_send_never_writes_to_a_socket_that_reused_its_number(sabio, pair):
    loop = asyncio.get_running_loop()
    fill(pair[0])
    stale = loop.create_task(loop.sock_sendall(pair[0], b"stale"))
    await turns(2)
    left, right = reuse(pair[0])
    with left, right:
        fill(left)
        fresh = loop.create_task(loop.sock_sendall(left, b"fresh"))
        await turns(2)
        received = bytearray()
        while not fresh.done() or not received.endswith(b"fresh"):
            received += await loop.sock_recv(right, 1 << 20)
        assert b"stale" not in received
    with pytest.raises(OSError, match="Bad file descriptor"):
        await stale


async def test_a_reader_of_a_closed_socket_is_not_that_of_the_next_one(sabio, pair):
    loop = asyncio.get_running_loop()
    called = []
    loop.add_reader(pair[0], called.append, "stale")
    left, right = reuse(pair[0])
    with left, right:
        loop.add_reader(left, called.append, "fresh")
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            loop.remove_reader(pair[0])
        right.send(b"data")
        await asyncio.sleep(0.005)
        assert set(called) == {"fresh"}
        assert loop.remove_reader(left)


async def test_a_reader_can_be_removed_after_its_socket_was_closed(pair):
    loop = asyncio.get_running_loop()
    loop.add_reader(pair[0], pytest.fail)
    pair[0].close()
    assert loop.remove_reader(pair[0]) is True


async def test_a_watched_socket_is_not_collected(pair):
    loop = asyncio.get_running_loop()
    left = socket.socket(fileno=pair[0].detach())
    watched = weakref.ref(left)
    loop.add_reader(left, pytest.fail)
    del left
    gc.collect()
    left = watched()
    assert left is not None
    assert loop.remove_reader(left) is True
    left.close()


async def test_a_blocking_socket_does_not_block_the_loop(sabio, blocking):
    loop = asyncio.get_running_loop()
    left, right = blocking
    loop.call_later(0.005, right.send, b"late")
    assert await loop.sock_recv(left, 100) == b"late"
    sending = loop.create_task(loop.sock_sendall(left, bytes(10_000_000)))
    received = 0
    while received < 10_000_000:
        received += len(await loop.sock_recv(right, 1 << 20))
    await sending


async def test_a_blocking_listener_does_not_block_the_loop(sabio):
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        loop.call_later(0.005, client.connect, server.getsockname())
        connection, address = await loop.sock_accept(server)
        with connection:
            assert address == client.getsockname()
            assert connection.gettimeout() == 0


async def test_a_full_queue_of_a_unix_listener_is_an_error(sabio, tmp_path):
    # asyncio waits for an event that says nothing, and takes the socket for connected.
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "listener")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        with socket.socket(socket.AF_UNIX) as second:
            second.setblocking(False)
            with pytest.raises(BlockingIOError):
                await loop.sock_connect(second, path)


async def test_a_coroutine_of_another_loop_is_refused_when_it_has_to_wait(sabio, pair, loop_factory):
    other = loop_factory()
    with pytest.raises(RuntimeError, match="awaited on a different loop"):
        await other.sock_recv(pair[0], 100)
    other.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        await other.sock_recv(pair[0], 100)


async def test_a_reader_whose_handle_was_cancelled_is_removed_when_it_would_be_called(pair):
    # Some libraries cancel the handle that _add_reader() gives, and leave it at that.
    loop = asyncio.get_running_loop()
    left, right = pair
    handle = loop._add_reader(left, pytest.fail)
    handle.cancel()
    right.send(b"data")
    await asyncio.sleep(0.005)
    assert loop.remove_reader(left) is False
