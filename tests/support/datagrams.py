"""Datagram endpoints under test, and protocols that write down what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.net import HOST
from tests.support.waiting import turns, until


class Recorder(asyncio.DatagramProtocol):
    """Keeps what it is told; `lost` is done once the endpoint is gone."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.paused: list[bool] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Echo(Recorder):
    """Sends back what comes."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


async def endpoint(protocol: Callable[[], Any] = Recorder, **options: Any) -> tuple[Any, Any]:
    """A transport and its protocol; without options, on a free port of this machine."""
    options = options or {"local_addr": (HOST, 0)}
    return await asyncio.get_running_loop().create_datagram_endpoint(protocol, **options)


async def close(*transports: Any) -> None:
    """Close endpoints and wait for their end."""
    for transport in transports:
        transport.close()
    for transport in transports:
        await until(lambda transport=transport: transport.get_protocol() is None or transport.is_closing())
    await turns(2)


def address_of(transport: Any) -> Any:
    """The address at which an endpoint receives."""
    return transport.get_extra_info("sockname")
