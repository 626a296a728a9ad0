"""Datagram transports: how they end, and flow control (asyncio docs, "Transports", "Datagram Transports")."""

import asyncio
import gc
import socket

import pytest

from tests.support.datagrams import address_of, close, endpoint
from tests.support.waiting import turns, until

# ---------------------------------------------------------------- closing


async def test_what_was_sent_before_close_arrives():
    server, sink = await endpoint()
    client, protocol = await endpoint(remote_addr=address_of(server))
    for _ in range(10):
        client.sendto(b"x")
    client.close()
    assert client.is_closing()
    await until(lambda: len(sink.received) == 10)
    assert await protocol.lost is None
    await close(server)


async def test_nothing_is_received_after_close():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))

    def close_at_once(data, addr):
        sink.received.append((data, addr))
        server.close()

    sink.datagram_received = close_at_once
    for _ in range(5):
        client.sendto(b"x")
    await sink.lost
    await turns(3)
    assert len(sink.received) == 1
    await close(client)


async def test_sending_after_the_end_is_harmless():
    server, sink = await endpoint()
    client, protocol = await endpoint(remote_addr=address_of(server))
    client.close()
    await protocol.lost
    for _ in range(3):
        client.sendto(b"x")
    client.close()
    client.abort()
    await turns(3)
    assert sink.received == []
    await close(server)


async def test_sending_while_what_is_queued_leaves(tmp_path):
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        slow.setblocking(False)
        client, protocol = await endpoint(remote_addr=path, family=socket.AF_UNIX)
        for number in range(200):
            client.sendto(b"%d" % number)
        client.close()
        client.sendto(b"last")
        received = []
        while not received or received[-1] != b"last":
            try:
                received.append(slow.recv(100))
            except BlockingIOError:
                await asyncio.sleep(0)
        assert len(received) == 201
        assert await protocol.lost is None


async def test_abort():
    transport, protocol = await endpoint()
    transport.abort()
    assert await protocol.lost is None


async def test_an_endpoint_that_nobody_holds_goes_on_receiving():
    server, sink = await endpoint()
    address = address_of(server)
    del server
    gc.collect()
    client, _ = await endpoint(remote_addr=address)
    client.sendto(b"x")
    await until(lambda: sink.received)
    await close(client, sink.transport)


# ---------------------------------------------------------------- flow control


@pytest.mark.asyncio_lacks("what it counts for headers it never takes back", ">=3.13,<3.14", run=False)
async def test_protocol_is_paused_and_resumed(tmp_path):
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        slow.setblocking(False)
        client, protocol = await endpoint(remote_addr=path, family=socket.AF_UNIX)
        client.set_write_buffer_limits(high=1000)
        for number in range(500):
            client.sendto(b"%03d" % number * 20)
        assert client.get_write_buffer_size() > 1000
        assert protocol.paused == [True]
        received = []
        while len(received) < 500:
            try:
                received.append(slow.recv(100))
            except BlockingIOError:
                await asyncio.sleep(0)
        assert received == [b"%03d" % number * 20 for number in range(500)]
        await until(lambda: protocol.paused == [True, False])
        assert client.get_write_buffer_size() == 0
        await close(client)


async def test_close_waits_for_what_is_queued(tmp_path):
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        slow.setblocking(False)
        client, protocol = await endpoint(remote_addr=path, family=socket.AF_UNIX)
        for number in range(200):
            client.sendto(b"%d" % number)
        client.close()
        await turns(2)
        assert not protocol.lost.done()
        received = []
        while len(received) < 200:
            try:
                received.append(slow.recv(100))
            except BlockingIOError:
                await asyncio.sleep(0)
        assert await protocol.lost is None
