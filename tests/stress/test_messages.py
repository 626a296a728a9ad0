"""A million messages over many connections, each checked: none lost, none doubled, none on the wrong connection."""

from __future__ import annotations

import asyncio
import struct

import pytest

CONNECTIONS = 64
MESSAGES = 1_000_000
BATCH = 40
MESSAGE = struct.Struct(">II")


class Echo(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # In pieces, so that what one callback writes in several calls is corked, split and joined.
        middle = len(data) // 3
        self.transport.write(data[:middle])
        self.transport.writelines([data[middle : 2 * middle], data[2 * middle :]])

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


class Client(asyncio.Protocol):
    """Sends numbered messages with its own name and checks what comes back, in order."""

    def __init__(self, name: int, count: int, done: asyncio.Future[None]) -> None:
        self.name = name
        self.count = count
        self.done = done
        self.sent = 0
        self.checked = 0
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        last = min(self.sent + BATCH, self.count)
        self.transport.write(b"".join(MESSAGE.pack(self.name, number) for number in range(self.sent, last)))
        self.sent = last

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        whole = len(data) - len(data) % MESSAGE.size
        for name, number in MESSAGE.iter_unpack(data[:whole]):
            if (name, number) != (self.name, self.checked):
                error = f"connection {self.name} wants message {self.checked}, got {number} of {name}"
                self.done.set_exception(AssertionError(error))
                self.transport.abort()
                return
            self.checked += 1
        self.rest = data[whole:]
        if self.checked == self.count:
            self.done.set_result(None)
            self.transport.close()
        elif self.checked == self.sent:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or AssertionError(f"connection {self.name} ended early"))


@pytest.mark.timeout(60)
def test_a_million_messages_reach_their_own_connection(
    loop: asyncio.AbstractEventLoop, loop_name: str
) -> None:
    # asyncio takes longer for the same; a tenth shows that the body is right.
    count = (MESSAGES if loop_name == "sabio" else MESSAGES // 10) // CONNECTIONS

    async def main() -> int:
        echoes: list[Echo] = []

        def echo() -> Echo:
            echoes.append(Echo())
            return echoes[-1]

        server = await loop.create_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        finished = [loop.create_future() for _ in range(CONNECTIONS)]
        clients = []
        for name, done in enumerate(finished):
            _, client = await loop.create_connection(
                lambda name=name, done=done: Client(name, count, done), "127.0.0.1", port
            )
            clients.append(client)
        await asyncio.gather(*finished)
        server.close()
        await server.wait_closed()
        # Before 3.12.1 a closed server does not wait for its connections.
        await asyncio.gather(*(echo.lost for echo in echoes))
        return sum(client.checked for client in clients)

    assert loop.run_until_complete(main()) == count * CONNECTIONS
