"""TLS connections for tests: both sides on the loop under test, or a blocking peer in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.support.certificates import client_context, server_context
from tests.support.net import HOST
from tests.support.protocols import Recorder


class Served:
    """A server with TLS, and the protocols that it has made."""

    def __init__(self, server: asyncio.Server, protocols: list[Any]) -> None:
        self.server = server
        self.protocols = protocols
        self.address = server.sockets[0].getsockname()

    async def connect(self, factory: Callable[[], Any] = Recorder, **options: Any) -> tuple[Any, Any]:
        """A client of the server: transport and protocol."""
        options = {"ssl": client_context(), "server_hostname": "localhost", **options}
        loop = asyncio.get_running_loop()
        return await loop.create_connection(factory, *self.address[:2], **options)


@contextlib.asynccontextmanager
async def serving(
    factory: Callable[[], Any] = Recorder, context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Served]:
    """Serve with TLS; at the end the server and all of its connections are closed."""
    protocols: list[Any] = []

    def make() -> Any:
        protocols.append(factory())
        return protocols[-1]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, HOST, 0, ssl=context or server_context(), **options)
    try:
        yield Served(server, protocols)
    finally:
        server.close()
        for protocol in protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
        await server.wait_closed()


def blocking_client(
    address: Any, context: ssl.SSLContext | None = None, name: str = "localhost"
) -> ssl.SSLSocket:
    """A blocking client of Python's own; for a thread."""
    sock = socket.create_connection(address[:2], timeout=10)
    try:
        return (context or client_context()).wrap_socket(sock, server_hostname=name)
    except BaseException:
        sock.close()
        raise


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run a blocking peer in a thread."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)
