"""`loop.sendfile()` through transports (asyncio docs, "Transferring files")."""

import asyncio
import contextlib
import io
import socket

import pytest

from tests.support.descriptors import exhausted
from tests.support.files import DATA, LARGE, cancel, data_file, large_file, stalled
from tests.support.net import receive_all, receive_exactly, reset, tcp_pair
from tests.support.protocols import Recorder
from tests.support.waiting import turns, until


@pytest.fixture
def file():
    with data_file() as made:
        yield made


@pytest.fixture
def large():
    with large_file() as made:
        yield made


@contextlib.asynccontextmanager
async def connected(kind="tcp", protocol=Recorder):
    """A transport, its protocol and the plain socket at the other end."""
    left, right = tcp_pair() if kind == "tcp" else socket.socketpair()
    right.setblocking(False)
    loop = asyncio.get_running_loop()
    make = loop.create_connection if kind == "tcp" else loop.create_unix_connection
    transport, made = await make(protocol, sock=left)
    with right:
        yield transport, made, right
        transport.close()
        await made.lost


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_whole_file(file, kind):
    async with connected(kind) as (transport, _, peer):
        receiving = asyncio.create_task(receive_all(peer))
        assert await asyncio.get_running_loop().sendfile(transport, file) == len(DATA)
        assert file.tell() == len(DATA)
        transport.close()
        assert await receiving == DATA


async def test_offset_and_count(file):
    async with connected() as (transport, _, peer):
        assert await asyncio.get_running_loop().sendfile(transport, file, 1000, 100) == 100
        assert file.tell() == 1100
        assert await receive_exactly(peer, 100) == DATA[1000:1100]


async def test_what_is_queued_goes_first(file):
    async with connected() as (transport, _, peer):
        receiving = asyncio.create_task(receive_all(peer))
        before = b"before" * 2_000_000
        transport.write(before)
        assert transport.get_write_buffer_size() > 0
        await asyncio.get_running_loop().sendfile(transport, file)
        transport.write(b"after")
        transport.close()
        assert await receiving == before + DATA + b"after"


async def test_what_was_written_in_the_same_step_goes_first(file):
    async with connected() as (transport, _, peer):
        transport.write(b"head")
        await asyncio.get_running_loop().sendfile(transport, file, 0, 10)
        assert await receive_exactly(peer, 14) == b"head" + DATA[:10]


async def test_many_files_one_after_the_other(file):
    async with connected() as (transport, _, peer):
        receiving = asyncio.create_task(receive_all(peer))
        for index in range(50):
            transport.write(b"%02d" % index)
            await asyncio.get_running_loop().sendfile(transport, file, index, 1000)
        transport.close()
        assert await receiving == b"".join(
            b"%02d" % index + DATA[index : index + 1000] for index in range(50)
        )


async def test_large_file_to_a_peer_that_stalls(large):
    async with connected() as (transport, _, peer):
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, large))
        await asyncio.sleep(0.05)
        assert not sending.done()
        received = await receive_exactly(peer, LARGE // 2)
        await asyncio.sleep(0.05)
        assert not sending.done()
        received += await receive_exactly(peer, LARGE - len(received))
        assert await sending == LARGE
        assert received == bytes(LARGE)


async def test_nothing_can_be_written_meanwhile(large):
    async with connected() as (transport, _, peer):
        sending = await stalled(asyncio.get_running_loop().sendfile(transport, large))
        with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
            transport.write(b"x")
        with pytest.raises(RuntimeError, match=r"unable to write(lines)?; sendfile is in progress"):
            transport.writelines([b"x"])
        received = await receive_exactly(peer, LARGE)
        assert await sending == LARGE
        transport.write(b"after")
        assert await receive_exactly(peer, 5) == b"after"
        assert received == bytes(LARGE)


async def test_one_file_at_a_time(large, file, loop_name):
    async with connected() as (transport, _, peer):
        sending = await stalled(asyncio.get_running_loop().sendfile(transport, large))
        error = RuntimeError if loop_name == "sabio" else KeyError
        with pytest.raises(error):
            await asyncio.get_running_loop().sendfile(transport, file)
        await receive_exactly(peer, LARGE)
        assert await sending == LARGE


async def test_nothing_is_read_meanwhile(large):
    async with connected() as (transport, protocol, peer):
        sending = await stalled(asyncio.get_running_loop().sendfile(transport, large))
        assert not transport.is_reading()
        peer.send(b"question")
        await asyncio.sleep(0.02)
        assert not protocol.received
        await receive_exactly(peer, LARGE)
        await sending
        assert transport.is_reading()
        assert await protocol.receive(8) == b"question"


async def test_reading_that_was_paused_stays_paused(file):
    async with connected() as (transport, protocol, peer):
        transport.pause_reading()
        receiving = asyncio.create_task(receive_exactly(peer, len(DATA)))
        await asyncio.get_running_loop().sendfile(transport, file)
        assert await receiving == DATA
        assert not transport.is_reading()
        transport.resume_reading()
        peer.send(b"x")
        assert await protocol.receive(1) == b"x"


async def test_protocol_that_was_paused_is_resumed_before(file):
    async with connected() as (transport, protocol, peer):
        transport.write(bytes(8 << 20))
        assert protocol.calls[-1] == "pause_writing"
        receiving = asyncio.create_task(receive_exactly(peer, (8 << 20) + len(DATA)))
        await asyncio.get_running_loop().sendfile(transport, file)
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]
        assert (await receiving)[8 << 20 :] == DATA


async def test_streams(file):
    left, right = tcp_pair()
    with right:
        _, writer = await asyncio.open_connection(sock=left)
        writer.write(b"head")
        receiving = asyncio.create_task(receive_all(right))
        await asyncio.get_running_loop().sendfile(writer.transport, file)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert await receiving == b"head" + DATA


async def test_server_sends_to_many_at_once(file):
    loop = asyncio.get_running_loop()

    async def serve(_, writer):
        await loop.sendfile(writer.transport, file)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def fetch():
        reader, writer = await asyncio.open_connection(*address)
        data = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        return data

    assert await asyncio.gather(*(fetch() for _ in range(20))) == [DATA] * 20
    server.close()
    await server.wait_closed()


# ---------------------------------------------------------------- what ends it early


async def test_cancelling_gives_the_transport_back(large):
    async with connected() as (transport, protocol, peer):
        await cancel(await stalled(asyncio.get_running_loop().sendfile(transport, large)))
        assert transport.is_reading()
        receiving = asyncio.create_task(receive_all(peer))
        transport.write(b"after")
        await turns(3)
        peer.send(b"x")
        assert await protocol.receive(1) == b"x"
        transport.close()
        received = await receiving
        assert received.endswith(b"after")
        assert set(received[:-5]) == {0}


@pytest.mark.asyncio_lacks("nothing can be written afterwards", run=False)
async def test_cancelling_while_something_is_queued(file):
    async with connected() as (transport, _, peer):
        transport.write(b"before" * 1_000_000)
        await cancel(await stalled(asyncio.get_running_loop().sendfile(transport, file)))
        transport.write(b"after")
        receiving = asyncio.create_task(receive_all(peer))
        transport.close()
        assert await receiving == b"before" * 1_000_000 + b"after"
        assert file.tell() == 0


@pytest.mark.parametrize("how", [reset, socket.socket.close])
async def test_connection_that_is_lost_in_the_middle(large, how):
    async with connected() as (transport, protocol, peer):
        sending = await stalled(asyncio.get_running_loop().sendfile(transport, large))
        how(peer)
        with pytest.raises(ConnectionError):
            await sending
        assert 0 < large.tell() < LARGE
        await until(lambda: protocol.lost.done())
        assert transport.is_closing()


@pytest.mark.asyncio_lacks("a second error comes out of a callback of its own", run=False)
async def test_connection_that_is_lost_while_something_is_queued(file):
    async with connected() as (transport, protocol, peer):
        transport.write(bytes(32 << 20))
        sending = await stalled(asyncio.get_running_loop().sendfile(transport, file))
        reset(peer)
        with pytest.raises(ConnectionError):
            await sending
        assert file.tell() == 0
        await protocol.lost


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_transport_that_is_closed_meanwhile(sabio, large, how):
    async with connected() as (transport, protocol, peer):
        sending = await stalled(asyncio.get_running_loop().sendfile(transport, large))
        getattr(transport, how)()
        with pytest.raises(ConnectionError, match="closed"):
            await sending
        assert await protocol.lost is None
        assert len(await receive_all(peer)) == large.tell() > 0


async def test_transport_that_is_closing(file):
    async with connected() as (transport, _, _peer):
        transport.close()
        with pytest.raises(RuntimeError, match="Transport is closing"):
            await asyncio.get_running_loop().sendfile(transport, file)
        assert file.tell() == 0


async def test_transport_that_takes_no_files(file):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    with pytest.raises(RuntimeError, match="sendfile is not supported for transport <"):
        await loop.sendfile(transport, file)
    transport.close()
    await turns(2)


async def test_file_without_a_descriptor_goes_by_the_fallback():
    async with connected() as (transport, protocol, peer):
        made = io.BytesIO(DATA)
        receiving = asyncio.create_task(receive_all(peer))
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            await loop.sendfile(transport, made, fallback=False)
        assert await loop.sendfile(transport, made, 100, 300_000) == 300_000
        assert made.tell() == 300_100
        assert transport.get_protocol() is protocol
        assert transport.is_reading()
        transport.close()
        assert await receiving == DATA[100:300_100]


async def test_arguments_are_checked_and_the_transport_goes_on(file, tmp_path):
    loop = asyncio.get_running_loop()
    (tmp_path / "text").write_text("text")
    async with connected() as (transport, _, peer):
        with (tmp_path / "text").open() as text, pytest.raises(ValueError, match="binary mode"):
            await loop.sendfile(transport, text)
        with pytest.raises(ValueError, match="count must be a positive integer"):
            await loop.sendfile(transport, file, 0, 0)
        with pytest.raises(TypeError, match="offset must be a non-negative integer"):
            await loop.sendfile(transport, file, "0")
        assert transport.is_reading()
        transport.write(b"x")
        assert await receive_exactly(peer, 1) == b"x"


async def test_no_descriptor_is_left_to_be_had(file):
    async with connected() as (transport, _, peer):
        receiving = asyncio.create_task(receive_all(peer))
        with exhausted():
            assert await asyncio.get_running_loop().sendfile(transport, file) == len(DATA)
        transport.close()
        assert await receiving == DATA
