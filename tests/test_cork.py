"""When sabio sends what was written: after a callback, or after several short ones (docs/design/writes.md)."""

import asyncio
import time

import pytest

from tests.support.net import tcp_pair


@pytest.fixture
def peers():
    """Connected pairs of sockets, of which the tests make transports of the left ones."""
    pairs = [tcp_pair() for _ in range(8)]
    yield pairs
    for left, right in pairs:
        left.close()
        right.close()


async def transports_of(peers):
    loop = asyncio.get_running_loop()
    return [(await loop.connect_accepted_socket(asyncio.Protocol, left))[0] for left, _ in peers]


def arrived(sock):
    try:
        return sock.recv(100)
    except BlockingIOError:
        return b""


async def one_turn(callbacks):
    """Run the callbacks in one turn of the loop, in this order; give what each of them returned."""
    loop = asyncio.get_running_loop()
    results = []
    for callback in callbacks:
        loop.call_soon(lambda callback=callback: results.append(callback()))
    # The first step of these ends the turn of the callbacks, the second one comes after it.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return results


async def write_and_look(transport, sock):
    """What a callback writes, and what another one right behind it finds to have arrived."""
    _, seen = await one_turn([lambda: transport.write(b"one"), lambda: arrived(sock)])
    return seen, arrived(sock)


async def write_when_busy(transports, peers):
    """As `write_and_look`, after turns in which many short callbacks wrote."""
    for _ in range(8):
        await one_turn([lambda t=transport: t.write(b"x") for transport in transports])
    for _, right in peers:
        assert set(arrived(right)) == set(b"x")
    return await write_and_look(transports[0], peers[0][1])


async def become_busy(transports, peers):
    """Until the loop holds what is written; callbacks are not always short on a machine that has other things to do."""
    while await write_when_busy(transports, peers) != (b"", b"one"):
        pass


async def test_a_quiet_loop_sends_after_each_callback(sabio, loop_name, peers):
    transports = await transports_of(peers)
    assert await write_and_look(transports[0], peers[0][1]) == (b"one", b"")
    for transport in transports:
        transport.close()


async def test_a_busy_turn_sends_after_several_callbacks(sabio, loop_name, peers):
    transports = await transports_of(peers)
    # Does not end where everything is sent after each callback.
    await become_busy(transports, peers)
    for transport in transports:
        transport.close()


async def test_answers_do_not_wait_for_long_callbacks(sabio, loop_name, peers):
    first, *_ = transports = await transports_of(peers)
    await become_busy(transports, peers)
    await one_turn([lambda: first.write(b"late"), lambda: (time.sleep(0.02), first.write(b"r"))])
    assert arrived(peers[0][1]) == b"later"
    assert await write_and_look(first, peers[0][1]) == (b"one", b"")
    for transport in transports:
        transport.close()
