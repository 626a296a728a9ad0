"""A peer of a TLS connection that does what a test says: TLS by hand over a plain socket."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from tests.support.certificates import client_context, server_context
from tests.support.net import tcp_pair
from tests.support.protocols import Recorder


async def peers(factory=Recorder, **options):
    """A TLS client on a socket pair and the plain socket at the other end, where a test plays the server."""
    left, right = tcp_pair()
    loop = asyncio.get_running_loop()
    connecting = asyncio.ensure_future(
        loop.create_connection(
            factory, sock=left, ssl=client_context(), server_hostname="localhost", **options
        )
    )
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context().wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            server.do_handshake()
            break
        except ssl.SSLWantReadError:
            if outgoing.pending:
                await loop.sock_sendall(right, outgoing.read())
            incoming.write(await loop.sock_recv(right, 100_000))
    await loop.sock_sendall(right, outgoing.read())
    transport, protocol = await connecting
    return transport, protocol, Peer(right, server, incoming, outgoing)


class Peer:
    """The server's side, by hand."""

    def __init__(self, sock, ssl_object, incoming, outgoing):
        self.sock, self.ssl_object, self.incoming, self.outgoing = sock, ssl_object, incoming, outgoing

    async def send(self, data=b""):
        if data:
            self.ssl_object.write(data)
        await asyncio.get_running_loop().sock_sendall(self.sock, self.outgoing.read())

    async def receive(self):
        """Decrypted data; empty after close_notify."""
        while True:
            try:
                return self.ssl_object.read()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 100_000)
                if not data:
                    raise EOFError from None
                self.incoming.write(data)

    async def say_goodbye(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl_object.unwrap()
        await self.send()
