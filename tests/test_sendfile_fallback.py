"""`loop.sendfile()` without sendfile(2): block by block, a protocol standing in for the transport's own."""

import asyncio
import contextlib
import io
import socket
import threading
from asyncio import constants

import pytest

from tests.support.files import DATA, cancel, data_file
from tests.support.net import receive_all, receive_exactly, reset, tcp_pair
from tests.support.protocols import Recorder
from tests.support.waiting import turns, until


async def not_available(*args):
    raise asyncio.SendfileNotAvailableError("not today")


@contextlib.asynccontextmanager
async def connected():
    """A transport through which nothing goes natively, its protocol and the plain socket at the other end."""
    left, right = tcp_pair()
    loop = asyncio.get_running_loop()
    loop._sendfile_native = not_available
    transport, protocol = await loop.create_connection(Recorder, sock=left)
    with right:
        yield transport, protocol, right
        transport.close()
        await protocol.lost


@pytest.fixture
def file():
    with data_file() as made:
        yield made


@pytest.mark.parametrize(
    ("offset", "count"), [(0, None), (1000, None), (0, 100), (7, 500_000), (10, 1 << 30)]
)
async def test_parts_of_a_file(file, offset, count):
    async with connected() as (transport, protocol, peer):
        receiving = asyncio.create_task(receive_all(peer))
        expected = DATA[offset:][:count]
        assert await asyncio.get_running_loop().sendfile(transport, file, offset, count) == len(expected)
        assert file.tell() == offset + len(expected)
        assert transport.get_protocol() is protocol
        transport.close()
        assert await receiving == expected


async def test_native_way_alone_is_not_to_be_had(file):
    async with connected() as (transport, _, _peer):
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not today"):
            await asyncio.get_running_loop().sendfile(transport, file, fallback=False)
        assert transport.is_reading()


async def test_peer_that_stalls(file):
    async with connected() as (transport, protocol, peer):
        loop = asyncio.get_running_loop()
        large = io.BytesIO(DATA * 32)
        sending = asyncio.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.1)
        assert not sending.done()
        assert not transport.is_reading()
        assert transport.get_write_buffer_size() < 1 << 20
        assert await receive_exactly(peer, len(DATA) * 32) == DATA * 32
        assert await sending == len(DATA) * 32
        assert protocol.calls == ["connection_made"]
        assert transport.is_reading()


async def test_protocol_that_was_paused_before_is_resumed(file):
    async with connected() as (transport, protocol, peer):
        transport.write(bytes(16 << 20))
        assert protocol.calls[-1] == "pause_writing"
        receiving = asyncio.create_task(receive_exactly(peer, (16 << 20) + len(DATA)))
        await asyncio.get_running_loop().sendfile(transport, file)
        assert (await receiving)[16 << 20 :] == DATA
        await until(lambda: protocol.calls[-1] == "resume_writing")
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]


@pytest.mark.asyncio_lacks("the protocol is not told that the transport takes nothing")
async def test_cancelling_leaves_protocol_and_transport_in_step(file):
    async with connected() as (transport, protocol, peer):
        large = io.BytesIO(DATA * 32)
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, large))
        # Nobody reads, so it comes to a stop sooner or later.
        await until(lambda: transport.get_write_buffer_size() > 1 << 16)
        position = 0
        while position != large.tell():
            position = large.tell()
            await asyncio.sleep(0.1)
        await cancel(sending)
        assert transport.get_protocol() is protocol
        assert protocol.calls[-1] == "pause_writing"
        sent = large.tell()
        transport.write(b"after")
        receiving = asyncio.create_task(receive_all(peer))
        await until(lambda: protocol.calls[-1] == "resume_writing")
        transport.close()
        received = await receiving
        assert received.endswith(b"after")
        assert len(received) >= sent > 0


@pytest.mark.parametrize("how", [reset, socket.socket.close])
async def test_connection_that_is_lost_in_the_middle(how):
    async with connected() as (transport, protocol, peer):
        large = io.BytesIO(DATA * 32)
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, large))
        await asyncio.sleep(0.05)
        how(peer)
        with pytest.raises(ConnectionError):
            await sending
        assert protocol.calls[-1] == "connection_lost"
        assert large.tell() < len(DATA) * 32


async def test_file_that_fails(file):
    class Broken(io.RawIOBase):
        def readinto(self, buffer):
            raise OSError(5, "the disk is broken")

        def seek(self, *args):
            return 0

    async with connected() as (transport, protocol, peer):
        with pytest.raises(OSError, match="the disk is broken"):
            await asyncio.get_running_loop().sendfile(transport, Broken())
        assert transport.get_protocol() is protocol
        transport.write(b"x")
        assert await receive_exactly(peer, 1) == b"x"


async def test_file_is_read_on_another_thread():
    threads = set()

    class Witness(io.BytesIO):
        def readinto(self, buffer):
            threads.add(threading.get_ident())
            return super().readinto(buffer)

    async with connected() as (transport, _, peer):
        await asyncio.get_running_loop().sendfile(transport, Witness(b"data"))
        assert await receive_exactly(peer, 4) == b"data"
    assert threads
    assert threading.get_ident() not in threads


async def test_transport_of_somebody_else():
    class Foreign(asyncio.transports._FlowControlMixin, asyncio.Transport):
        _sendfile_compatible = constants._SendfileMode.FALLBACK

        def __init__(self, loop, protocol):
            super().__init__(None, loop)
            self.protocol, self.written, self.reading = protocol, [], True

        def get_protocol(self):
            return self.protocol

        def set_protocol(self, protocol):
            self.protocol = protocol

        def is_closing(self):
            return False

        def is_reading(self):
            return self.reading

        def pause_reading(self):
            self.reading = False

        def resume_reading(self):
            self.reading = True

        def write(self, data):
            self.written.append(bytes(data))
            if len(self.written) == 1:
                self.protocol.pause_writing()
                self._loop.call_later(0.01, self.protocol.resume_writing)

    loop = asyncio.get_running_loop()
    transport = Foreign(loop, asyncio.Protocol())
    original = transport.protocol
    assert await loop.sendfile(transport, io.BytesIO(DATA)) == len(DATA)
    assert b"".join(transport.written) == DATA
    assert transport.protocol is original
    assert transport.reading
    with pytest.raises(RuntimeError, match="fallback is disabled and native sendfile is not supported"):
        await loop.sendfile(transport, io.BytesIO(DATA), fallback=False)


async def test_transport_that_pauses_nobody():
    class Simple(asyncio.Transport):
        _sendfile_compatible = constants._SendfileMode.FALLBACK

        def is_closing(self):
            return False

    with pytest.raises(TypeError, match="transport should be _FlowControlMixin instance"):
        await asyncio.get_running_loop().sendfile(Simple(), io.BytesIO(DATA))


async def test_several_transports_at_once():
    loop = asyncio.get_running_loop()
    async with connected() as (first, _, peer), connected() as (second, _, other):
        receiving = asyncio.gather(*(receive_exactly(sock, len(DATA)) for sock in (peer, other)))
        files = [io.BytesIO(DATA), io.BytesIO(DATA)]
        await asyncio.gather(loop.sendfile(first, files[0]), loop.sendfile(second, files[1]))
        assert await receiving == [DATA, DATA]
        await turns(2)
