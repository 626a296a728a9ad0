"""When sabio sends what was written: after a callback, or after several short ones (docs/design/writes.md)."""

import asyncio
import ssl
import time

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.net import tcp_pair
from tests.support.waiting import until


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


def arrived(sock, size=100):
    try:
        return sock.recv(size)
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


class Answering(asyncio.Protocol):
    """Answers what it gets, and looks before that at what has arrived at a socket."""

    def __init__(self, looked_at):
        self.looked_at = looked_at
        self.seen = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.seen.append(arrived(self.looked_at))
        self.transport.write(b"answer")


class Asking:
    """The client of a TLS connection, over a socket on which records can be seen to arrive."""

    def __init__(self, sock):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = client_context().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def shake_hands(self):
        while True:
            try:
                self.object.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                await asyncio.sleep(0.001)
                self.incoming.write(arrived(self.sock, 65536))
            finally:
                self.sock.sendall(self.outgoing.read())

    def ask(self):
        self.object.write(b"question")
        self.sock.sendall(self.outgoing.read())


async def answers_over_tls(protocols, clients):
    """Ask both in one turn; whether the first answer had arrived when the second question was read."""
    first, second = protocols
    count = len(second.seen)
    for client in clients:
        client.ask()
    await until(lambda: len(second.seen) > count and len(first.seen) > count)
    return second.seen[-1] != b""


async def test_answers_over_tls_wait_in_a_busy_turn(sabio, loop_name, peers, tls_engine):
    loop = asyncio.get_running_loop()
    (left, right), (other_left, other_right), *rest = peers
    clients = [Asking(right), Asking(other_right)]
    protocols = [Answering(other_right), Answering(right)]
    shaken = [asyncio.create_task(client.shake_hands()) for client in clients]
    for sock, protocol in zip((left, other_left), protocols, strict=True):
        await loop.connect_accepted_socket(lambda p=protocol: p, sock, ssl=server_context())
    await asyncio.gather(*shaken)
    await asyncio.sleep(0.01)
    arrived(right, 65536), arrived(other_right, 65536)
    assert await answers_over_tls(protocols, clients)
    transports = await transports_of(rest)
    while True:
        await become_busy(transports, rest)
        arrived(right, 65536), arrived(other_right, 65536)
        # Does not end where each answer is sent by itself.
        if not await answers_over_tls(protocols, clients):
            break
    await until(lambda: arrived(right) != b"")
    for protocol in protocols:
        protocol.transport.abort()
    for transport in transports:
        transport.close()
