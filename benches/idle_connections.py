"""What the rows about idle connections weigh: a server's side of many of them, or a client's.

The weighed process holds one side and a process of plain blocking sockets the other, so that each side is weighed by
itself. Every connection is used once, for a small message and its answer, before it falls idle. Called by
`bench_memory.py`, which starts this script for both processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import loops
import memory
import tls_servers
from rounds import Row, Sample, run_script
from tcp_servers import HOST, Echo

OTHER_SIDE = "--other-side"
MESSAGE = b"a message and its answer"
#: Made and kept before anything is weighed, so that what is set up once is there.
BEFORE = 100
TIME_LIMIT = 120.0


@dataclass(frozen=True)
class Kind:
    """A kind of connection, weighed as `count` of them."""

    name: str
    question: str
    count: int
    tls: bool = False
    streams: bool = False
    client: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("Protocol", "a server's connection with the smallest Protocol", 10_000),
        Kind(
            "streams", "a server's connection that a task reads from by a StreamReader", 10_000, streams=True
        ),
        Kind("TLS, server", "a server's connection over TLS with the smallest Protocol", 1_000, tls=True),
        Kind("TLS, client", "a client's connection over TLS", 1_000, tls=True, client=True),
    )
}


def rows(beside: tuple[str, ...]) -> list[Row]:
    """A row for each kind."""
    return [
        Row(
            name=kind.name,
            question=kind.question,
            unit="bytes",
            higher_is_better=False,
            measure=partial(_in_fresh_process, kind.name),
            beside=beside,
        )
        for kind in KINDS.values()
    ]


def _in_fresh_process(kind: str, loop: str) -> Sample:
    printed = run_script([__file__, kind, loop], TIME_LIMIT)
    return Sample(printed.pop("value"), printed)


def main() -> None:
    """What a child does: weighs one kind on one loop, or is the other side."""
    parser = argparse.ArgumentParser()
    parser.add_argument(OTHER_SIDE, action="store_true")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("loop", choices=loops.NAMES)
    child = parser.parse_args()
    kind = KINDS[child.kind]
    _allow_descriptors(BEFORE + kind.count + 100)
    if child.other_side:
        _accept(kind) if kind.client else _connect(kind)
        return
    loops.install(child.loop)
    other = [sys.executable, __file__, OTHER_SIDE, kind.name, "asyncio"]
    with (
        subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        asyncio.Runner(loop_factory=loops.factory(child.loop)) as runner,
    ):
        try:
            print(json.dumps(runner.run(_weigh(kind, process))))
        finally:
            process.kill()


def _allow_descriptors(count: int) -> None:
    """Raises the limit to so many open files, if the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _weigh(kind: Kind, other: subprocess.Popen[bytes]) -> dict[str, float]:
    """The bytes by which this process grows for each connection."""
    side = ClientSide(kind, other) if kind.client else ServerSide(kind, other)
    await side.begin()
    await side.open(BEFORE)
    filling = memory.fill()
    before = memory.anonymous_bytes()
    await side.open(kind.count)
    grown = memory.anonymous_bytes() - before
    del filling
    return {"value": grown / kind.count, "count": kind.count, "grown_bytes": grown}


class Side:
    """What both sides share: how the other process is told and listened to."""

    def __init__(self, kind: Kind, other: subprocess.Popen[bytes]) -> None:
        self.kind = kind
        self.other = other
        self.loop = asyncio.get_running_loop()
        self.kept: list[object] = []

    def tell(self, number: int) -> None:
        assert self.other.stdin is not None
        self.other.stdin.write(b"%d\n" % number)
        self.other.stdin.flush()

    async def hear(self) -> int:
        assert self.other.stdout is not None
        line = await self.loop.run_in_executor(None, self.other.stdout.readline)
        return int(line)


class ServerSide(Side):
    """The weighed process serves."""

    async def begin(self) -> None:
        context = tls_servers.server_context() if self.kind.tls else None
        if self.kind.streams:
            server: Any = await asyncio.start_server(_echo, HOST, 0, ssl=context, backlog=1024)
        else:
            server = await self.loop.create_server(Echo, HOST, 0, ssl=context, backlog=1024)
        self.kept.append(server)
        self.tell(server.sockets[0].getsockname()[1])

    async def open(self, count: int) -> None:
        self.tell(count)
        if await self.hear() != count:
            raise AssertionError("the clients did not get their answers")


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
    writer.close()


class Answered(asyncio.Protocol):
    """Asks once, and notes the answer."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self.answered: Callable[[], None] | None = answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(MESSAGE)

    def data_received(self, data: bytes) -> None:
        if self.answered is not None and data == MESSAGE:
            self.answered()
            self.answered = None


class ClientSide(Side):
    """The weighed process connects."""

    async def begin(self) -> None:
        self.context = tls_servers.client_context()
        self.port = await self.hear()

    async def open(self, count: int) -> None:
        for _ in range(count):
            answer = asyncio.Event()
            made = self.loop.create_connection(
                partial(Answered, answer.set), HOST, self.port, ssl=self.context, server_hostname="localhost"
            )
            self.kept.append(await made)
            await answer.wait()


def _connect(kind: Kind) -> None:
    """The other side of a server: connects as often as it is told, and says when all is done."""
    context = tls_servers.client_context() if kind.tls else None
    port = int(sys.stdin.readline())
    kept = []
    while line := sys.stdin.readline():
        for _ in range(int(line)):
            connection = socket.create_connection((HOST, port))
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname="localhost")
            connection.sendall(MESSAGE)
            if connection.recv(1024) != MESSAGE:
                raise SystemExit("not the answer that was expected")
            kept.append(connection)
        print(int(line), flush=True)


def _accept(kind: Kind) -> None:
    """The other side of a client: answers each connection once."""
    context = tls_servers.server_context() if kind.tls else None
    kept = []
    with socket.create_server((HOST, 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            connection.sendall(connection.recv(1024))
            kept.append(connection)


if __name__ == "__main__":
    main()
