"""Datagram transports can stop receiving for a while, as every transport of asyncio over a socket can."""

import asyncio
import socket

import pytest

from tests.support.datagrams import Recorder, address_of, close, endpoint
from tests.support.waiting import turns, until


def numbers(protocol):
    return [int(data) for data, _ in protocol.received]


async def test_paused_endpoint_receives_nothing():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))
    assert server.is_reading()
    server.pause_reading()
    server.pause_reading()
    assert not server.is_reading()
    client.sendto(b"1")
    await asyncio.sleep(0.01)
    assert sink.received == []
    server.resume_reading()
    server.resume_reading()
    assert server.is_reading()
    await until(lambda: numbers(sink) == [1])
    server.close()
    assert not server.is_reading()
    await close(server, client)


class PausesEachTime(Recorder):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self.transport.pause_reading()


@pytest.mark.parametrize("family", ["internet", "unix"])
async def test_pause_in_the_middle_of_a_burst(family, tmp_path):
    options = {}
    if family == "unix":
        options = {"local_addr": str(tmp_path / "server"), "family": socket.AF_UNIX}
    server, sink = await endpoint(PausesEachTime, **options)
    options = {"family": socket.AF_UNIX} if family == "unix" else {}
    client, _ = await endpoint(remote_addr=address_of(server), **options)
    for number in range(9):
        client.sendto(b"%d" % number)
    for count in range(1, 10):
        await until(lambda count=count: len(sink.received) == count)
        await turns(5)
        assert numbers(sink) == list(range(count))
        assert not server.is_reading()
        server.resume_reading()
    client.sendto(b"9")
    await until(lambda: numbers(sink) == list(range(10)))
    await close(server, client)


async def test_nothing_comes_after_a_paused_endpoint_was_closed():
    server, sink = await endpoint(PausesEachTime)
    client, _ = await endpoint(remote_addr=address_of(server))
    for number in range(3):
        client.sendto(b"%d" % number)
    await until(lambda: sink.received)
    server.close()
    server.resume_reading()
    assert await sink.lost is None
    await turns(3)
    assert numbers(sink) == [0]
    await close(client)
