"""Nothing can be written any more: what is behind a pipe is full (asyncio docs, "Transports and Protocols")."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import BinaryIO

import pytest

from tests.support.net import socket_pair
from tests.support.waiting import until


def full_device() -> BinaryIO:
    return open("/dev/full", "wb", buffering=0)


class Writer(asyncio.BaseProtocol):
    def __init__(self) -> None:
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


async def test_a_device_that_is_full_ends_its_transport():
    loop = asyncio.get_running_loop()
    device = full_device()
    transport, protocol = await loop.connect_write_pipe(Writer, device)
    transport.write(b"data")
    transport.write(b"more")
    error = await protocol.lost
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert device.closed
    assert transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    transport.write(b"nobody gets this")


async def test_drain_tells_of_a_device_that_is_full():
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, full_device())
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    writer.write(b"data")
    await until(transport.is_closing)
    with pytest.raises(ConnectionResetError, match=r"^Connection lost$"):
        await writer.drain()
    writer.close()


async def test_a_child_without_room_for_its_output_ends_as_it_likes():
    with open("/dev/full", "wb") as full:
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "echo data; echo status $? >&2", stdout=full, stderr=asyncio.subprocess.PIPE
        )
        _, said = await child.communicate()
    assert said.endswith(b"status 1\n")
    assert child.returncode == 0


async def test_a_file_that_becomes_shorter_is_sent_as_far_as_it_goes(tmp_path):
    loop = asyncio.get_running_loop()
    size = 8 << 20
    with open(tmp_path / "file", "w+b") as file, socket_pair() as (left, right):
        file.truncate(size)
        sending = asyncio.create_task(loop.sock_sendfile(left, file))
        received = len(await loop.sock_recv(right, 1000))
        os.truncate(file.fileno(), 0)
        while not sending.done():
            reading = asyncio.create_task(loop.sock_recv(right, 1 << 20))
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                received += len(reading.result())
            else:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        left.close()
        while data := await loop.sock_recv(right, 1 << 20):
            received += len(data)
        assert sending.result() == received < size
        assert file.tell() == received
