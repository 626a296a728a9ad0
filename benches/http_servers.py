"""The servers of the HTTP rows: uvicorn and aiohttp with the smallest application each can have.

Both answer a GET with its target, as the load generator demands. They are started by `serve.py`, in which
the names below are the names of the servers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from tls_servers import LOCALHOST

if TYPE_CHECKING:
    from serve import Started

HOST = "127.0.0.1"

Message = MutableMapping[str, Any]


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The ASGI application: head and body in two messages, as every framework sends them."""
    body = scope["raw_path"]
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def uvicorn(started: Started) -> None:
    """The server of uvicorn, with httptools and without what it can be run without."""
    await _uvicorn(started)


async def uvicorn_tls(started: Started) -> None:
    """The same over TLS."""
    await _uvicorn(started, ssl_certfile=str(LOCALHOST))


async def _uvicorn(started: Started, **options: Any) -> None:
    from uvicorn import Config, Server

    class Announcing(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started(self.servers[0].sockets[0].getsockname()[1])

    config = Config(
        application,
        host=HOST,
        port=0,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        **options,
    )
    await Announcing(config).serve()


async def aiohttp(started: Started) -> None:
    """The server of aiohttp, with one route."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=request.raw_path.encode("ascii"))

    app = web.Application()
    app.router.add_get("/{target:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    started(runner.addresses[0][1])
    await asyncio.Event().wait()
