"""StreamWriter and the protocol under it: draining, closing, warnings (asyncio docs, "StreamWriter")."""

import asyncio
import gc
import socket
import warnings
import weakref

import pytest

from tests.support.streams import close, connected, serving, streams
from tests.support.waiting import turns, until

__all__ = ["streams"]


class Transport(asyncio.Transport):
    """Notes what it is asked to do; it is closing once it is closed."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.closing = False

    def write(self, data):
        self.calls.append(("write", data))

    def writelines(self, list_of_data):
        self.calls.append(("writelines", list(list_of_data)))

    def write_eof(self):
        self.calls.append(("write_eof",))

    def can_write_eof(self):
        return "perhaps"

    def close(self):
        self.closing = True

    def is_closing(self):
        return self.closing

    def get_extra_info(self, name, default=None):
        return {"answer": 42}.get(name, default)


def pair(streams, transport=None, callback=None):
    """Reader, writer and protocol on a transport of the test's own."""
    loop = asyncio.get_running_loop()
    transport = transport or Transport()
    reader = streams.StreamReader()
    protocol = streams.StreamReaderProtocol(reader, callback)
    protocol.connection_made(transport)
    return reader, streams.StreamWriter(transport, protocol, reader, loop), protocol


async def test_they_are_instances_of_the_classes_of_asyncio(streams):
    _, writer, protocol = pair(streams)
    assert isinstance(writer, asyncio.StreamWriter)
    assert isinstance(protocol, asyncio.StreamReaderProtocol)
    assert isinstance(protocol, asyncio.Protocol)
    assert isinstance(protocol, asyncio.streams.FlowControlMixin)
    writer.close()


async def test_a_subclass_can_put_its_state_back_after_a_loss(streams):
    """As aioconsole does: one protocol serves standard input and output, and the one may end before the other."""

    class Protocol(streams.StreamReaderProtocol):
        def connection_lost(self, exc):
            state = self.__dict__.copy()
            super().connection_lost(exc)
            if self.keeps:
                self.__dict__.update(state)

    transport, reader = Transport(), streams.StreamReader()
    protocol = Protocol(reader)
    protocol.connection_made(transport)
    writer = streams.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    protocol.keeps = True
    protocol.connection_lost(None)
    assert (protocol._connection_lost, protocol._stream_reader) == (False, reader)
    assert protocol._transport is transport
    await writer.drain()
    protocol.keeps = False
    protocol.connection_lost(ConnectionAbortedError("really"))
    assert (protocol._connection_lost, protocol._stream_reader) == (True, None)
    with pytest.raises(ConnectionResetError, match="Connection lost"):
        await protocol._drain_helper()
    writer.close()


async def test_what_is_asked_of_the_writer_is_asked_of_the_transport(streams):
    transport = Transport()
    reader, writer, _ = pair(streams, transport)
    writer.write(b"one")
    writer.writelines([b"two", b"three"])
    assert writer.can_write_eof() == "perhaps"
    assert writer.write_eof() is None
    assert writer.get_extra_info("answer") == 42
    assert writer.get_extra_info("question") is None
    assert writer.get_extra_info("question", 6) == writer.get_extra_info("question", default=6) == 6
    assert writer.transport is transport
    assert reader._transport is transport
    assert not writer.is_closing()
    assert writer.close() is None
    assert writer.is_closing()
    assert transport.calls == [("write", b"one"), ("writelines", [b"two", b"three"]), ("write_eof",)]


async def test_the_parameters_have_names(streams):
    transport = Transport()
    _, _, protocol = pair(streams, transport)
    loop = asyncio.get_running_loop()
    writer = streams.StreamWriter(transport=transport, protocol=protocol, reader=None, loop=loop)
    writer.write(data=b"x")
    writer.writelines(data=[b"y"])
    assert transport.calls == [("write", b"x"), ("writelines", [b"y"])]
    transport.closing = True


async def test_wrong_arguments(sabio):
    """With asyncio's writer the finalizer fails as well."""
    transport = Transport()
    for args in ((transport, None, None), (transport, None, None, None, 5)):
        with pytest.raises(TypeError):
            sabio.StreamWriter(*args)
    with pytest.raises(TypeError):
        sabio.StreamWriter(transport, None, None, loop=None, colour="blue")


async def test_the_reader_has_to_be_a_reader(streams):
    transport = Transport()
    transport.closing = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(AssertionError):
            streams.StreamWriter(transport, None, "reader", asyncio.get_running_loop())


async def test_repr(streams):
    class Named(Transport):
        def __repr__(self):
            return "<Named>"

    _, writer, protocol = pair(streams, Named())
    assert repr(writer) == "<StreamWriter transport=<Named> reader=<StreamReader transport=<Named>>>"
    writer.close()
    alone = streams.StreamWriter(writer.transport, protocol, None, asyncio.get_running_loop())
    assert repr(alone) == "<StreamWriter transport=<Named>>"


async def test_drain_returns_at_once_while_nothing_is_paused(streams):
    _, writer, _ = pair(streams)
    coroutine = writer.drain()
    assert asyncio.iscoroutine(coroutine)
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, "turn")
    assert await coroutine is None
    assert ran == []
    writer.close()
    await turns(1)


async def test_drain_waits_until_writing_is_resumed(streams):
    _, writer, protocol = pair(streams)
    protocol.pause_writing()
    drains = [asyncio.create_task(writer.drain()) for _ in range(3)]
    await turns(3)
    assert not any(drain.done() for drain in drains)
    protocol.resume_writing()
    assert await asyncio.gather(*drains) == [None] * 3
    assert not protocol._paused
    writer.close()


async def test_pausing_twice_is_a_mistake(streams):
    _, writer, protocol = pair(streams)
    with pytest.raises(AssertionError):
        protocol.resume_writing()
    protocol.pause_writing()
    with pytest.raises(AssertionError):
        protocol.pause_writing()
    writer.close()


async def test_a_cancelled_drain_does_not_disturb_the_others(streams):
    _, writer, protocol = pair(streams)
    protocol.pause_writing()
    first, second = (asyncio.create_task(writer.drain()) for _ in range(2))
    await turns(2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not second.done()
    protocol.resume_writing()
    assert await second is None
    writer.close()


@pytest.mark.parametrize("error", [None, ZeroDivisionError("lost")])
async def test_a_lost_connection_ends_a_drain(streams, error):
    _, writer, protocol = pair(streams)
    protocol.pause_writing()
    drain = asyncio.create_task(writer.drain())
    await turns(2)
    writer.close()
    protocol.connection_lost(error)
    if error is None:
        assert await drain is None
        with pytest.raises(ConnectionResetError, match="Connection lost"):
            await writer.drain()
    else:
        with pytest.raises(ZeroDivisionError) as raised:
            await drain
        assert raised.value is error
        # From then on it is the reader's exception.
        with pytest.raises(ZeroDivisionError):
            await writer.drain()


async def test_a_drain_that_was_resumed_does_not_mind_a_loss_that_follows(streams):
    _, writer, protocol = pair(streams)
    protocol.pause_writing()
    drain = asyncio.create_task(writer.drain())
    await turns(2)
    protocol.resume_writing()
    writer.close()
    protocol.connection_lost(ZeroDivisionError())
    assert await drain is None


async def test_drain_lets_a_closing_connection_end(streams):
    _, writer, protocol = pair(streams)
    writer.close()
    asyncio.get_running_loop().call_soon(protocol.connection_lost, None)
    with pytest.raises(ConnectionResetError, match="Connection lost"):
        await writer.drain()


async def test_drain_raises_what_happened_to_the_reader(streams):
    reader, writer, _ = pair(streams)
    reader.set_exception(ZeroDivisionError("read"))
    with pytest.raises(ZeroDivisionError, match="read"):
        await writer.drain()
    writer.close()


async def test_wait_closed(streams):
    _, writer, protocol = pair(streams)
    waits = [asyncio.create_task(writer.wait_closed()) for _ in range(2)]
    writer.close()
    await turns(3)
    assert not waits[0].done()
    protocol.connection_lost(None)
    assert await asyncio.gather(*waits) == [None, None]
    assert await writer.wait_closed() is None


@pytest.mark.parametrize("asked_before", [False, True])
async def test_wait_closed_raises_why_the_connection_was_lost(streams, asked_before):
    _, writer, protocol = pair(streams)
    error = ZeroDivisionError("lost")
    asked = [asyncio.create_task(writer.wait_closed())] if asked_before else []
    await turns(2)
    writer.close()
    protocol.connection_lost(error)
    for waiting in (*asked, writer.wait_closed()):
        with pytest.raises(ZeroDivisionError) as raised:
            await waiting
        assert raised.value is error


async def test_nobody_has_to_ask_why_a_connection_was_lost(streams):
    """No report of an exception that was never retrieved, whether or not its future exists."""
    for asks in (False, True):
        _, writer, protocol = pair(streams)
        if asks:
            protocol._get_close_waiter(writer)
        writer.close()
        protocol.connection_lost(ZeroDivisionError())
        del writer, protocol
        gc.collect()


async def test_a_subclass_of_the_protocol_is_called(streams):
    class Counting(streams.StreamReaderProtocol):
        def __init__(self, reader, loop):
            super().__init__(reader, loop=loop)
            self.received = 0
            self.lost = []

        def data_received(self, data):
            self.received += len(data)
            super().data_received(data)

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self.lost.append(exc)

    async def echo(reader, writer):
        writer.write(await reader.readexactly(5))
        await close(writer)

    async with serving(streams, echo) as address:
        loop = asyncio.get_running_loop()
        reader = streams.StreamReader()
        transport, protocol = await loop.create_connection(lambda: Counting(reader, loop), *address)
        writer = streams.StreamWriter(transport, protocol, reader, loop)
        writer.write(b"hello")
        assert await reader.read() == b"hello"
        assert protocol.received == 5
        await close(writer)
        assert protocol.lost == [None]


async def test_a_reader_of_another_kind(streams):
    class Reader(asyncio.StreamReader if streams is not asyncio else streams.StreamReader):
        def feed_data(self, data):
            super().feed_data(data[::-1])

    async def echo(reader, writer):
        writer.write(await reader.readexactly(5))
        await close(writer)

    async with serving(streams, echo) as address:
        loop = asyncio.get_running_loop()
        reader = Reader(loop=loop)
        protocol = streams.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, *address)
        assert protocol._stream_reader is reader
        writer = streams.StreamWriter(transport, protocol, reader, loop)
        writer.write(b"hello")
        assert await reader.read() == b"olleh"
        await close(writer)
        assert protocol._stream_reader is None


@pytest.mark.parametrize("library", ["asyncio", "sabio"])
async def test_writers_of_one_library_with_protocols_of_the_other(library, sabio):
    """As in asyncio.subprocess, whose protocol is asyncio's own."""
    ours, other = (sabio, asyncio) if library == "sabio" else (asyncio, sabio)
    loop = asyncio.get_running_loop()
    transport = Transport()
    reader = other.StreamReader()
    protocol = other.StreamReaderProtocol(reader)
    protocol.connection_made(transport)
    writer = ours.StreamWriter(transport, protocol, reader, loop)
    protocol.pause_writing()
    drain = asyncio.create_task(writer.drain())
    await turns(3)
    assert not drain.done()
    protocol.resume_writing()
    await drain
    writer.close()
    loop.call_soon(protocol.connection_lost, None)
    with pytest.raises(ConnectionResetError):
        await writer.drain()
    await writer.wait_closed()


async def test_start_tls_replaces_the_transport(streams):
    class Encrypted(Transport):
        def get_extra_info(self, name, default=None):
            return "context" if name == "sslcontext" else default

    asked = []
    encrypted = Encrypted()

    class Loop:
        async def start_tls(self, transport, protocol, context, **options):
            asked.append((transport, protocol, context, options))
            return encrypted

        def __getattr__(self, name):
            return getattr(asyncio.get_running_loop(), name)

    plain = Transport()
    reader = streams.StreamReader()
    protocol = streams.StreamReaderProtocol(reader)
    protocol.connection_made(plain)
    writer = streams.StreamWriter(plain, protocol, reader, Loop())
    await writer.start_tls("context", server_hostname="name")
    [(transport, given, context, options)] = asked
    assert (transport, given, context) == (plain, protocol, "context")
    assert (
        options.items()
        >= {
            "server_side": False,
            "server_hostname": "name",
            "ssl_handshake_timeout": None,
        }.items()
    )
    assert writer.transport is encrypted
    assert protocol._transport is encrypted
    assert not protocol.eof_received()
    plain.close()
    encrypted.close()


async def test_a_writer_that_nobody_closes_warns(streams):
    _, writer, _ = pair(streams)
    transport = writer.transport
    held = [writer]
    del writer
    with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
        held.clear()
    assert transport.closing


def test_a_writer_outlives_its_loop(streams, loop):
    async def main():
        return pair(streams)

    reader, writer, protocol = loop.run_until_complete(main())
    transport = writer.transport
    loop.close()
    held = [writer]
    del writer
    with pytest.warns(ResourceWarning, match="loop is closed"):
        held.clear()
    assert not transport.closing
    del reader, protocol


async def test_a_closed_writer_does_not_warn(streams):
    reader, writer, protocol = pair(streams)
    reference = weakref.ref(writer)
    writer.close()
    del reader, writer, protocol
    gc.collect()
    assert reference() is None


async def test_backpressure_over_a_connection(streams):
    """drain() waits while the peer does not read, and goes on when it does."""
    go = asyncio.Event()
    total = 0

    async def serve(reader, writer):
        nonlocal total
        await go.wait()
        while data := await reader.read(100_000):
            total += len(data)
        await close(writer)

    async with connected(streams, serve) as (_, writer):
        sent = 0
        while not writer.transport.get_protocol()._paused:
            writer.write(b"x" * 50_000)
            sent += 50_000
        drain = asyncio.create_task(writer.drain())
        await turns(5)
        assert not drain.done()
        go.set()
        await drain
        writer.write_eof()
        await until(lambda: total == sent)


async def test_the_other_end_resets_while_somebody_drains(streams):
    async def serve(reader, writer):
        await reader.readexactly(1)
        writer.transport.abort()

    async with serving(streams, serve) as address:
        reader, writer = await streams.open_connection(*address)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.write(b"x" * 10_000_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.drain()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await reader.readline()
        assert writer.is_closing()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.wait_closed()


async def test_writing_after_the_end_of_our_half(streams):
    async def serve(reader, writer):
        assert await reader.read() == b"all"
        writer.write(b"answer")
        await close(writer)

    async with connected(streams, serve) as (reader, writer):
        assert writer.can_write_eof()
        writer.write(b"all")
        writer.write_eof()
        with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
            writer.write(b"more")
        assert await reader.read() == b"answer"
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError):
                writer.write(wrong)
