"""Descriptor numbers are used again as soon as they are free: nothing of the old owner may reach the new one.

Invariant under test: whatever was written, awaited or scheduled for a connection ends with it. Each message names the
connection for which it was made, and every receiver checks that.
"""

import asyncio
import random
import socket

import pytest

from tests.support.leaks import open_descriptors
from tests.support.net import reset, silent_listener, socket_pair
from tests.support.waiting import turns, until

pytestmark = pytest.mark.timeout(90, method="signal")

NAME = 8


class Client(asyncio.Protocol):
    """Sends its own name and keeps what does not belong to it."""

    def __init__(self, name, strays):
        self.name = name
        self.strays = strays
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        whole = len(self.received) // NAME * NAME
        for start in range(0, whole, NAME):
            if self.received[start : start + NAME] != self.name:
                self.strays.append((self.name, self.received))
        self.received = self.received[whole:]


async def test_answers_of_threads_never_reach_a_connection_that_reused_the_descriptor():
    loop = asyncio.get_running_loop()
    generator = random.Random(2)
    strays = []

    class Threaded(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            loop.run_in_executor(None, self.work, data[:NAME])

        def work(self, name):
            loop.call_soon_threadsafe(self.transport.write, name)

    server = await loop.create_server(Threaded, "127.0.0.1", 0, backlog=200)
    address = server.sockets[0].getsockname()

    async def live(worker):
        for turn in range(40):
            name = b"%03d:%04d" % (worker, turn)
            transport, _ = await loop.create_connection(lambda name=name: Client(name, strays), *address)
            transport.write(name)
            await turns(generator.randrange(12))
            transport.abort() if turn % 2 else transport.close()

    await asyncio.gather(*(live(worker) for worker in range(20)))
    server.close()
    await asyncio.sleep(0.02)
    assert strays == []


async def test_cancelled_reads_leave_nothing_for_the_next_owner_of_the_number():
    loop = asyncio.get_running_loop()
    generator = random.Random(3)
    for turn in range(1500):
        with socket_pair() as (left, right):
            task = asyncio.ensure_future(loop.sock_recv(left, 100))
            await turns(generator.randrange(3))
            if generator.random() < 0.5:
                right.send(b"for nobody")
                await turns(generator.randrange(3))
            task.cancel()
            if generator.random() < 0.5:
                await asyncio.gather(task, return_exceptions=True)
        # The same numbers again: the old read must neither take the data nor end the new one.
        with socket_pair() as (left, right):
            right.send(b"%d" % turn)
            assert await asyncio.wait_for(loop.sock_recv(left, 100), 5) == b"%d" % turn
            await asyncio.gather(task, return_exceptions=True)
            await turns(2)
            assert loop.remove_reader(left) is False


async def test_readers_of_closed_descriptors_never_fire_for_the_next_owner():
    loop = asyncio.get_running_loop()
    generator = random.Random(4)
    wrong = []
    for turn in range(1500):
        left, right = socket.socketpair()
        number = left.fileno()
        loop.add_reader(left, wrong.append, ("old reader", turn))
        if generator.random() < 0.5:
            await turns(1)
        assert loop.remove_reader(number)
        left.close()
        right.close()
        with socket_pair() as (new_left, new_right):
            assert new_left.fileno() == number
            got = loop.create_future()
            loop.add_reader(new_left, lambda got=got: got.done() or got.set_result(True))
            new_right.send(b"x")
            await got
            loop.remove_reader(new_left)
    assert wrong == []


async def test_cancelled_races_and_raw_connects_leave_no_registered_descriptor():
    loop = asyncio.get_running_loop()
    generator = random.Random(5)
    before = open_descriptors()
    with silent_listener() as silent:
        for _ in range(150):
            raw = socket.socket()
            raw.setblocking(False)
            race = loop.create_connection(asyncio.Protocol, *silent, happy_eyeballs_delay=0.001)
            tasks = [asyncio.ensure_future(race), asyncio.ensure_future(loop.sock_connect(raw, silent))]
            await turns(generator.randrange(6))
            if generator.random() < 0.3:
                await asyncio.sleep(0.002)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            number = raw.fileno()
            raw.close()
            # The numbers are free: whoever gets them finds no trace of the old connects.
            pairs = [socket.socketpair() for _ in range(3)]
            numbers = [sock.fileno() for pair in pairs for sock in pair]
            assert number in numbers
            assert not any(loop.remove_writer(fd) or loop.remove_reader(fd) for fd in numbers)
            for left, right in pairs:
                loop.add_writer(left, int)
                assert loop.remove_writer(left)
                left.close()
                right.close()
    await turns(3)
    assert open_descriptors().keys() == before.keys()


async def test_resets_and_closes_in_every_order_leave_no_descriptor():
    loop = asyncio.get_running_loop()
    generator = random.Random(6)
    before = set(open_descriptors())
    lost = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            if generator.random() < 0.2:
                transport.write(b"hello" * generator.randrange(20_000))
            if generator.random() < 0.1:
                transport.close()

        def data_received(self, data):
            action = generator.randrange(5)
            if action == 0:
                self.transport.abort()
            elif action == 1:
                self.transport.close()
            elif action == 2:
                self.transport.write(data)
                self.transport.close()
            elif action == 3:
                self.transport.write_eof()
            else:
                self.transport.pause_reading()
                loop.call_later(0.001, self.transport.resume_reading)

        def connection_lost(self, exc):
            lost.append(exc)

    server = await loop.create_server(Protocol, "127.0.0.1", 0, backlog=200)
    address = server.sockets[0].getsockname()
    total = 1500
    for start in range(0, total, 50):
        clients = [socket.create_connection(address) for _ in range(50)]
        await turns(2)
        for client in clients:
            client.setblocking(False)
            try:
                if generator.random() < 0.8:
                    client.send(b"data")
            except OSError:
                pass
        await turns(generator.randrange(4))
        for client in clients:
            reset(client) if generator.random() < 0.5 else client.close()
        await until(lambda start=start: len(lost) == start + 50)
    server.close()
    await turns(3)
    assert len(lost) == total
    await until(lambda: set(open_descriptors()) == before)
