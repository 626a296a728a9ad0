"""Streams under random timeouts: whatever is cancelled, every byte comes back once and in order."""

import asyncio
import random

import pytest

from tests.support.streams import HOST, close, streams

__all__ = ["streams"]


async def echo(reader, writer, generator):
    try:
        while data := await reader.read(generator.choice([1, 100, 65536])):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def send(writer, generator, sent):
    for _ in range(30):
        message = generator.randbytes(generator.choice([1, 10, 1000, 100_000])) + b"\n"
        sent.extend(message)
        writer.write(message)
        try:
            await asyncio.wait_for(writer.drain(), generator.choice([0.0001, 10]))
        except TimeoutError:
            pass
        if generator.random() < 0.3:
            await asyncio.sleep(0)
    writer.write_eof()


async def receive(reader, generator, got):
    reads = [
        lambda: reader.read(generator.choice([1, 1000, 1 << 20])),
        lambda: reader.readexactly(generator.choice([1, 50, 5000])),
        lambda: reader.readuntil(b"\n"),
        lambda: reader.read(100_000),
    ]
    while not reader.at_eof():
        try:
            got.extend(await asyncio.wait_for(generator.choice(reads)(), generator.choice([0, 0.0005, 10])))
        except TimeoutError:
            pass
        except asyncio.IncompleteReadError as error:
            got.extend(error.partial)
        except asyncio.LimitOverrunError as error:
            got.extend(await reader.readexactly(error.consumed))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(3))
async def test_no_byte_is_lost_or_doubled_by_cancelled_reads_and_drains(streams, seed):
    generator = random.Random(seed)

    async def talk():
        reader, writer = await streams.open_connection(*address, limit=generator.choice([10, 1000, 65536]))
        sent, got = bytearray(), bytearray()
        await asyncio.gather(send(writer, generator, sent), receive(reader, generator, got))
        assert got == sent
        await close(writer)

    server = await streams.start_server(lambda *pair: echo(*pair, generator), HOST, 0)
    async with server:
        address = server.sockets[0].getsockname()
        for _ in range(2):
            await asyncio.gather(*(talk() for _ in range(8)))
