"""Random TLS connections: records in any pieces, damaged, cut off or with rubbish between them.

One end is a transport of the loop under test, as client or as server, under any kind of protocol; the other end speaks
TLS by hand over a plain socket and does with its records what a list of bytes says. Whatever comes over the wire, the
protocol gets a beginning of what was sent and nothing else, all of it when nothing was damaged, and hears once that the
connection is lost.

`tests/test_tls_records.py` runs a few of them; `python -m tests.tls_fuzz --seconds 60` runs new ones, and
`python -m tests.tls_fuzz --seed 7` one, both with each engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.support.certificates import client_context, server_context
from tests.support.net import tcp_pair
from tests.support.seeds import command_line

#: How long a peer whose records were damaged waits for an answer, in seconds: there need not be one.
PATIENCE = 0.02
#: How long everything else may take.
LONG = 20.0
#: How many bytes say what a connection does.
SIZE = 300

RECORD_TYPES = (20, 21, 22, 23, 24, 0, 128, 255)


class Choices:
    """Decisions out of a list of bytes; when it is used up, always the first of what can be chosen."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, bound: int) -> int:
        size = 1 if bound <= 256 else 3
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "big") % bound

    def one_of(self, *things: Any) -> Any:
        return things[self.below(len(things))]

    def bytes(self, size: int) -> bytes:
        return random.Random(self.below(256)).randbytes(size)


class Receiver:
    """What a protocol has got, whatever kind it is."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.transport: Any = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        assert self.transport is None
        self.transport = transport

    def eof_received(self) -> None:
        assert not self.lost.done()

    def connection_lost(self, error: Exception | None) -> None:
        assert error is None or isinstance(error, OSError), error
        self.lost.set_result(None)


class Plain(Receiver, asyncio.Protocol):
    """Gets bytes."""

    def data_received(self, data: bytes) -> None:
        assert data
        assert not self.lost.done()
        self.got += data


class Buffered(Receiver, asyncio.BufferedProtocol):
    """Lends memory, of odd sizes."""

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self.memory = bytearray(choices.one_of(50, 1000, 16384, 70_000))

    def get_buffer(self, sizehint: int) -> memoryview:
        # asyncio reads into slices of what it is given, which are copies where it is a bytearray itself.
        return memoryview(self.memory)

    def buffer_updated(self, nbytes: int) -> None:
        assert 0 < nbytes <= len(self.memory)
        assert not self.lost.done()
        self.got += self.memory[:nbytes]


class Streamed(Receiver):
    """Reads from a `StreamReader` of the module, in pieces that are no multiple of anything."""

    def __init__(self, module: ModuleType, choices: Choices) -> None:
        super().__init__()
        self.reader = module.StreamReader(limit=choices.one_of(1, 1000, 65536))
        self.protocol = module.StreamReaderProtocol(self.reader)
        self.size = choices.one_of(1 << 16, 777, -1)
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(self.size):
                self.got += data
        except OSError:
            pass
        self.lost.set_result(None)


class Peer:
    """The end that is made by hand."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_side: bool, choices: Choices
    ) -> None:
        self.sock = sock
        self.choices = choices
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side, name)
        #: The flight that is damaged; many connections have none that late.
        self.damaged_flight = choices.below(12)
        self.flight = 0
        self.damaged = False

    async def handshake(self) -> None:
        """Raises OSError or EOFError when it fails."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self.receive()
            else:
                return await self.flush()

    async def receive(self) -> None:
        async with asyncio.timeout(PATIENCE if self.damaged else LONG):
            data = await asyncio.get_running_loop().sock_recv(self.sock, 100_000)
        if not data:
            raise EOFError
        self.incoming.write(data)

    async def flush(self) -> None:
        """Sends what there is to send, in pieces."""
        wire = bytearray(self.outgoing.read())
        if not wire:
            return
        if self.flight == self.damaged_flight:
            damage(self.choices, wire)
            self.damaged = True
        self.flight += 1
        loop = asyncio.get_running_loop()
        piece = self.choices.one_of(1 << 20, 1, 5, 6, 100, 16389, 40_000)
        # Not more than two hundred pieces of a flight.
        piece = max(piece, len(wire) // 200)
        for start in range(0, len(wire), piece):
            await loop.sock_sendall(self.sock, wire[start : start + piece])
            for _ in range(self.choices.below(3)):
                await asyncio.sleep(0)

    async def drain(self) -> None:
        """Reads until the other end has nothing more to say."""
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            while True:
                await self.receive()


def damage(choices: Choices, wire: bytearray) -> None:
    """Does something to what is sent that no peer does."""
    at = choices.below(len(wire))
    match choices.below(7):
        case 0:
            wire[at] ^= 1 << choices.below(8)
        case 1:
            del wire[at : at + 1 + choices.below(300)]
        case 2:
            wire[at:at] = choices.bytes(1 + choices.below(20_000))
        case 3:
            wire[at:at] = wire[at : at + 1 + choices.below(1000)]
        case 4:
            # Another kind of record, or another length, and what follows is read differently.
            wire[:5] = bytes(
                [choices.one_of(*RECORD_TYPES), 3, choices.below(5), choices.below(256), at % 256]
            )
        case 5:
            del wire[at:]
        case _:
            wire[:] = choices.bytes(1 + choices.below(70_000))


def contexts(choices: Choices) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a client and of a server."""
    client, server = client_context(), server_context()
    client.maximum_version = choices.one_of(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)
    return client, server


def disturb(choices: Choices, transport: Any) -> bool:
    """Something that a program does meanwhile; whether it has ended the connection."""
    match choices.below(12):
        case 1:
            transport.pause_reading()
        case 2:
            transport.resume_reading()
        case 3:
            transport.write(b"answer" * choices.below(20_000))
        case 4:
            transport.set_write_buffer_limits(0)
        case 5 if choices.below(4) == 1:
            transport.abort()
            return True
        case 6 if choices.below(4) == 1:
            transport.close()
            return True
    return False


async def connection(module: ModuleType, choices: Choices) -> None:
    """One connection. `module` has the streams, asyncio or sabio. AssertionError if something is wrong."""
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    client, server = contexts(choices)
    left, right = tcp_pair()
    is_client = choices.below(2) == 0
    kind: Callable[[], Any] = choices.one_of(
        Plain, lambda: Buffered(choices), lambda: Streamed(module, choices)
    )
    receiver = kind()
    protocol = getattr(receiver, "protocol", receiver)
    if is_client:
        connecting = loop.create_connection(
            lambda: protocol, sock=left, ssl=client, server_hostname="localhost"
        )
    else:
        connecting = loop.connect_accepted_socket(lambda: protocol, left, ssl=server)
    ours = asyncio.ensure_future(connecting)
    peer = Peer(right, server if is_client else client, is_client, choices)
    try:
        await play(choices, peer, ours, receiver)
    finally:
        right.close()
        if isinstance(receiver, Streamed):
            receiver.task.cancel()
    for report in reports:
        assert isinstance(report.get("exception"), OSError), report


async def play(choices: Choices, peer: Peer, ours: asyncio.Future[Any], receiver: Any) -> None:
    """What both ends do, from the handshake to the end."""
    try:
        await peer.handshake()
    except (OSError, EOFError, TimeoutError):
        assert peer.damaged
        peer.sock.close()
    if peer.damaged:
        # It may wait for a rest of the handshake that does not come.
        await asyncio.wait([ours], timeout=PATIENCE)
        if not ours.done():
            peer.sock.close()
    try:
        async with asyncio.timeout(LONG):
            transport, _ = await ours
    except OSError:
        assert peer.damaged
        assert not receiver.got
        return
    sent, ended = await talk(choices, peer, transport)
    async with asyncio.timeout(LONG):
        await receiver.lost
    assert sent.startswith(receiver.got), f"{len(receiver.got)} bytes, which were not all sent"
    assert peer.damaged or ended or sent == receiver.got, f"{len(receiver.got)} bytes of {len(sent)}"
    assert transport.is_closing()


async def talk(choices: Choices, peer: Peer, transport: Any) -> tuple[bytes, bool]:
    """The peer sends, and ends the connection: what was sent, and whether it was our own end that ended it."""
    sent, ended = bytearray(), False
    with contextlib.suppress(OSError):
        for _ in range(1 + choices.below(6)):
            data = choices.bytes(choices.one_of(1, 100, 1000, 16384, 16385, 60_000, 200_000))
            sent += data
            peer.tls.write(data)
            await peer.flush()
            ended = disturb(choices, transport) or ended
        if choices.below(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.unwrap()
            await peer.flush()
    if not transport.is_closing():
        transport.resume_reading()
    with contextlib.suppress(OSError):
        peer.sock.shutdown(socket.SHUT_WR)
    # What it has not read would make the kernel reset the connection.
    await peer.drain()
    peer.sock.close()
    return bytes(sent), ended


def run_seed(module: ModuleType, make_loop: Callable[[], asyncio.AbstractEventLoop], seed: int) -> None:
    """The connection that belongs to a number."""
    choices = Choices(random.Random(seed).randbytes(SIZE))
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(connection(module, choices))


def main() -> None:
    """Does what the command line says."""
    import sabio

    def run(seed: int) -> None:
        run_seed(sabio, sabio.new_event_loop, seed)

    command_line("python -m tests.tls_fuzz", "Random TLS connections.", run)


if __name__ == "__main__":
    main()
