"""`loop.sock_sendfile()` (asyncio docs, "Transferring files" and "Working with socket objects directly")."""

import asyncio
import errno
import os
import socket
import tempfile

import pytest

from tests.support.files import DATA, LARGE, cancel, data_file, large_file, stalled
from tests.support.net import fill, receive_all, receive_exactly, socket_pair, tcp_pair
from tests.support.waiting import turns


@pytest.fixture
def file():
    with data_file() as made:
        yield made


@pytest.fixture
def large():
    with large_file() as made:
        yield made


@pytest.fixture(params=["tcp", "unix"])
def pair(request):
    left, right = tcp_pair() if request.param == "tcp" else socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


async def exchange(pair, *args, **options):
    """What `sock_sendfile` returns, and what the peer gets until the socket is closed."""
    left, right = pair
    receiving = asyncio.create_task(receive_all(right))
    sent = await asyncio.get_running_loop().sock_sendfile(left, *args, **options)
    left.close()
    return sent, await receiving


async def test_whole_file(pair, file):
    assert await exchange(pair, file) == (len(DATA), DATA)
    assert file.tell() == len(DATA)


async def test_offset_and_count(pair, file):
    assert await exchange(pair, file, 1000, 2000) == (2000, DATA[1000:3000])
    assert file.tell() == 3000


async def test_count_beyond_the_end(pair, file):
    assert await exchange(pair, file, len(DATA) - 10, 1000) == (10, DATA[-10:])
    assert await asyncio.sleep(0, file.tell()) == len(DATA)


@pytest.mark.parametrize("count", [2**62, 2**63 - 1])
async def test_count_beyond_all_sizes(pair, file, count):
    assert await exchange(pair, file, len(DATA) - 10, count) == (10, DATA[-10:])


@pytest.mark.asyncio_lacks("the position stays where it was", "<3.14")
async def test_offset_at_and_beyond_the_end(file):
    loop = asyncio.get_running_loop()
    for offset in (len(DATA), len(DATA) + 1000):
        with socket_pair() as (left, _):
            file.seek(5)
            assert await loop.sock_sendfile(left, file, offset) == 0
            assert file.tell() == offset


async def test_empty_file(pair):
    with tempfile.TemporaryFile() as empty:
        assert await exchange(pair, empty) == (0, b"")


async def test_what_was_sent_before_and_after_keeps_its_place(pair, file):
    loop = asyncio.get_running_loop()
    left, right = pair
    receiving = asyncio.create_task(receive_all(right))
    await loop.sock_sendall(left, b"before")
    await loop.sock_sendfile(left, file)
    await loop.sock_sendall(left, b"after")
    left.close()
    assert await receiving == b"before" + DATA + b"after"


async def test_large_file_through_a_slow_peer(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    size = 40 << 20
    with tempfile.TemporaryFile() as large:
        for index in range(40):
            large.write(bytes([index]) * (1 << 20))
        sending = asyncio.create_task(loop.sock_sendfile(left, large))
        await turns(20)
        assert not sending.done()
        received = await receive_exactly(right, size)
        assert await sending == size
        assert large.tell() == size
    assert [received[index << 20] for index in range(40)] == list(range(40))
    assert received[: 1 << 20] == bytes(1 << 20)


async def test_others_go_on_meanwhile(pair, large):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    sent, received = await exchange(pair, large)
    ticking.cancel()
    assert (sent, len(received)) == (LARGE, LARGE)
    assert ticks > 20


async def test_file_that_is_truncated_while_it_is_sent(pair, large):
    left, right = pair
    sending = await stalled(asyncio.get_running_loop().sock_sendfile(left, large))
    large.truncate(0)
    receiving = asyncio.create_task(receive_all(right))
    sent = await sending
    left.close()
    assert len(await receiving) == sent < LARGE
    assert large.tell() == sent


async def test_file_that_grows_while_it_is_sent_is_sent_to_its_new_end(pair, large):
    left, right = pair
    sending = await stalled(asyncio.get_running_loop().sock_sendfile(left, large))
    large.truncate(LARGE + 1000)
    await receive_exactly(right, LARGE + 1000)
    assert await sending == LARGE + 1000


# ---------------------------------------------------------------- what ends it early


@pytest.mark.asyncio_lacks("the position stays where it was")
async def test_cancelling_leaves_the_position_behind_what_was_sent(pair, large):
    left, right = pair
    await cancel(await stalled(asyncio.get_running_loop().sock_sendfile(left, large)))
    left.close()
    assert 0 < large.tell() == len(await receive_all(right))


async def test_socket_can_be_used_after_cancelling(pair, large):
    loop = asyncio.get_running_loop()
    left, right = pair
    await cancel(await stalled(loop.sock_sendfile(left, large)))
    receiving = asyncio.create_task(receive_all(right))
    await loop.sock_sendall(left, b"after")
    left.close()
    assert (await receiving).endswith(b"after")


async def test_peer_that_goes_away(pair, large):
    left, right = pair
    sending = await stalled(asyncio.get_running_loop().sock_sendfile(left, large))
    right.close()
    with pytest.raises(ConnectionError):
        await sending
    assert 0 < large.tell() < LARGE


async def test_peer_that_is_gone_already(file):
    with socket_pair() as (left, right):
        right.close()
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.SendfileNotAvailableError, match="call failed"):
            await loop.sock_sendfile(left, file, fallback=False)
        with pytest.raises(BrokenPipeError):
            await loop.sock_sendfile(left, file)


async def test_file_that_is_closed_meanwhile_sends_nothing_of_another(sabio, pair, large):
    left, right = pair
    sending = await stalled(asyncio.get_running_loop().sock_sendfile(left, large))
    number = large.fileno()
    large.close()
    with tempfile.TemporaryFile() as other:
        assert other.fileno() == number
        other.write(b"x" * LARGE)
        other.seek(7)
        receiving = asyncio.create_task(receive_all(right))
        with pytest.raises(ValueError, match="closed file"):
            await sending
        assert other.tell() == 7
        left.close()
        assert set(await receiving) == {0}


async def test_socket_that_is_closed_already(file):
    left, right = socket.socketpair()
    right.close()
    left.setblocking(False)
    left.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        await asyncio.get_running_loop().sock_sendfile(left, file)


async def test_blocking_socket_keeps_nobody_waiting(sabio, file):
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        fill_up = socket.socket(fileno=os.dup(left.fileno()))
        with fill_up:
            fill_up.setblocking(False)
            filled = fill(fill_up)
            left.setblocking(True)
            sending = asyncio.create_task(asyncio.get_running_loop().sock_sendfile(left, file))
            await turns(10)
            assert not sending.done()
            received = await receive_exactly(right, filled + len(DATA))
            assert await sending == len(DATA)
            assert received[filled:] == DATA
