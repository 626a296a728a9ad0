"""asyncio's streams over the loop: open_connection and start_server (asyncio docs, "Streams")."""

import asyncio
import contextlib
import os
import random

import pytest

from tests.support.waiting import until

HOST = "127.0.0.1"


async def close(writer):
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(handler):
    """A server with this handler; its address. At the end all handlers have returned."""
    server = await asyncio.start_server(handler, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    await close(writer)


async def test_echo_over_many_connections():
    async def talk(number):
        reader, writer = await asyncio.open_connection(*address)
        for turn in range(20):
            message = b"%d:%d\n" % (number, turn)
            writer.write(message)
            await writer.drain()
            assert await reader.readline() == message
        await close(writer)

    async with serving(echo) as address:
        await asyncio.gather(*(talk(number) for number in range(50)))


async def test_large_transfer_with_backpressure():
    data = os.urandom(8 << 20)

    async def send():
        for start in range(0, len(data), 100_000):
            writer.write(data[start : start + 100_000])
            await writer.drain()
        writer.write_eof()

    async with serving(echo) as address:
        reader, writer = await asyncio.open_connection(*address)
        _, received = await asyncio.gather(send(), reader.read())
        assert received == data
        await close(writer)


async def test_every_way_to_read():
    async def serve(reader, writer):
        writer.write(b"exactly|until;line\n" + b"rest")
        await close(writer)

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.readexactly(7) == b"exactly"
        assert await reader.readuntil(b";") == b"|until;"
        assert await reader.readline() == b"line\n"
        assert await reader.read(2) == b"re"
        assert await reader.read() == b"st"
        assert reader.at_eof()
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        await close(writer)


async def test_lines_by_async_iteration():
    async def serve(reader, writer):
        writer.writelines([b"one\n", b"two\n", b"three"])
        await close(writer)

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        assert [line async for line in reader] == [b"one\n", b"two\n", b"three"]
        await close(writer)


async def test_line_longer_than_the_limit_is_an_error():
    async def serve(reader, writer):
        writer.write(b"x" * 1000 + b"\n")
        await close(writer)

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address, limit=100)
        with pytest.raises(ValueError, match=r"longer than limit|exceed"):
            await reader.readline()
        await close(writer)


async def test_reader_pauses_the_transport_when_nobody_reads():
    async def serve(reader, writer):
        writer.write(b"x" * (4 << 20))
        await close(writer)

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address, limit=1000)
        await until(lambda: not writer.transport.is_reading())
        assert len(await reader.read()) == 4 << 20
        await close(writer)


async def write_for_ever(writer):
    while True:
        writer.write(b"x" * 100_000)
        await writer.drain()


async def test_reset_by_the_peer_reaches_reader_and_writer():
    async def serve(reader, writer):
        await reader.readexactly(1)
        writer.transport.abort()

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"xy" * 100_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await write_for_ever(writer)
        writer.close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.wait_closed()
        assert reader.at_eof() or reader.exception() is not None


async def test_cancelled_read_loses_nothing():
    async with serving(echo) as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await reader.readexactly(4)
            writer.write(b"data")
            assert await asyncio.wait_for(reader.readexactly(4), 10) == b"data"
        await close(writer)


async def test_server_handler_that_fails_is_reported():
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    async def fail(reader, writer):
        raise ValueError("in the handler")

    async with serving(fail) as address:
        reader, writer = await asyncio.open_connection(*address)
        await until(lambda: contexts)
        assert str(contexts[0]["exception"]) == "in the handler"
        contexts.clear()
        # Up to 3.11 the connection of a handler that failed is left to the peer.
        writer.close()
        await writer.wait_closed()
        del reader


async def test_request_and_response_of_any_size():
    generator = random.Random(7)

    async def serve(reader, writer):
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                body = await reader.readexactly(size)
                writer.write(size.to_bytes(4, "big") + body[::-1])
                await writer.drain()
        except asyncio.IncompleteReadError:
            await close(writer)

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(200):
            body = generator.randbytes(generator.choice([0, 1, 10, 1000, 65536, 200_000]))
            writer.write(len(body).to_bytes(4, "big"))
            writer.write(body)
            await writer.drain()
            assert int.from_bytes(await reader.readexactly(4), "big") == len(body)
            assert await reader.readexactly(len(body)) == body[::-1]
        await close(writer)
