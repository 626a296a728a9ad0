"""Flow control of TLS connections in both directions."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.certificates import client_context
from tests.support.protocols import BufferedRecorder, Recorder
from tests.support.tls import serving
from tests.support.waiting import turns, until

pytestmark = pytest.mark.usefixtures("tls_engine")

BIG = 32 * 1024 * 1024


async def pair(served, factory=Recorder):
    """A client and the protocol that the server made for it."""
    transport, protocol = await served.connect(factory)
    await until(lambda: served.protocols)
    await served.protocols[-1].connected
    return transport, protocol, served.protocols[-1]


async def test_writer_is_paused_while_the_peer_does_not_read(loop_name):
    async with serving() as served:
        transport, protocol, accepted = await pair(served)
        accepted.transport.pause_reading()
        assert not accepted.transport.is_reading()
        chunk = b"x" * 1_000_000
        for _ in range(40):
            transport.write(chunk)
        assert "pause_writing" in protocol.calls
        if loop_name == "sabio":
            # asyncio encrypts everything at once and does not count what the transport below holds.
            assert transport.get_write_buffer_size() > 512 * 1024
            await turns(20)
            assert "resume_writing" not in protocol.calls
        assert accepted.received == b""
        accepted.transport.resume_reading()
        assert accepted.transport.is_reading()
        await until(lambda: len(accepted.received) == 40 * len(chunk), 20)
        await until(lambda: "resume_writing" in protocol.calls)
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert await protocol.lost is None


@pytest.mark.asyncio_lacks("a limit of 0 pauses at size 0, and nothing goes on until something else happens")
async def test_writer_with_a_limit_of_zero_waits_for_no_more_than_what_it_wrote():
    async with serving() as served:
        reader, writer = await asyncio.open_connection(
            *served.address, ssl=client_context(), server_hostname="localhost"
        )
        # The server's session tickets are something that happens.
        await asyncio.sleep(0.05)
        writer.transport.set_write_buffer_limits(0)
        async with asyncio.timeout(1):
            for _ in range(2):
                writer.write(b"0123456789")
                await writer.drain()
        await until(lambda: served.protocols[0].received == b"0123456789" * 2)
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""


@pytest.mark.asyncio_lacks("the end of the handshake stays where it is until something is written", run=False)
async def test_client_that_pauses_at_once_ends_its_handshake():
    class Paused(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    async with serving() as served:
        transport, protocol = await served.connect(Paused)
        await until(lambda: served.protocols)
        await served.protocols[0].connected
        served.protocols[0].transport.write(b"held back")
        await asyncio.sleep(0.02)
        assert protocol.received == b""
        transport.resume_reading()
        assert await protocol.receive(9) == b"held back"
        transport.close()
        assert await protocol.lost is None


@pytest.mark.parametrize("kind", [Recorder, BufferedRecorder])
async def test_paused_protocol_gets_nothing_until_it_goes_on(kind):
    async with serving() as served:
        transport, protocol, accepted = await pair(served, kind)
        transport.pause_reading()
        transport.pause_reading()
        accepted.transport.write(b"held back")
        await asyncio.sleep(0.02)
        assert protocol.received == b""
        transport.resume_reading()
        transport.resume_reading()
        assert await protocol.receive(9) == b"held back"
        transport.close()
        assert await protocol.lost is None


async def test_protocol_that_pauses_in_data_received_is_obeyed():
    class Sipping(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async with serving() as served:
        transport, protocol, accepted = await pair(served, Sipping)
        accepted.transport.write(b"a" * 100_000)
        await until(lambda: protocol.received)
        before = len(protocol.received)
        accepted.transport.write(b"b" * 100_000)
        await asyncio.sleep(0.02)
        assert len(protocol.received) == before
        while len(protocol.received) < 200_000:
            transport.resume_reading()
            await turns(3)
        assert protocol.received == b"a" * 100_000 + b"b" * 100_000
        transport.abort()
        await protocol.lost


async def test_paused_protocol_gets_what_was_left_when_the_peer_is_gone():
    async with serving() as served:
        transport, protocol, accepted = await pair(served)
        transport.pause_reading()
        accepted.transport.write(b"last words")
        accepted.transport.close()
        await asyncio.sleep(0.02)
        assert protocol.calls == ["connection_made"]
        transport.resume_reading()
        assert await protocol.lost is None
        assert protocol.received == b"last words"
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]


async def test_memory_of_a_paused_connection_is_limited():
    async with serving() as served:
        transport, protocol, accepted = await pair(served)
        transport.set_read_buffer_limits(high=100_000)
        transport.pause_reading()
        accepted.transport.write(b"x" * BIG)
        await asyncio.sleep(0.05)
        # Nothing else is received once the limit is passed, and one read is 256 KiB at most.
        assert 100_000 <= transport.get_read_buffer_size() <= 100_000 + 256 * 1024
        assert protocol.received == b""
        transport.resume_reading()
        await until(lambda: len(protocol.received) == BIG, 20)
        assert transport.get_read_buffer_size() < 20_000
        transport.abort()
        await protocol.lost


async def test_close_sends_everything_first():
    async with serving() as served:
        transport, protocol, accepted = await pair(served)
        transport.write(b"x" * BIG)
        transport.close()
        assert await accepted.lost is None
        assert len(accepted.received) == BIG
        assert await protocol.lost is None


async def test_streams_are_paused_and_drained(loop_name):
    async with serving() as served:
        reader, writer = await asyncio.open_connection(
            *served.address, ssl=client_context(), server_hostname="localhost"
        )
        await until(lambda: served.protocols)
        await served.protocols[0].connected
        peer = served.protocols[0].transport
        peer.write(b"x" * BIG)
        # The reader's limit holds the peer back.
        await asyncio.sleep(0.05)
        assert peer.get_write_buffer_size() > 0 or loop_name == "asyncio"
        assert len(await reader.readexactly(BIG)) == BIG
        peer.pause_reading()
        writer.write(b"y" * BIG)
        draining = asyncio.ensure_future(writer.drain())
        await turns(10)
        assert not draining.done() or loop_name == "asyncio"
        peer.resume_reading()
        await draining
        await until(lambda: len(served.protocols[0].received) == BIG, 20)
        writer.close()
        await writer.wait_closed()


async def test_errors_of_pause_writing_are_reported():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))

    class Wrong(Recorder):
        def pause_writing(self):
            raise ZeroDivisionError("pause_writing")

    async with serving() as served:
        transport, protocol, accepted = await pair(served, Wrong)
        accepted.transport.pause_reading()
        for _ in range(40):
            transport.write(b"x" * 1_000_000)
        assert [context["message"] for context in contexts] == ["protocol.pause_writing() failed"]
        assert contexts[0]["transport"] is transport
        transport.abort()
        await protocol.lost


async def test_paused_connection_whose_peer_is_gone_can_be_closed(sabio):
    async with serving() as served:
        transport, protocol, accepted = await pair(served)
        transport.pause_reading()
        accepted.transport.write(b"unread")
        await asyncio.sleep(0.02)
        accepted.transport.abort()
        await asyncio.sleep(0.02)
        assert protocol.calls == ["connection_made"]
        transport.close()
        assert await protocol.lost is None
        assert protocol.received == b""
