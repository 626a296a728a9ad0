"""Pipes as file objects, and protocols connected to them."""

from __future__ import annotations

import asyncio
import io
import os
from typing import Any

from tests.support.protocols import Recorder


def pipe() -> tuple[io.FileIO, io.FileIO]:
    """A new pipe: the end to read from and the end to write to, unbuffered."""
    reader, writer = os.pipe()
    return io.FileIO(reader, "rb"), io.FileIO(writer, "wb")


async def reading(file: Any, factory: Any = Recorder) -> tuple[Any, Any]:
    """Connect a protocol to what it reads from."""
    return await asyncio.get_running_loop().connect_read_pipe(factory, file)


async def writing(file: Any, factory: Any = Recorder) -> tuple[Any, Any]:
    """Connect a protocol to what it writes to."""
    return await asyncio.get_running_loop().connect_write_pipe(factory, file)


def fill(writer: Any) -> int:
    """Write to a pipe until it takes no more; how many bytes it took."""
    os.set_blocking(writer.fileno(), False)
    count = 0
    while True:
        try:
            count += os.write(writer.fileno(), bytes(4096))
        except BlockingIOError:
            return count


def drain(reader: Any) -> bytes:
    """Everything that a pipe holds."""
    os.set_blocking(reader.fileno(), False)
    found = b""
    while True:
        try:
            piece = os.read(reader.fileno(), 1 << 20)
        except BlockingIOError:
            return found
        if not piece:
            return found
        found += piece
