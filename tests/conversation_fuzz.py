"""Random conversations between two transports of one loop: over TCP, Unix sockets and TLS, upgraded once or twice.

Both ends write, pause, change their protocols and their limits, and upgrade when both have said what they had to; a
relay between them may cut everything into other pieces and send them later. In the end one of them closes, ends its
half or gives up. Whatever they do, each protocol hears of things in asyncio's order and gets what the other one wrote:
all of it, unless somebody has closed before it could come, and nothing else.

`tests/test_conversations.py` runs a few of them; `python -m tests.conversation_fuzz --seconds 60` runs new ones, and
`python -m tests.conversation_fuzz --seed 7` one, with each engine of TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support.certificates import client_context, server_context
from tests.support.conversation_ends import HEARD, LONG, SIZES, End, Reading
from tests.support.net import HOST
from tests.support.seeds import command_line
from tests.support.waiting import turns

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
                if end.transport and not end.is_lost:
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

    def run(seed: int) -> None:
        run_seed(sabio.new_event_loop, seed, (sabio, asyncio))

    command_line("python -m tests.conversation_fuzz", "Random conversations.", run)


if __name__ == "__main__":
    main()
