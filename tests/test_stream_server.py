"""open_connection and start_server: callbacks, their errors, limits (asyncio docs, "Streams")."""

import asyncio
import gc
import socket
import weakref

import pytest

from tests.support.streams import HOST, close, serving, streams
from tests.support.versions import is_affected
from tests.support.waiting import turns, until

__all__ = ["streams"]


@pytest.fixture
def messages(run):
    """What the running loop's exception handler is told."""
    return []


def collect(messages):
    asyncio.get_running_loop().set_exception_handler(lambda _, context: messages.append(context))


def skip_asyncio(streams, reason, where):
    if streams is asyncio and is_affected(where):
        pytest.skip(f"asyncio {reason}")


async def test_the_streams_of_both_ends(streams):
    seen = []

    async def serve(reader, writer):
        seen.append((type(reader), type(writer), reader._limit, writer._reader is reader))
        await close(writer)

    async with serving(streams, serve, limit=123) as address:
        reader, writer = await streams.open_connection(*address, limit=456)
        assert (type(reader), type(writer)) == (streams.StreamReader, streams.StreamWriter)
        assert reader._limit == 456
        assert await reader.read() == b""
        await close(writer)
    assert seen == [(streams.StreamReader, streams.StreamWriter, 123, True)]


async def test_a_plain_callback(streams):
    served = []

    def callback(reader, writer):
        writer.write(b"plain")
        writer.close()
        served.append(reader)
        return "no coroutine"

    async with serving(streams, callback) as address:
        reader, writer = await streams.open_connection(*address)
        assert await reader.read() == b"plain"
        await close(writer)
    assert len(served) == 1


async def test_an_awaitable_that_is_no_coroutine_is_not_awaited(streams):
    def callback(reader, writer):
        writer.close()
        return asyncio.get_running_loop().create_future()

    async with serving(streams, callback) as address:
        reader, writer = await streams.open_connection(*address)
        assert await reader.read() == b""
        await close(writer)


async def test_a_native_coroutine_is_a_coroutine(sabio):
    def callback(reader, writer):
        writer.write(b"bye")
        writer.close()
        return writer.wait_closed()

    async with serving(sabio, callback) as address:
        reader, writer = await sabio.open_connection(*address)
        assert await reader.read() == b"bye"
        await close(writer)


async def report_of(streams, callback, messages):
    """What the exception handler is told of a callback that fails, whose connection is closed."""
    async with serving(streams, callback) as address:
        reader, writer = await streams.open_connection(*address)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await close(writer)
    [context] = messages
    assert context["message"] == "Unhandled exception in client_connected_cb"
    return context


async def test_a_failing_handler_is_reported_and_its_connection_closed(streams, messages):
    collect(messages)

    async def fail(reader, writer):
        raise ZeroDivisionError("in the handler")

    context = await report_of(streams, fail, messages)
    assert str(context["exception"]) == "in the handler"
    assert isinstance(context["transport"], asyncio.Transport)
    messages.clear()


async def test_a_failing_plain_callback_is_reported_and_its_connection_closed(streams, messages):
    skip_asyncio(streams, "reports it from 3.14.8 on", ("<3.14.8", ">=3.15"))
    collect(messages)

    def fail(reader, writer):
        raise ZeroDivisionError("in the callback")

    context = await report_of(streams, fail, messages)
    assert str(context["exception"]) == "in the callback"
    messages.clear()


async def test_a_cancelled_handler_closes_its_connection_in_silence(streams, messages):
    skip_asyncio(streams, "reports the cancellation as an exception in a callback", "<3.12.3")
    collect(messages)

    async def serve(reader, writer):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async with serving(streams, serve) as address:
        reader, writer = await streams.open_connection(*address)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await close(writer)
    assert messages == []


async def test_the_protocol_keeps_its_task_while_it_is_connected(streams):
    protocols = []

    async def serve(reader, writer):
        protocols.append(writer.transport.get_protocol())
        await reader.read()
        await close(writer)

    async with serving(streams, serve) as address:
        _, writer = await streams.open_connection(*address)
        await until(lambda: protocols)
        await turns(2)
        [protocol] = protocols
        assert not protocol._task.done()
        gc.collect()
        await close(writer)
        await until(lambda: protocol._task is None)


async def test_a_handler_that_waits_is_not_collected(streams):
    """Nobody else holds its task than the loop's connection."""
    ended = []

    async def serve(reader, writer):
        ended.append(await reader.readline())
        await close(writer)

    async with serving(streams, serve) as address:
        reader, writer = await streams.open_connection(*address)
        for _ in range(3):
            await turns(2)
            gc.collect()
        writer.write(b"line\n")
        assert await reader.read() == b""
        assert ended == [b"line\n"]
        await close(writer)


async def test_streams_of_a_connection_that_is_over_are_freed(streams):
    references = []

    async def serve(reader, writer):
        references.extend([weakref.ref(reader), weakref.ref(writer), weakref.ref(writer._protocol)])
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
        await close(writer)

    async with serving(streams, serve) as address:
        for _ in range(3):
            reader, writer = await streams.open_connection(*address)
            references.extend([weakref.ref(reader), weakref.ref(writer), weakref.ref(writer._protocol)])
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await close(writer)
        del reader, writer
    await turns(3)
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


async def test_keywords_go_to_the_loop(streams):
    with pytest.raises(TypeError):
        await streams.open_connection(HOST, 1, colour="blue")
    with pytest.raises(TypeError):
        await streams.start_server(lambda *args: None, HOST, 0, colour="blue")
    with pytest.raises(ValueError, match="host and port was not specified and no sock specified"):
        await streams.open_connection()
    with pytest.raises(ValueError, match="Neither host/port nor sock were specified"):
        await streams.start_server(lambda *args: None)
    with pytest.raises(TypeError):
        await streams.open_connection(HOST, 1, 5)


async def test_sockets_that_exist(streams):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await close(writer)

    listener = socket.create_server((HOST, 0))
    server = await streams.start_server(serve, sock=listener, limit=1000)
    async with server:
        sock = socket.create_connection(listener.getsockname())
        reader, writer = await streams.open_connection(sock=sock)
        writer.write(b"line\n")
        assert await reader.read() == b"line\n"
        assert writer.get_extra_info("peername") == listener.getsockname()
        await close(writer)


async def test_a_connection_that_is_refused(streams):
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        with pytest.raises(ConnectionRefusedError):
            await streams.open_connection(*unused.getsockname())


async def test_bad_limits_are_noticed(streams):
    for limit in (0, -5):
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            await streams.open_connection(HOST, 1, limit=limit)


def test_they_need_a_running_loop(streams):
    coroutines = [streams.open_connection(HOST, 1), streams.start_server(print, HOST, 1)]
    for coroutine in coroutines:
        with pytest.raises(RuntimeError, match="no running event loop"):
            coroutine.send(None)


async def test_a_server_can_be_started_later(streams):
    async def serve(reader, writer):
        writer.write(b"served")
        await close(writer)

    server = await streams.start_server(serve, HOST, 0, start_serving=False)
    assert not server.is_serving()
    async with server:
        await server.start_serving()
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"served"
        await close(writer)


async def test_unix_streams(streams, tmp_path):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await close(writer)

    path = str(tmp_path / "socket")
    server = await streams.start_unix_server(serve, path, limit=500)
    async with server:
        reader, writer = await streams.open_unix_connection(path, limit=600)
        assert (type(reader), reader._limit) == (streams.StreamReader, 600)
        writer.write(b"line\n")
        assert await reader.read() == b"line\n"
        await close(writer)


async def test_a_subprocess_talks_through_streams(streams, monkeypatch):
    """asyncio.subprocess takes its streams from asyncio.streams."""
    for name in ("StreamReader", "StreamWriter"):
        monkeypatch.setattr(asyncio.streams, name, getattr(streams, name))
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert type(process.stdout) is streams.StreamReader
    out, _ = await process.communicate(b"x" * 300_000)
    assert out == b"x" * 300_000
    assert process.returncode == 0


async def test_many_connections_at_once(streams):
    async def serve(reader, writer):
        async for line in reader:
            writer.write(line)
            await writer.drain()
        await close(writer)

    async def talk(number):
        reader, writer = await streams.open_connection(*address)
        for turn in range(10):
            line = b"%d-%d" % (number, turn) + b"." * (turn * 100) + b"\n"
            writer.write(line)
            assert await reader.readline() == line
        await close(writer)

    async with serving(streams, serve) as address:
        await asyncio.gather(*(talk(number) for number in range(40)))
