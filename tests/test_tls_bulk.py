"""Much data over TLS: what a protocol does between two reads of one turn takes effect at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.bulk import DATA, Sipping
from tests.support.protocols import Recorder
from tests.support.tls import serving
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("tls_engine")


async def flooded(served, factory):
    """A paused client with DATA on its way to it, and the protocol that sends."""
    transport, protocol = await served.connect(factory)
    await until(lambda: served.protocols)
    sender = served.protocols[-1]
    await sender.connected
    transport.pause_reading()
    sender.transport.write(DATA)
    await asyncio.sleep(0.01)
    return transport, protocol, sender


async def test_pausing_in_data_received_stops_the_reads():
    async with serving() as served:
        transport, protocol, _ = await flooded(served, Sipping)
        transport.resume_reading()
        assert await protocol.receive(len(DATA)) == DATA
        transport.close()
        assert await protocol.lost is None


async def test_protocol_that_takes_over_between_two_reads_gets_the_next_one():
    class Relay(Recorder):
        def data_received(self, data):
            assert self.transport.get_protocol() is self
            order.append(self)
            whole.extend(data)
            successor = Relay()
            successor.transport = self.transport
            self.transport.set_protocol(successor)

    order: list[Relay] = []
    whole = bytearray()
    async with serving() as served:
        transport, _, _ = await flooded(served, Relay)
        transport.resume_reading()
        await until(lambda: len(whole) == len(DATA))
        assert whole == DATA
        assert len(set(order)) == len(order) > 1
        last = transport.get_protocol()
        transport.close()
        assert await last.lost is None


async def test_nothing_comes_after_abort_in_data_received():
    class Fed(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.parts.append(len(data))
            if len(self.parts) == 2:
                self.transport.abort()

        def __init__(self):
            super().__init__()
            self.parts = []

    async with serving() as served:
        transport, protocol, _ = await flooded(served, Fed)
        transport.resume_reading()
        assert await protocol.lost is None
        assert len(protocol.parts) == 2
        assert protocol.received == DATA[: len(protocol.received)]


async def test_end_of_the_data_comes_after_all_of_it():
    async with serving() as served:
        transport, protocol, sender = await flooded(served, Recorder)
        sender.transport.close()
        transport.resume_reading()
        assert await protocol.lost is None
        assert protocol.received == DATA
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
