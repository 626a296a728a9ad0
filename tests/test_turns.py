"""Programs that count the turns of the loop until something arrives: `await asyncio.sleep(0)` is one.

asyncio looks at all descriptors in every turn, so what one side sends is there for the other a turn later. The pairs
here are such that the kernel hands data over within the call that sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support import datagrams
from tests.support.net import socket_pair
from tests.support.pipes import pipe, reading, writing
from tests.support.protocols import Recorder

#: Turns from a call that sends until the peer's protocol has been told.
TURNS = 2
#: Turns that a program waits in vain at most.
MOST_TURNS = 50

Action = Callable[[Any], object]
ACTIONS: dict[str, Action] = {
    "write": lambda transport: transport.write(b"x"),
    "write much": lambda transport: transport.write(b"x" * 100_000),
    "writelines": lambda transport: transport.writelines([b"x", b"y"]),
    "write_eof": lambda transport: transport.write_eof(),
    "abort": lambda transport: transport.abort(),
    "close": lambda transport: transport.close(),
    "write and close": lambda transport: (transport.write(b"x"), transport.close()),
}
#: One more: closing a transport takes a turn in asyncio, too.
LATER = {"abort", "close"}


async def turns_until(happened: Callable[[], object]) -> int:
    """How many turns of the loop it takes."""
    for turns in range(MOST_TURNS):
        if happened():
            return turns
        await asyncio.sleep(0)
    return MOST_TURNS


@contextlib.asynccontextmanager
async def stream_pair() -> AsyncIterator[tuple[Recorder, Recorder]]:
    """Two transports of this loop, connected with each other, and at rest."""
    loop = asyncio.get_running_loop()
    with socket_pair() as (left, right):
        _, near = await loop.create_unix_connection(Recorder, sock=left)
        _, far = await loop.create_unix_connection(Recorder, sock=right)
        await asyncio.sleep(0.01)
        yield near, far
        for side in (near, far):
            side.transport.abort()
        await near.lost
        await far.lost


@pytest.mark.parametrize("action", ACTIONS)
async def test_what_a_stream_transport_does_is_there_in_the_next_turn(action):
    async with stream_pair() as (near, far):
        before = len(far.calls)
        ACTIONS[action](near.transport)
        assert await turns_until(lambda: len(far.calls) > before) <= TURNS + (action in LATER)


async def test_an_answer_is_there_in_the_turn_after_the_question_was():
    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async with stream_pair() as (near, far):
        far.transport.set_protocol(answering := Echo())
        answering.connection_made(far.transport)
        near.transport.write(b"x")
        assert await turns_until(lambda: near.received) <= 2 * TURNS - 1
        far.transport.set_protocol(far)


async def test_a_datagram_is_there_in_the_next_turn(tmp_path):
    near, far = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    near.bind(str(tmp_path / "near"))
    far.bind(str(tmp_path / "far"))
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    sender, _ = await datagrams.endpoint(sock=near)
    receiver, received = await datagrams.endpoint(sock=far)
    await asyncio.sleep(0.01)
    sender.sendto(b"x")
    assert await turns_until(lambda: received.received) <= TURNS
    await datagrams.close(sender, receiver)


async def test_what_is_written_to_a_pipe_is_there_in_the_next_turn():
    read_end, write_end = pipe()
    reader, protocol = await reading(read_end)
    writer, _ = await writing(write_end, asyncio.BaseProtocol)
    await asyncio.sleep(0.01)
    writer.write(b"x")
    assert await turns_until(lambda: protocol.received) <= TURNS
    writer.close()
    await protocol.lost
    reader.close()


async def test_what_sock_sendall_sends_is_there_in_the_next_turn():
    loop = asyncio.get_running_loop()
    with socket_pair() as (near, far):
        arrived: list[bytes] = []
        loop.add_reader(far, lambda: arrived.append(far.recv(10)))
        await asyncio.sleep(0.01)
        await loop.sock_sendall(near, b"x")
        assert await turns_until(lambda: arrived) <= TURNS
        loop.remove_reader(far)


async def test_what_waits_in_a_pipe_is_there_once_it_is_connected():
    read_end, write_end = pipe()
    with write_end:
        write_end.write(b"x")
        reader, protocol = await reading(read_end)
        # asyncio looks in the very turn in which the caller goes on.
        assert await turns_until(lambda: protocol.received) <= 1
        reader.close()
        await protocol.lost


async def test_what_waits_in_a_socket_is_there_once_it_is_connected():
    loop = asyncio.get_running_loop()
    with socket_pair() as (near, far):
        far.send(b"x")
        transport, protocol = await loop.create_unix_connection(Recorder, sock=near)
        assert await turns_until(lambda: protocol.received) <= 1
        transport.abort()
        await protocol.lost


async def test_what_waits_for_a_paused_transport_is_there_after_it_was_resumed():
    async with stream_pair() as (near, far):
        far.transport.pause_reading()
        near.transport.write(b"x")
        await asyncio.sleep(0.01)
        assert not far.received
        far.transport.resume_reading()
        assert await turns_until(lambda: far.received) <= TURNS


async def test_what_waits_for_a_reader_is_there_after_it_was_added():
    loop = asyncio.get_running_loop()
    with socket_pair() as (near, far):
        near.send(b"x")
        await asyncio.sleep(0.01)
        arrived: list[bytes] = []
        loop.add_reader(far, lambda: arrived.append(far.recv(10)))
        assert await turns_until(lambda: arrived) <= TURNS
        loop.remove_reader(far)
        near.send(b"x")
        receiving = loop.create_task(loop.sock_recv(far, 10))
        assert await turns_until(receiving.done) <= TURNS
        assert await receiving == b"x"


@pytest.mark.parametrize("count", [1, 2, 20, 100])
async def test_clients_that_connect_at_once_are_accepted_when_their_calls_return(loop_name, count):
    loop = asyncio.get_running_loop()
    accepted: list[Recorder] = []
    turn = 0
    accepted_in: set[int] = set()

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        counting[0] = loop.call_soon(count_turns)

    def accept() -> Recorder:
        accepted_in.add(turn)
        accepted.append(Recorder())
        return accepted[-1]

    counting = [loop.call_soon(count_turns)]
    server = await loop.create_server(accept, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await asyncio.sleep(0.01)
    calls = [loop.create_connection(Recorder, *address) for _ in range(count)]
    clients = await asyncio.gather(*calls)
    assert [protocol.calls for protocol in accepted] == [["connection_made"]] * count
    # One is taken in the turn in which they are seen, and the rest in the next, as it was quiet before.
    assert max(accepted_in) - min(accepted_in) <= (loop_name == "sabio" and count > 1)
    counting[0].cancel()
    for transport, _ in clients:
        transport.abort()
    for protocol in accepted:
        await protocol.lost
    server.close()


@pytest.mark.parametrize("count", [1, 5])
def test_one_turn_of_a_loop_that_has_not_run_accepts_all_that_waits(loop, count):
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    def turn() -> None:
        loop.call_soon(loop.stop)
        loop.run_forever()

    server = loop.run_until_complete(loop.create_server(accept, "127.0.0.1", 0))
    turn()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
        turn()
        turn()
        assert len(accepted) == count
    loop.run_until_complete(asyncio.gather(*[protocol.lost for protocol in accepted]))
    server.close()


async def test_a_busy_loop_looks_later():
    """With many callbacks in each turn it looks by the clock, and is not starved."""
    loop = asyncio.get_running_loop()
    busy = True

    def spin() -> None:
        if busy:
            loop.call_soon(spin)

    for _ in range(100):
        spin()
    async with stream_pair() as (near, far):
        before = len(far.calls)
        near.transport.write(b"x")
        assert await turns_until(lambda: len(far.calls) > before) < MOST_TURNS
        busy = False
