"""`sock_recvfrom`, `sock_recvfrom_into`, `sock_sendto` (asyncio docs, "Working with socket objects directly")."""

import asyncio
import errno
import socket

import pytest

from tests.support.net import HOST
from tests.support.waiting import turns


def datagram_socket(family=socket.AF_INET, address=(HOST, 0)):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(address)
    return sock


@pytest.fixture
def pair():
    with datagram_socket() as left, datagram_socket() as right:
        yield left, right


async def test_datagram_that_is_there_already(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    assert await loop.sock_sendto(left, b"hello", right.getsockname()) == 5
    assert await loop.sock_recvfrom(right, 100) == (b"hello", left.getsockname())


async def test_datagram_that_comes_later(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    task = loop.create_task(loop.sock_recvfrom(right, 100))
    await turns(2)
    assert not task.done()
    await loop.sock_sendto(left, b"late", right.getsockname())
    assert await task == (b"late", left.getsockname())


async def test_receiving_into_a_buffer(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    buffer = bytearray(8)
    task = loop.create_task(loop.sock_recvfrom_into(right, buffer))
    await turns(2)
    await loop.sock_sendto(left, b"abcd", right.getsockname())
    assert await task == (4, left.getsockname())
    assert buffer == b"abcd\0\0\0\0"
    await loop.sock_sendto(left, b"xyz", right.getsockname())
    assert await loop.sock_recvfrom_into(right, buffer, 2) == (2, left.getsockname())
    assert buffer == b"xycd\0\0\0\0"


async def test_more_than_the_buffer_holds_is_an_error(pair):
    with pytest.raises(ValueError, match=r"[Nn]bytes|buffer"):
        await asyncio.get_running_loop().sock_recvfrom_into(pair[1], bytearray(2), 10)


async def test_empty_datagram(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    assert await loop.sock_sendto(left, b"", right.getsockname()) == 0
    assert await loop.sock_recvfrom(right, 100) == (b"", left.getsockname())


async def test_every_kind_of_buffer_can_be_sent(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    for data in (bytearray(b"abc"), memoryview(b"abc")):
        await loop.sock_sendto(left, data, right.getsockname())
        assert (await loop.sock_recvfrom(right, 10))[0] == b"abc"


async def test_unix_datagrams(tmp_path):
    loop = asyncio.get_running_loop()
    with (
        datagram_socket(socket.AF_UNIX, str(tmp_path / "a")) as left,
        datagram_socket(socket.AF_UNIX, str(tmp_path / "b")) as right,
    ):
        await loop.sock_sendto(left, b"hello", right.getsockname())
        assert await loop.sock_recvfrom(right, 100) == (b"hello", left.getsockname())


async def test_sending_waits_for_room(tmp_path):
    loop = asyncio.get_running_loop()
    with (
        datagram_socket(socket.AF_UNIX, str(tmp_path / "a")) as left,
        datagram_socket(socket.AF_UNIX, str(tmp_path / "b")) as right,
    ):
        left.connect(right.getsockname())
        sent = 0
        while True:
            try:
                left.send(b"x")
                sent += 1
            except BlockingIOError:
                break
        task = loop.create_task(loop.sock_sendto(left, b"last", right.getsockname()))
        await turns(3)
        assert not task.done()
        for _ in range(sent):
            right.recv(10)
        assert await task == 4
        assert right.recv(10) == b"last"


async def test_cancelled_wait_takes_no_datagram(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    task = loop.create_task(loop.sock_recvfrom(right, 100))
    await turns(2)
    task.cancel()
    await turns(2)
    assert task.cancelled()
    await loop.sock_sendto(left, b"kept", right.getsockname())
    assert (await loop.sock_recvfrom(right, 100))[0] == b"kept"


async def test_blocking_socket_does_not_block_the_loop(sabio, pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    right.setblocking(True)
    task = loop.create_task(loop.sock_recvfrom(right, 100))
    await turns(3)
    assert not task.done()
    await loop.sock_sendto(left, b"late", right.getsockname())
    assert (await task)[0] == b"late"


@pytest.mark.parametrize("name", ["sock_recvfrom", "sock_recvfrom_into", "sock_sendto"])
async def test_blocking_socket_is_refused_in_debug_mode(name):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    arguments = {
        "sock_recvfrom": (1,),
        "sock_recvfrom_into": (bytearray(1),),
        "sock_sendto": (b"", (HOST, 9)),
    }
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="non-blocking"):
        await getattr(loop, name)(sock, *arguments[name])


async def test_closed_socket_is_a_bad_descriptor():
    loop = asyncio.get_running_loop()
    sock = datagram_socket()
    sock.close()
    for coroutine in (loop.sock_recvfrom(sock, 1), loop.sock_sendto(sock, b"x", (HOST, 9))):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            await coroutine
        assert caught.value.errno == errno.EBADF


async def test_wrong_arguments(pair):
    loop = asyncio.get_running_loop()
    with pytest.raises(TypeError):
        await loop.sock_sendto(pair[0], "text", pair[1].getsockname())
    with pytest.raises(TypeError):
        await loop.sock_recvfrom(pair[0], "many")
    with pytest.raises(OSError, match="too long"):
        await loop.sock_sendto(pair[0], bytes(100_000), pair[1].getsockname())
