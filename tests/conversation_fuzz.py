"""Random conversations between two transports of one loop: over TCP, Unix sockets and TLS, upgraded once or twice.

Both ends write, pause, change their protocols and their limits, and upgrade when both have said what they had to; a
relay between them may cut everything into other pieces and send them later. In the end one of them closes, ends its
half or gives up. Whatever they do, each protocol hears of things in asyncio's order and gets what the other one wrote:
all of it, unless somebody has closed before it could come, and nothing else.

`tests/test_conversations.py` runs a few of them; `python -m tests.conversation_fuzz --seconds 60` runs new ones, and
`python -m tests.conversation_fuzz --seed 7` one, with each engine of TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support.certificates import client_context, server_context
from tests.support.engines import VARIABLE, available
from tests.support.net import HOST
from tests.support.waiting import turns

#: How long anything may take, in seconds.
LONG = 20.0
#: What a protocol hears, in order: c(onnected), d(ata), p(ause) and r(esume) of writing, e(of), l(ost), and between two
#: of these an u(pgrade), after which a pause of the connection below counts no more.
TURNS = "d*(pd*rd*)*(pd*)?"
HEARD = re.compile(f"c{TURNS}(u{TURNS})*(e(pr)*p?|e(rp)*r?)?l")
SIZES = (1, 10, 100, 5000, 70_000, 400_000)
WAYS = ("tcp", "unix", "tls", "tls over unix")
ENDINGS = ("close", "last words", "half", "paused", "abort", "both", "interrupted")


@dataclass(frozen=True)
class Kind:
    """What kind of a conversation it is; each side acts less than `acts` times before each upgrade and the end."""

    way: str
    upgrades: int
    relayed: bool
    acts: int
    ending: str


def draw(dice: random.Random, with_tls: bool) -> Kind:
    """A kind by chance."""
    return Kind(
        way=dice.choice(WAYS if with_tls else WAYS[:2]),
        upgrades=dice.choice((0, 1, 1, 2)) if with_tls else 0,
        relayed=dice.random() < 0.5,
        acts=dice.choice((3, 15)),
        ending=dice.choice(ENDINGS),
    )


class End:
    """One side of a conversation: what it has said and got, and what its protocols were told."""

    def __init__(self, seed: int, dice: random.Random, is_server: bool) -> None:
        self.dice = dice
        self.is_server = is_server
        # What it says is a stream that can be told from every other, and from itself at another place.
        self.words = random.Random(seed * 2 + is_server)
        self.said = bytearray()
        self.got = bytearray()
        self.heard = ""
        self.faults: list[str] = []
        self.transport: Any = None
        self.protocol: Any = None
        self.wants = True
        self.blocked = False
        self.keeps_open = False
        self.phase = 0
        # Whether it may stop reading whenever it has got something.
        self.moody = True
        self.reason: BaseException | None = None
        self.news = asyncio.Event()

    def make(self) -> Any:
        """A protocol for this side, of one kind or the other."""
        self.protocol = Plain(self) if self.dice.random() < 0.6 else Buffered(self)
        return self.protocol

    def note(self, what: str, protocol: Any) -> None:
        if protocol is not self.protocol:
            self.faults.append(f"{what!r} to a protocol that was replaced")
        if self.heard.endswith("l"):
            self.faults.append(f"{what!r} after connection_lost()")
        if what != "d" or not self.heard.endswith("d"):
            self.heard += what
        self.news.set()

    def receive(self, data: bytes | memoryview, protocol: Any) -> None:
        self.note("d", protocol)
        if not self.wants:
            self.faults.append(f"{len(data)} bytes while reading was paused")
        if not len(data):
            self.faults.append("no data")
        self.got += data
        if self.moody and self.dice.random() < 0.1:
            self.pause()

    @property
    def is_lost(self) -> bool:
        return self.heard.endswith("l")

    async def until(self, condition: Callable[[], object], reading: bool = True) -> None:
        """Waits for something; nobody waits without reading, for the other side may wait for that."""
        async with asyncio.timeout(LONG):
            while not condition():
                if reading and not self.wants:
                    self.resume()
                self.news.clear()
                await self.news.wait()

    def say(self, size: int) -> None:
        data = self.words.randbytes(size)
        self.said += data
        match self.dice.randrange(4):
            case 0:
                cut = self.dice.randrange(size + 1)
                self.transport.writelines([data[:cut], bytearray(data[cut:])])
            case 1:
                cut = self.dice.randrange(size + 1)
                self.transport.write(memoryview(data[:cut]))
                self.transport.write(data[cut:])
            case _:
                self.transport.write(data)

    def pause(self) -> None:
        self.wants = False
        self.transport.pause_reading()

    def resume(self) -> None:
        self.wants = True
        self.transport.resume_reading()

    async def act(self) -> None:
        """Does one thing or another."""
        match self.dice.randrange(9):
            case 0 | 1 | 2:
                self.say(self.dice.choice(SIZES))
            case 3:
                await self.calm()
            case 4:
                await turns(self.dice.randrange(4))
            case 5:
                await asyncio.sleep(self.dice.random() * 0.002)
            case 6:
                self.pause()
            case 7:
                self.resume()
            case 8:
                self.change()

    async def calm(self) -> None:
        """Waits until it may write."""
        await self.until(lambda: not self.blocked)

    def connected(self, transport: Any) -> None:
        """A client has its transport."""

    def change(self) -> None:
        if self.dice.random() < 0.5:
            self.transport.set_write_buffer_limits(self.dice.choice((0, 1, 1000, 100_000)))
        else:
            self.transport.set_protocol(self.make())

    async def upgrade(self) -> None:
        options: dict[str, Any] = (
            {"server_side": True} if self.is_server else {"server_hostname": "localhost"}
        )
        context = server_context() if self.is_server else client_context()
        loop = asyncio.get_running_loop()
        upgraded = await loop.start_tls(self.transport, self.protocol, context, **options)
        # Who gets the data is known now, and not before.
        self.transport = upgraded
        self.blocked = False
        self.heard += "u"


class Plain(asyncio.Protocol):
    """Gets bytes."""

    def __init__(self, end: End) -> None:
        self.end = end

    def connection_made(self, transport: Any) -> None:
        self.end.transport = transport
        self.end.note("c", self)

    def data_received(self, data: bytes) -> None:
        self.end.receive(data, self)

    def eof_received(self) -> bool:
        self.end.note("e", self)
        return self.end.keeps_open

    def pause_writing(self) -> None:
        self.end.blocked = True
        self.end.note("p", self)

    def resume_writing(self) -> None:
        self.end.blocked = False
        self.end.note("r", self)

    def connection_lost(self, error: BaseException | None) -> None:
        self.end.reason = error
        self.end.note("l", self)


class Buffered(asyncio.BufferedProtocol):
    """Lends memory, of odd sizes."""

    connection_made = Plain.connection_made
    eof_received = Plain.eof_received
    pause_writing = Plain.pause_writing
    resume_writing = Plain.resume_writing
    connection_lost = Plain.connection_lost

    def __init__(self, end: End) -> None:
        self.end = end
        self.memory = memoryview(bytearray(end.dice.choice((1000, 16_384, 70_000))))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        self.end.receive(self.memory[:nbytes], self)


class Reading(End):
    """A side that reads and writes by streams."""

    def __init__(self, streams: ModuleType, seed: int, dice: random.Random, is_server: bool) -> None:
        super().__init__(seed, dice, is_server)
        self.streams = streams
        self.writer: Any = None
        self.task: asyncio.Task[None] | None = None

    def make(self) -> Any:
        loop = asyncio.get_running_loop()
        reader = self.streams.StreamReader(limit=self.dice.choice((10, 1000, 65_536)), loop=loop)
        # What start_server() makes, and what open_connection() does.
        connected = self.begin if self.is_server else None
        self.protocol = self.streams.StreamReaderProtocol(reader, connected, loop=loop)
        self.reader = reader
        return self.protocol

    def begin(self, _reader: Any, writer: Any) -> None:
        self.writer = writer
        self.transport = writer.transport
        self.note("c", self.protocol)
        self.task = asyncio.get_running_loop().create_task(self.read())

    def connected(self, transport: Any) -> None:
        writer = self.streams.StreamWriter(transport, self.protocol, self.reader, asyncio.get_running_loop())
        self.begin(self.reader, writer)

    async def read(self) -> None:
        try:
            while data := await self.reader.read(self.dice.choice((1, 100, 10_000, 1_000_000))):
                self.note("d", self.protocol)
                self.got += data
                if self.moody and self.dice.random() < 0.1:
                    await asyncio.sleep(0.001)
            self.note("e", self.protocol)
            if not self.keeps_open:
                self.writer.close()
            await self.writer.wait_closed()
        except OSError as error:
            self.reason = error
        self.note("l", self.protocol)

    def pause(self) -> None:
        # A StreamReader does so itself.
        pass

    def resume(self) -> None:
        pass

    def change(self) -> None:
        self.transport.set_write_buffer_limits(self.dice.choice((0, 1, 1000, 100_000)))

    async def calm(self) -> None:
        await self.writer.drain()

    async def upgrade(self) -> None:
        if self.is_server:
            await self.writer.start_tls(server_context())
        else:
            await self.writer.start_tls(client_context(), server_hostname="localhost")
        self.transport = self.writer.transport
        self.heard += "u"


async def talk(end: End, other: End, kind: Kind) -> None:
    """What one side does until the end begins: acts in each phase, and an upgrade between two."""
    loop = asyncio.get_running_loop()
    for phase in range(kind.upgrades + 1):
        for _ in range(end.dice.randrange(kind.acts)):
            await end.act()
            if end.dice.random() < 0.2:
                loop.call_soon(end.say, 10)
                await turns(1)

        def has_heard_all(phase: int = phase) -> bool:
            return other.phase > phase and len(end.got) == len(other.said)

        if end.is_server:
            await end.until(has_heard_all)
            # The client waits for this, and then says no more in the clear.
            end.say(1)
        end.phase = phase + 1
        other.news.set()
        if not end.is_server:
            await end.until(has_heard_all)
        end.resume()
        if phase < kind.upgrades:
            await end.upgrade()


async def finish(ending: str, end: End, other: End) -> list[End]:
    """One side ends it; those are given back that must have got everything."""
    for each in (end, other):
        each.moody = False
        each.resume()
    size = end.dice.choice(SIZES)
    match ending:
        case "close":
            end.transport.close()
        case "last words":
            end.say(size)
            end.transport.close()
        case "half" if end.transport.can_write_eof():
            other.keeps_open = True
            end.say(size)
            end.transport.write_eof()
            await other.until(lambda: "e" in other.heard)
            other.say(size)
            other.transport.close()
        case "half" | "paused":
            other.pause()
            end.say(size)
            end.transport.close()
            await asyncio.sleep(0.005)
            other.resume()
        case "abort":
            end.say(size)
            end.transport.abort()
            return []
        case "both":
            end.transport.close()
            other.transport.close()
        case "interrupted":
            other.say(size)
            end.transport.close()
            return [other]
    return [end, other]


def side(seed: int, dice: random.Random, is_server: bool, streams: Sequence[ModuleType]) -> End:
    own = random.Random(dice.random())
    if dice.random() < 0.3:
        return Reading(dice.choice(streams), seed, own, is_server)
    return End(seed, own, is_server)


async def relay(listener: socket.socket, address: Any, dice: random.Random) -> None:
    """Passes on what comes, in other pieces and later."""
    loop = asyncio.get_running_loop()
    left, _ = await loop.sock_accept(listener)
    with left, socket.socket(listener.family) as right:
        right.setblocking(False)
        await loop.sock_connect(right, address)

        async def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := await loop.sock_recv(source, dice.choice((1000, 20_000, 300_000))):
                    if dice.random() < 0.5:
                        await asyncio.sleep(dice.random() * 0.003)
                    cut = dice.randrange(len(data) + 1)
                    await loop.sock_sendall(sink, data[:cut])
                    await turns(dice.randrange(3))
                    await loop.sock_sendall(sink, data[cut:])
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                # What one side hears of the other's abrupt end is a reset, as without a relay.
                for each in (source, sink):
                    with contextlib.suppress(OSError):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise

        with contextlib.suppress(OSError):
            await asyncio.gather(pump(left, right), pump(right, left))


async def conversation(seed: int, streams: Sequence[ModuleType], with_tls: bool) -> None:
    """The conversation that belongs to a number. AssertionError if it went wrong.

    `streams` are the modules whose streams may be used.
    """
    dice = random.Random(seed)
    kind = draw(dice, with_tls)
    client, server = (side(seed, dice, is_server, streams) for is_server in (False, True))
    loop = asyncio.get_running_loop()
    over_unix, tls = "unix" in kind.way, "tls" in kind.way
    family = socket.AF_UNIX if over_unix else socket.AF_INET
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def listen(name: str) -> socket.socket:
            listener = stack.enter_context(socket.socket(family))
            listener.setblocking(False)
            listener.bind(str(folder / name) if over_unix else (HOST, 0))
            listener.listen()
            return listener

        context = server_context() if tls else None
        make_server = loop.create_unix_server if over_unix else loop.create_server
        accepting = await make_server(server.make, sock=listen("server"), ssl=context)
        address = accepting.sockets[0].getsockname()
        relaying = None
        if kind.relayed:
            between = listen("relay")
            relaying = loop.create_task(relay(between, address, random.Random(dice.random())))
            address = between.getsockname()
        options: dict[str, Any] = {"ssl": client_context(), "server_hostname": "localhost"} if tls else {}
        if over_unix:
            transport, _ = await loop.create_unix_connection(client.make, address, **options)
        else:
            transport, _ = await loop.create_connection(client.make, *address, **options)
        client.connected(transport)
        try:
            async with asyncio.timeout(LONG):
                await server.until(lambda: server.heard, reading=False)
                async with asyncio.TaskGroup() as group:
                    group.create_task(talk(client, server, kind))
                    group.create_task(talk(server, client, kind))
                ends = dice.sample((client, server), 2)
                whole = await finish(kind.ending, *ends)
                for end in ends:
                    await end.until(lambda end=end: end.is_lost, reading=False)
                await turns(5)
                if relaying:
                    await relaying
        except BaseException as error:
            error.add_note(f"{kind}; client {state(client)}; server {state(server)}")
            raise
        finally:
            accepting.close()
            for end in (client, server):
                if end.transport:
                    end.transport.abort()
            if relaying:
                relaying.cancel()
            await asyncio.sleep(0)
        check(kind, client, server, whole)
        check(kind, server, client, whole)


def state(end: End) -> str:
    counts = f"got {len(end.got)}, said {len(end.said)}"
    return f"{type(end).__name__}, heard {end.heard!r}, {counts}, {end.reason!r}, {end.faults}"


def check(kind: Kind, end: End, other: End, whole: list[End]) -> None:
    """What must hold for one side."""
    what = f"{kind}; {'server' if end.is_server else 'client'} {state(end)}; other {state(other)}"
    assert not end.faults, what
    assert other.said.startswith(end.got), what
    assert HEARD.fullmatch(end.heard), what
    if end in whole:
        assert len(end.got) == len(other.said), what
    if len(whole) == 2:
        assert end.reason is None, what
    assert end.reason is None or isinstance(end.reason, OSError), what


def seeds_at_once(number: int) -> range:
    """The seeds of the conversations that belong to a number: one, or some at once, which make the loop a busy one."""
    return range(number * 8, number * 8 + random.Random(~number).choice((1, 1, 1, 8)))


def run_seed(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    number: int,
    streams: Sequence[ModuleType],
    *,
    with_tls: bool = True,
) -> None:
    """The conversations that belong to a number, on a new loop."""

    async def at_once() -> None:
        async with asyncio.TaskGroup() as group:
            for seed in seeds_at_once(number):
                group.create_task(conversation(seed, streams, with_tls))

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(at_once())


def main() -> None:
    """Does what the command line says."""
    import sabio

    parser = argparse.ArgumentParser(
        prog="python -m tests.conversation_fuzz", description="Random conversations."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int)
    what.add_argument("--seconds", type=float, help="how long new ones are tried")
    given = parser.parse_args()
    first = time.time_ns() // 1000 if given.seed is None else given.seed
    end = time.monotonic() + (given.seconds or 0)
    seed = first
    while True:
        for engine in available():
            os.environ[VARIABLE] = engine
            try:
                run_seed(sabio.new_event_loop, seed, (sabio, asyncio))
            except BaseException:
                print(
                    f"failed with the engine {engine}: python -m tests.conversation_fuzz --seed {seed}",
                    flush=True,
                )
                raise
        seed += 1
        if time.monotonic() > end:
            break
    print(f"{seed - first} seeds from {first} on, each with {' and '.join(available())}")


if __name__ == "__main__":
    main()
