"""The server of the HTTPS row, and the certificate that all rows over TLS use.

`localhost.pem` holds a self-signed certificate for 127.0.0.1 with an RSA key of 2,048 bits, made for these
benchmarks and worth nothing elsewhere. The server is started by `serve.py`.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_servers import HOST, SmallestHttp

if TYPE_CHECKING:
    from serve import Started

LOCALHOST = Path(__file__).with_name("localhost.pem")


def server_context() -> ssl.SSLContext:
    """A server's context as uvicorn makes it: the library's own choice of protocol and cipher."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOCALHOST)
    return context


def client_context() -> ssl.SSLContext:
    """A client's context that trusts the benchmarks' certificate, and checks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(LOCALHOST)
    return context


async def https(started: Started) -> None:
    """Answers each GET with its target, over TLS."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(SmallestHttp, HOST, 0, ssl=server_context())
    started(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()
