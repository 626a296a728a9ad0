"""Descriptor numbers are used again at once; nothing of one connection may reach the next.

Two things must be impossible: an answer that is written to a connection which has got the number of a closed one, and
a cancelled connect that leaves its number registered with the poller.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

CONNECTIONS = 4_000
CONNECTS = 600


class SlowAnswer(asyncio.Protocol):
    """Answers each request with itself, but late: often when its connection is long gone."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= 8:
            request, self.received = self.received[:8], self.received[8:]
            delay = self.generator.choice((0, 0, 0.0005, 0.002))
            asyncio.get_running_loop().call_later(delay, self.answer, request)

    def answer(self, request: bytes) -> None:
        # After the connection is lost this must go nowhere at all.
        if not self.transport.is_closing() or self.generator.random() < 0.5:
            self.transport.write(request * 4)
            if self.generator.random() < 0.2:
                self.transport.abort()


async def one_client(number: int, port: int, generator: random.Random) -> int:
    """Ask with a number of its own, often leave before the answer; count the answers, all of which must be ours."""
    request = number.to_bytes(8, "big")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = 0
    try:
        writer.write(request)
        if generator.random() < 0.4:
            if generator.random() < 0.5:
                await asyncio.sleep(0)
            writer.transport.abort()
            return 0
        while answers < 4:
            answer = await reader.readexactly(8)
            assert answer == request, f"connection {number} got the answer to {int.from_bytes(answer, 'big')}"
            answers += 1
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
    return answers


@pytest.mark.timeout(60)
async def test_no_answer_reaches_a_connection_that_reused_a_descriptor() -> None:
    generator = random.Random(4)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SlowAnswer(generator), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    numbers = iter(range(CONNECTIONS))
    answered = 0

    async def worker() -> None:
        nonlocal answered
        for number in numbers:
            answers = await one_client(number, port, generator)
            answered += answers

    await asyncio.gather(*[worker() for _ in range(40)])
    server.close()
    await server.wait_closed()
    # Let the last late answers find their connections gone.
    await asyncio.sleep(0.05)
    assert answered > CONNECTIONS


def registered_with_pollers() -> Iterator[int]:
    """The descriptors that this process has registered with any epoll object."""
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("tfd:"):
                yield int(line.split()[1])


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port that takes no further connection: a connect waits for ever."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    yield port
    for filler in fillers:
        filler.close()
    listener.close()


@pytest.mark.timeout(60)
async def test_a_cancelled_connect_leaves_nothing_registered(full_backlog: int) -> None:
    loop = asyncio.get_running_loop()
    before = sorted(os.listdir("/proc/self/fd"))
    watched = sorted(registered_with_pollers())
    generator = random.Random(5)

    async def connect() -> None:
        await loop.create_connection(asyncio.Protocol, "127.0.0.1", full_backlog)

    for _ in range(CONNECTS // 20):
        tasks = [loop.create_task(connect()) for _ in range(20)]
        await asyncio.sleep(generator.choice((0, 0, 0.001)))
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results
        # The numbers are free again: a pair of sockets gets them and must work.
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        await loop.sock_sendall(left, b"ping")
        assert await loop.sock_recv(right, 10) == b"ping"
        left.close()
        right.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert sorted(registered_with_pollers()) == watched


@pytest.mark.timeout(60)
def test_a_closed_loop_leaves_nothing_registered(sabio: ModuleType) -> None:
    before = sorted(registered_with_pollers())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transports = [
            (await loop.create_connection(asyncio.Protocol, "127.0.0.1", port))[0] for _ in range(50)
        ]
        for transport in transports[::2]:
            transport.abort()
        for transport in transports[1::2]:
            transport.close()
        server.close()
        await asyncio.sleep(0.02)

    for _ in range(5):
        sabio.run(main())
    assert sorted(registered_with_pollers()) == before
