"""What `loop.sock_sendfile()` takes: files of every kind, and its arguments."""

import asyncio
import io
import os
import socket
import tempfile

import pytest

from tests.support.files import DATA, data_file
from tests.support.net import receive_all, socket_pair


@pytest.fixture
def file():
    with data_file() as made:
        yield made


@pytest.fixture
def pair():
    with socket_pair() as made:
        yield made


async def exchange(pair, *args):
    """What `sock_sendfile` returns, and what the peer gets until the socket is closed."""
    left, right = pair
    receiving = asyncio.create_task(receive_all(right))
    sent = await asyncio.get_running_loop().sock_sendfile(left, *args)
    left.close()
    return sent, await receiving


async def test_file_without_a_descriptor_goes_by_the_fallback(pair):
    made = io.BytesIO(DATA)
    assert await exchange(pair, made, 100, 5000) == (5000, DATA[100:5100])
    assert made.tell() == 5100


async def test_file_without_a_descriptor_and_no_fallback(pair):
    loop = asyncio.get_running_loop()
    for made in (io.BytesIO(DATA), object()):
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            await loop.sock_sendfile(pair[0], made, fallback=False)


async def test_large_file_by_the_fallback(pair):
    made = io.BytesIO(DATA * 8)
    assert await exchange(pair, made) == (len(DATA) * 8, DATA * 8)


async def test_closed_file(pair):
    with tempfile.TemporaryFile() as made:
        pass
    with pytest.raises(ValueError, match="closed file"):
        await asyncio.get_running_loop().sock_sendfile(pair[0], made)


async def test_file_of_proc_seems_empty(pair):
    with open("/proc/self/status", "rb") as status:
        assert await exchange(pair, status) == (0, b"")


async def test_count_of_a_file_of_proc(pair):
    with open("/proc/self/status", "rb") as status:
        sent, received = await exchange(pair, status, 0, 20)
        assert (sent, received[:5]) == (20, b"Name:")


@pytest.mark.asyncio_lacks("the error of lseek() comes out", ">=3.14")
async def test_pipe_goes_by_the_fallback(pair):
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as source, open(writer, "wb", buffering=0) as sink:
        sink.write(b"through a pipe")
        made = Unseekable(source)
        assert await exchange(pair, made, 0, 14) == (14, b"through a pipe")


class Unseekable:
    """A pipe that says nothing of seeking, so that only the operating system can."""

    def __init__(self, pipe):
        self.fileno = pipe.fileno
        self.readinto = pipe.readinto


async def test_directory(pair, tmp_path):
    number = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await asyncio.get_running_loop().sock_sendfile(
                pair[0], type("Directory", (), {"fileno": lambda self: number})(), fallback=False
            )
    finally:
        os.close(number)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((0, 0), ValueError, r"count must be a positive integer \(got 0\)"),
        ((0, -1), ValueError, r"count must be a positive integer \(got -1\)"),
        ((0, 1.5), TypeError, r"count must be a positive integer \(got 1.5\)"),
        ((-1, None), ValueError, r"offset must be a non-negative integer \(got -1\)"),
        (("1", None), TypeError, r"offset must be a non-negative integer \(got '1'\)"),
    ],
)
async def test_numbers_that_make_no_sense(pair, file, args, error, message):
    with pytest.raises(error, match=message):
        await asyncio.get_running_loop().sock_sendfile(pair[0], file, *args)
    assert file.tell() == 0


async def test_text_file(pair, tmp_path):
    path = tmp_path / "text"
    path.write_text("text")
    with path.open() as text, pytest.raises(ValueError, match="binary mode"):
        await asyncio.get_running_loop().sock_sendfile(pair[0], text)


async def test_datagram_socket(file):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="only SOCK_STREAM type sockets are supported"),
    ):
        await asyncio.get_running_loop().sock_sendfile(sock, file)


@pytest.mark.debug_mode
async def test_blocking_socket_in_debug_mode(file):
    left, right = socket.socketpair()
    with left, right, pytest.raises(ValueError, match="must be non-blocking"):
        await asyncio.get_running_loop().sock_sendfile(left, file)
