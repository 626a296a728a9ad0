"""Eight threads, each with its own loop, all at once: nothing is shared between them."""

import asyncio
import threading

import pytest

from tests.support.datagrams import Echo as EchoDatagrams
from tests.support.datagrams import Recorder as RecordDatagrams
from tests.support.waiting import until

THREADS = 8
ROUNDS = 20
HOST = "127.0.0.1"


async def over_tcp(name):
    async def echo(reader, writer):
        while data := await reader.readline():
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(ROUNDS):
        line = b"%b %d\n" % (name, number)
        writer.write(line)
        assert await reader.readline() == line
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def over_udp(name):
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, 0))
    client, protocol = await loop.create_datagram_endpoint(
        RecordDatagrams, remote_addr=server.get_extra_info("sockname")
    )
    sent = [b"%b %d" % (name, number) for number in range(ROUNDS)]
    for data in sent:
        client.sendto(data)
    await until(lambda: len(protocol.received) == ROUNDS)
    assert [data for data, _ in protocol.received] == sent
    for transport in (client, server):
        transport.close()
    await protocol.lost


async def with_timers():
    loop = asyncio.get_running_loop()
    fired = []
    begun = loop.time()
    for number in range(ROUNDS):
        loop.call_later(number / 1000, fired.append, number)
    await asyncio.sleep((ROUNDS + 5) / 1000)
    assert fired == list(range(ROUNDS))
    assert loop.time() - begun >= ROUNDS / 1000


async def with_executor():
    loop = asyncio.get_running_loop()
    here = threading.get_ident()
    for number in range(ROUNDS):
        result, there = await loop.run_in_executor(None, lambda n=number: (n * n, threading.get_ident()))
        assert result == number * number
        assert there != here


async def everything(name):
    here = asyncio.get_running_loop()
    await asyncio.gather(over_tcp(name), over_udp(name), with_timers(), with_executor())
    assert asyncio.get_running_loop() is here
    # Servers wait for the handlers of their connections from 3.12 on.
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    return here


@pytest.mark.timeout(60)
def test_each_thread_has_a_loop_of_its_own(loop_factory):
    start = threading.Barrier(THREADS)
    used, failures = [], []

    def run(name):
        try:
            start.wait(10)
            for _ in range(3):
                with asyncio.Runner(loop_factory=loop_factory) as runner:
                    used.append(runner.run(everything(name)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(b"thread %d" % number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not failures
    assert len({id(loop) for loop in used}) == len(used) == 3 * THREADS


@pytest.mark.timeout(30)
def test_threads_wake_each_others_loops(loop_factory):
    """Each loop is called from all the others: every call arrives, once, in its own thread."""
    ready = threading.Barrier(THREADS)
    loops, heard, failures = {}, {number: [] for number in range(THREADS)}, []

    async def live(number):
        loops[number] = loop = asyncio.get_running_loop()
        here = threading.get_ident()
        await loop.run_in_executor(None, ready.wait, 10)

        def hear(sender, count):
            assert threading.get_ident() == here
            heard[number].append((sender, count))

        for receiver, other in list(loops.items()):
            for count in range(ROUNDS):
                other.call_soon_threadsafe(lambda r=receiver, c=count: tell(r, number, c))
        hearing[number] = hear
        await until(lambda: len(heard[number]) == THREADS * ROUNDS)
        await loop.run_in_executor(None, ready.wait, 10)

    hearing = {}

    def tell(receiver, sender, count):
        if receiver in hearing:
            hearing[receiver](sender, count)
        else:
            loops[receiver].call_soon(tell, receiver, sender, count)

    def run(number):
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(live(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not failures
    for number in range(THREADS):
        for sender in range(THREADS):
            counts = [count for who, count in heard[number] if who == sender]
            assert sorted(counts) == list(range(ROUNDS))


def test_signals_belong_to_the_main_thread(loop_factory):
    caught = []

    async def add():
        try:
            asyncio.get_running_loop().add_signal_handler(10, print)
        except (RuntimeError, ValueError) as error:
            caught.append(error)

    def run():
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(add())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert len(caught) == 1
