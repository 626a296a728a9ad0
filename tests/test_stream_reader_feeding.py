"""StreamReader: its buffer, and who feeds it: a transport, which it pauses, a connection, somebody by hand."""

import asyncio
import random
import weakref

import pytest

from tests.support.streams import PauseRecorder, close, connected, serving, streams
from tests.support.waiting import turns, until

__all__ = ["streams"]


async def test_the_transport_pauses_when_too_much_is_unread(streams):
    reader = streams.StreamReader(limit=5)
    transport = PauseRecorder()
    reader.set_transport(transport)
    with pytest.raises(AssertionError, match="Transport already set"):
        reader.set_transport(transport)
    reader.feed_data(b"x" * 10)
    assert transport.calls == []
    reader.feed_data(b"x")
    reader.feed_data(b"x")
    assert transport.calls == ["pause"]
    assert repr(reader).endswith("paused>")
    await reader.readexactly(6)
    assert transport.calls == ["pause"]
    await reader.readexactly(1)
    assert transport.calls == ["pause", "resume"]


async def test_waiting_lets_a_paused_transport_go_on(streams):
    reader = streams.StreamReader(limit=5)
    transport = PauseRecorder()
    reader.set_transport(transport)
    reader.feed_data(b"x" * 11)
    task = asyncio.create_task(reader.readexactly(12))
    await turns(2)
    assert transport.calls == ["pause", "resume"]
    reader.feed_data(b"y")
    assert await task == b"x" * 11 + b"y"


async def test_a_transport_that_cannot_pause_is_not_asked_again(streams):
    reader = streams.StreamReader(limit=1)
    transport = asyncio.Transport()
    reader.set_transport(transport)
    for _ in range(3):
        reader.feed_data(b"xyz")
    assert await reader.readexactly(9) == b"xyzxyzxyz"


async def test_feeding_after_the_end_is_a_mistake(streams):
    reader = streams.StreamReader()
    reader.feed_eof()
    with pytest.raises(AssertionError, match="feed_data after feed_eof"):
        reader.feed_data(b"x")


async def test_the_buffer_that_somebody_holds_is_the_buffer(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"abc")
    buffer = reader._buffer
    assert type(buffer) is bytearray
    assert buffer == b"abc"
    reader.feed_data(b"def\n")
    assert buffer == b"abcdef\n"
    assert await reader.read(2) == b"ab"
    assert buffer == b"cdef\n"
    buffer[:1] = b"XY"
    assert await reader.readline() == b"XYdef\n"
    buffer.extend(b"by hand")
    reader.feed_eof()
    del buffer
    assert not reader.at_eof()
    assert await reader.read() == b"by hand"
    assert reader._buffer == b""


async def test_much_data_over_a_connection(streams):
    data = random.Random(3).randbytes(3_000_000)

    async def serve(reader, writer):
        writer.write(data)
        await writer.drain()
        await close(writer)

    async with connected(streams, serve) as (reader, _):
        got = [await reader.readexactly(1_000_000)]
        while block := await reader.read(70_000):
            got.append(block)
        assert b"".join(got) == data


async def test_a_reader_that_is_forgotten_takes_no_data(streams):
    """And the connection lives on, for who writes."""
    received = []

    async def serve(reader, writer):
        writer.write(b"nobody reads this")
        await writer.drain()
        received.append(await reader.read())
        await close(writer)

    async with serving(streams, serve) as address:
        loop = asyncio.get_running_loop()
        reader = streams.StreamReader()
        protocol = streams.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, *address)
        reference = weakref.ref(reader)
        del reader
        assert reference() is None
        writer = streams.StreamWriter(transport, protocol, None, loop)
        writer.write(b"still here")
        await writer.drain()
        writer.write_eof()
        await until(lambda: received)
        assert received == [b"still here"]
        await close(writer)


async def test_feeding_by_hand_what_a_transport_feeds_too(streams):
    async def serve(reader, writer):
        await reader.readexactly(1)
        writer.write(b"from the peer\n")
        await close(writer)

    async with connected(streams, serve) as (reader, writer):
        reader.feed_data(b"by hand, ")
        writer.write(b"x")
        assert await reader.readline() == b"by hand, from the peer\n"


async def test_the_buffer_in_somebodys_hands_while_a_transport_feeds(streams):
    async def serve(reader, writer):
        writer.write(await reader.readexactly(4))
        await close(writer)

    async with connected(streams, serve) as (reader, writer):
        buffer = reader._buffer
        writer.write(b"data")
        await until(lambda: buffer == b"data")
        assert await reader.read() == b"data"
        assert buffer == b""


async def test_data_goes_to_the_reader_without_a_call_that_could_be_patched(sabio, monkeypatch):
    """Patched on the class, that is: a subclass is asked."""

    def patched(self, data):
        raise AssertionError("called")

    async def serve(reader, writer):
        writer.write(await reader.readexactly(4))
        await close(writer)

    monkeypatch.setattr(sabio.StreamReaderProtocol, "data_received", patched)
    monkeypatch.setattr(sabio.StreamReader, "feed_data", patched)
    async with connected(sabio, serve) as (reader, writer):
        writer.write(b"data")
        assert await reader.read() == b"data"
