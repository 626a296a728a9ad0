"""The two sides of a random conversation: protocols of both kinds, and streams (`tests/conversation_fuzz.py`).

Each keeps what it has said and got, and writes down what its protocols were told. A side never fails within a callback,
which would change what the transport does: it remembers the fault.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.support.certificates import client_context, server_context
from tests.support.waiting import turns

#: How long anything may take, in seconds.
LONG = 20.0
#: What a protocol hears, in order: c(onnected), d(ata), p(ause) and r(esume) of writing, e(of), l(ost), and between two
#: of these an u(pgrade), after which a pause of the connection below counts no more.
TURNS = "d*(pd*rd*)*(pd*)?"
HEARD = re.compile(f"c{TURNS}(u{TURNS})*(e(pr)*p?|e(rp)*r?)?l")
#: How much is said at a time, in bytes.
SIZES = (1, 10, 100, 5000, 70_000, 400_000)


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
