"""The two processes of a soak: the server, and the clients that keep its connections idle, busy and new.

A message is a header and random bytes; its answer is the message itself, and every byte of it is compared. The header
tells which connection and which message it is, so that an answer that belongs to another is found out, and how the
server shall end the connection, if it shall.

    python scripts/soak_peers.py serve --kind TLS --loop sabio
    python scripts/soak_peers.py ask --kind TLS --loop sabio --idle 10000 --busy 1000 --ports 40001,40002

Both read commands from standard input, one a line, and answer each with a line of JSON; they end with their input.
Called by `soak.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import importlib
import itertools
import json
import random
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

T = TypeVar("T")

KINDS = ("TCP", "streams", "TLS")
#: Self-signed, for 127.0.0.1, and worth nothing elsewhere.
CERTIFICATE = Path(__file__).resolve().parent.parent / "benches" / "localhost.pem"
#: A connection that its client has closed keeps its ports for a minute; the more addresses, the more ports.
HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 9))

#: Connection, message, bytes that follow, and what the server does then.
HEADER = struct.Struct("!QQIB")
STAY, CLOSE, ABORT = range(3)

#: The greatest number of bytes that follow a header, and how often it is drawn.
SIZES, WEIGHTS = (200, 4_000, 64_000, 256_000), (60, 30, 9, 1)
#: A busy connection is replaced after so many messages at most.
MESSAGES = 200
#: As many idle connections have one task that replaces them, one after the other.
IDLE_PER_KEEPER = 100
OPENING_AT_ONCE = 200
#: Seconds within which everything that was asked must be answered.
PATIENCE = 180.0


# ---------------------------------------------------------------- the server


class Open:
    """How many connections there are at this moment."""

    def __init__(self) -> None:
        self.count = 0


class Answering(asyncio.Protocol):
    """Sends every message back when it is whole."""

    def __init__(self, connections: Open) -> None:
        self.connections = connections
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connections.count += 1

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        while len(self.received) >= HEADER.size:
            _, _, length, ending = HEADER.unpack_from(self.received)
            end = HEADER.size + length
            if len(self.received) < end:
                return
            message, self.received = self.received[:end], self.received[end:]
            if ending == ABORT:
                self.transport.abort()
                return
            self.transport.write(message)
            if ending == CLOSE:
                self.transport.close()
                return

    def connection_lost(self, error: Exception | None) -> None:
        self.connections.count -= 1


def answer_streams(connections: Open) -> Callable[..., Awaitable[None]]:
    """A handler for `start_server` that does the same."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.count += 1
        try:
            while True:
                header = await reader.readexactly(HEADER.size)
                _, _, length, ending = HEADER.unpack(header)
                message = header + await reader.readexactly(length)
                if ending == ABORT:
                    writer.transport.abort()
                    return
                writer.write(message)
                await writer.drain()
                if ending == CLOSE:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client has ended it.
        finally:
            connections.count -= 1
            writer.close()

    return answer


async def serve(options: argparse.Namespace) -> None:
    """Serves until the commands end. The first line that it prints has the ports, one for each of `HOSTS`."""
    loop = asyncio.get_running_loop()
    connections = Open()
    context = None
    if options.kind == "TLS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    servers: list[asyncio.Server] = []
    for host in HOSTS:
        if options.kind == "streams":
            handler = answer_streams(connections)
            servers.append(await asyncio.start_server(handler, host, 0, backlog=4096))
        else:
            make = lambda: Answering(connections)  # noqa: E731
            servers.append(await loop.create_server(make, host, 0, ssl=context, backlog=4096))
    say(ports=[server.sockets[0].getsockname()[1] for server in servers])
    async for command in commands():
        if command == "look":
            say(open=connections.count)
        elif command == "weigh":
            say(**weigh())
        elif command == "trim":
            trim()
            say()


# ---------------------------------------------------------------- the clients


class Wrong(Exception):
    """An answer that is not what it has to be."""


class Peer(Protocol):
    """A client's side of one connection."""

    async def exchange(self, message: bytes, size: int) -> bytes:
        """Sends a message and gives what comes, `size` bytes or all that came before the end."""

    async def end(self, abort: bool, half: bool) -> None:
        """Closes the connection and waits for its end; `half` closes the sending half first, where there is one."""


class ProtocolPeer(asyncio.Protocol):
    """Of a transport."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.missing = 0
        self.enough: asyncio.Future[None] | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        self.missing -= len(data)
        if self.missing <= 0:
            self.wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.wake()
        self.lost.set_result(None)

    def wake(self) -> None:
        if self.enough is not None and not self.enough.done():
            self.enough.set_result(None)

    async def exchange(self, message: bytes, size: int) -> bytes:
        self.missing += size
        self.transport.write(message)
        if not self.lost.done() and size > 0:
            self.enough = asyncio.get_running_loop().create_future()
            await self.enough
            self.enough = None
        elif size == 0:
            await self.lost
        answer = b"".join(self.received)
        self.received = []
        return answer

    async def end(self, abort: bool, half: bool) -> None:
        if abort:
            self.transport.abort()
        elif half and self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        await self.lost


class StreamPeer:
    """Of a reader and a writer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def exchange(self, message: bytes, size: int) -> bytes:
        try:
            self.writer.write(message)
            await self.writer.drain()
            return await self.reader.readexactly(size) if size else await self.reader.read()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionError:
            return b""

    async def end(self, abort: bool, half: bool) -> None:
        if abort:
            self.writer.transport.abort()
        elif half:
            self.writer.write_eof()
            if await self.reader.read():
                raise Wrong("something came that nobody has asked for")
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


class Clients:
    """All the connections: idle ones in `idle`, and as many busy ones as there are tasks for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.kind: str = options.kind
        self.addresses = itertools.cycle(zip(HOSTS, map(int, options.ports.split(",")), strict=True))
        self.context = None
        if self.kind == "TLS":
            self.context = ssl.create_default_context(cafile=CERTIFICATE)
        self.random = random.Random(options.seed)
        self.block = self.random.randbytes(max(SIZES) * 2)
        self.numbers = itertools.count(1)
        self.idle: list[Connection | None] = [None] * options.idle
        self.busy: int = options.busy
        #: Whether there may be traffic, and how many connections are in the middle of some.
        self.going = asyncio.Event()
        self.under_way = 0
        self.answered = asyncio.Event()
        self.answers = self.bytes = 0
        self.replaced_idle = self.replaced_busy = 0

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Opens all connections, and leaves the traffic to tasks of the group."""
        places = iter(range(len(self.idle)))

        async def fill() -> None:
            for place in places:
                self.idle[place] = await Connection.open(self)

        async with asyncio.TaskGroup() as filling:
            for _ in range(OPENING_AT_ONCE):
                filling.create_task(fill())
        self.going.set()
        for _ in range(self.busy):
            group.create_task(self.keep_busy())
        keepers = -(-len(self.idle) // IDLE_PER_KEEPER)
        for first in range(keepers):
            group.create_task(self.keep_new(range(first, len(self.idle), keepers)))

    async def keep_busy(self) -> None:
        """One connection after the other that always waits for an answer."""
        connection = await self.unless_quiet(lambda: Connection.open(self))
        while True:
            for _ in range(self.random.randrange(1, MESSAGES)):
                await self.unless_quiet(connection.ask)
            connection = await self.unless_quiet(connection.replace)
            self.replaced_busy += 1

    async def keep_new(self, places: range) -> None:
        """Uses and replaces idle connections, one after the other."""
        while True:
            for place in places:
                connection = self.idle[place]
                assert connection is not None
                self.idle[place] = await self.unless_quiet(connection.replace)
                self.replaced_idle += 1

    async def unless_quiet(self, act: Callable[[], Awaitable[T]]) -> T:
        """Waits until there may be traffic."""
        await self.going.wait()
        self.under_way += 1
        self.answered.clear()
        try:
            return await act()
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.answered.set()

    async def quiet(self) -> None:
        """Stops the traffic, and returns when everything that was asked is answered."""
        self.going.clear()
        async with asyncio.timeout(PATIENCE):
            await self.answered.wait()


class Connection:
    """A connection, its number and that of its last message."""

    __slots__ = ("clients", "message", "number", "peer")

    def __init__(self, clients: Clients, peer: Peer) -> None:
        self.clients, self.peer = clients, peer
        self.number = next(clients.numbers)
        self.message = 0

    @classmethod
    async def open(cls, clients: Clients) -> Connection:
        """Opens one, and sees that it is answered."""
        host, port = next(clients.addresses)
        name = "127.0.0.1" if clients.context else None
        peer: Peer
        if clients.kind == "streams":
            peer = StreamPeer(*await asyncio.open_connection(host, port))
        else:
            _, peer = await asyncio.get_running_loop().create_connection(
                ProtocolPeer, host, port, ssl=clients.context, server_hostname=name
            )
        connection = cls(clients, peer)
        await connection.ask()
        return connection

    def make(self, length: int, ending: int) -> bytes:
        """The next message."""
        self.message += 1
        block = self.clients.block
        start = self.clients.random.randrange(len(block) - length)
        return HEADER.pack(self.number, self.message, length, ending) + block[start : start + length]

    async def ask(self, ending: int = STAY) -> None:
        """Sends a message and checks the answer. Raises Wrong."""
        clients = self.clients
        limit = clients.random.choices(SIZES, WEIGHTS)[0]
        message = self.make(clients.random.randrange(limit), ending)
        answer = await self.peer.exchange(message, len(message))
        if answer != message:
            raise Wrong(self.describe(message, answer))
        clients.answers += 1
        clients.bytes += len(answer)

    async def replace(self) -> Connection:
        """Ends this one in any of the ways that there are, and opens another in its place."""
        way = self.clients.random.randrange(5)
        if way == 0:
            await self.ask(CLOSE)
        elif way == 1:
            answer = await self.peer.exchange(self.make(100, ABORT), 0)
            if answer:
                raise Wrong(self.describe(b"", answer))
        else:
            await self.ask()
        await self.peer.end(abort=way == 2, half=way == 3)
        return await self.open(self.clients)

    def describe(self, expected: bytes, answer: bytes) -> str:
        """Where an answer differs from what it has to be."""
        pairs = zip(expected, answer, strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), len(answer))
        return (
            f"connection {self.number}, message {self.message}: {len(answer)} bytes came where {len(expected)} "
            f"were expected; the first that differs is number {same}"
        )


async def ask(options: argparse.Namespace) -> None:
    """Opens the connections, and keeps them busy and new until the commands end."""
    clients = Clients(options)

    async def listen(tasks: asyncio.TaskGroup) -> None:
        await clients.start(tasks)
        say(open=len(clients.idle) + clients.busy)
        async for command in commands():
            if command == "look":
                say(
                    answers=clients.answers,
                    bytes=clients.bytes,
                    idle=clients.replaced_idle,
                    busy=clients.replaced_busy,
                )
            elif command == "quiet":
                await clients.quiet()
                say()
            elif command == "weigh":
                say(**weigh())
            elif command == "trim":
                trim()
                say()
            elif command == "go on":
                clients.going.set()
                say()
        raise asyncio.CancelledError

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen(tasks))
        await asyncio.wait([listening])
        raise asyncio.CancelledError


# ---------------------------------------------------------------- both


def say(**values: object) -> None:
    """Answers a command."""
    print(json.dumps(values), flush=True)


async def commands() -> AsyncIterator[str]:
    """The lines of standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line.decode().strip()


class Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library, in bytes; see mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def weigh() -> dict[str, int | None]:
    """What this process has in use: Python's blocks of memory, the collector's objects, and bytes of malloc(3).

    `free` is what malloc(3) holds beside them. The last two are None where the C library cannot tell.
    """
    for _ in range(3):
        gc.collect()
    heap = free = None
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = Mallinfo2
        info = mallinfo()
        heap, free = info.uordblks + info.hblkhd, info.fordblks
    return {"blocks": sys.getallocatedblocks(), "objects": len(gc.get_objects()), "heap": heap, "free": free}


def trim() -> None:
    """Gives the pages back to the system in which malloc(3) has nothing; see malloc_trim(3)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def main() -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "ask"])
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--loop", default="sabio")
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--ports", default="")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.loop == "asyncio":
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    else:
        package = importlib.import_module(options.loop)
        factory = package.new_event_loop
        if options.loop == "sabio":
            package.install()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run((serve if options.role == "serve" else ask)(options))


if __name__ == "__main__":
    main()
