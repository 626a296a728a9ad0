"""Protocols that write down what happened to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.waiting import until

#: With a `BufferedRecorder` above TLS. Not run: what comes of lost bytes, a hang included, is different each time.
READS_INTO_A_COPY = pytest.mark.asyncio_lacks(
    "TLS reads into a slice of the buffer, which is a copy of a bytearray", run=False
)


class Recorder(asyncio.Protocol):
    """Keeps the calls it got, in order, and the bytes; `lost` is done once the connection is gone."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.calls: list[str] = []
        self.received = bytearray()
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("connection_made")
        self.transport = transport
        self.connected.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self.calls or self.calls[-1] != "data_received":
            self.calls.append("data_received")
        self.received += data

    def eof_received(self) -> bool | None:
        self.calls.append("eof_received")
        return None

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("connection_lost")
        self.lost.set_result(exc)

    async def receive(self, size: int) -> bytes:
        """Wait until `size` bytes have come; all that has come."""
        await until(lambda: len(self.received) >= size)
        return bytes(self.received)


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedRecorder(asyncio.BufferedProtocol):
    """A `Recorder` that is read into; `size` is that of the buffer it offers."""

    def __init__(self, size: int = 65536) -> None:
        self.transport: Any = None
        self.buffer = bytearray(size)
        self.received = bytearray()
        self.hints: list[int] = []
        self.calls: list[str] = []
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("connection_made")
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]

    def eof_received(self) -> bool | None:
        self.calls.append("eof_received")
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("connection_lost")
        self.lost.set_result(exc)

    async def receive(self, size: int) -> bytes:
        """Wait until `size` bytes have come; all that has come."""
        await until(lambda: len(self.received) >= size)
        return bytes(self.received)
