"""The TCP transport: write(), writelines(), write_eof() (asyncio docs, "Write-only Transports")."""

import array
import asyncio
import socket
import struct

import pytest

from tests.support.net import receive_all, receive_exactly
from tests.support.protocols import Recorder
from tests.support.tcp import peers
from tests.support.versions import SINCE_3_12

__all__ = ["peers"]

#: Where `tcpi_data_segs_in` stands in Linux's `struct tcp_info` (linux/tcp.h), in bytes.
DATA_SEGMENTS_IN = 152


# ---------------------------------------------------------------- write and writelines


@pytest.mark.parametrize("data", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes")])
async def test_write_takes_bytes_bytearrays_and_memoryviews(peers, data):
    transport, protocol, peer = await peers()
    transport.write(data)
    assert await receive_exactly(peer, 5) == b"bytes"
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("data", ["text", 1, None, [b"list"]])
async def test_write_refuses_what_is_no_data(peers, data):
    transport, protocol, _ = await peers()
    with pytest.raises(TypeError, match=r"data argument must be a bytes"):
        transport.write(data)
    transport.close()
    await protocol.lost


async def test_memoryview_of_larger_items_is_sent_whole(peers):
    transport, protocol, peer = await peers()
    numbers = array.array("I", range(1000))
    transport.write(memoryview(numbers).cast("B"))
    assert await receive_exactly(peer, 4000) == numbers.tobytes()
    transport.close()
    await protocol.lost


@pytest.mark.asyncio_lacks("what waits is not copied since 3.12", ">=3.12", run=False)
async def test_memory_changed_after_write_does_not_change_what_is_sent(peers):
    transport, protocol, peer = await peers()
    # Once while the socket takes it at once, once while it has to wait.
    small = bytearray(b"small")
    transport.write(small)
    small[:] = b"XXXXX"
    large = bytearray(b"L" * (4 << 20))
    transport.write(large)
    late = bytearray(b"late!")
    transport.write(late)
    transport.write(memoryview(late))
    late[:] = b"XXXXX"
    large[:] = b"X" * len(large)
    late.extend(b"and resized")
    expected = b"small" + b"L" * (4 << 20) + b"late!late!"
    assert await receive_exactly(peer, len(expected)) == expected
    transport.close()
    await protocol.lost


async def test_writes_keep_their_order(peers):
    transport, protocol, peer = await peers()
    expected = bytearray()
    for number in range(3000):
        data = (b"%d " % number) * (number % 50)
        transport.write(data)
        expected += data
        if number % 100 == 0:
            await asyncio.sleep(0)
    assert await receive_exactly(peer, len(expected)) == expected
    transport.close()
    await protocol.lost


async def test_large_and_small_writes_keep_their_order(peers):
    transport, protocol, peer = await peers()
    chunks = [b"a" * 10, b"B" * (1 << 20), b"c" * 10, b"", b"D" * (3 << 20), b"e"]
    for chunk in chunks:
        transport.write(chunk)
    expected = b"".join(chunks)
    assert await receive_exactly(peer, len(expected)) == expected
    transport.close()
    await protocol.lost


async def test_empty_write_is_nothing(peers):
    transport, protocol, peer = await peers()
    transport.write(b"")
    transport.writelines([])
    await asyncio.sleep(0.002)
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    transport.close()
    await protocol.lost


async def test_writelines_sends_all_in_order(peers):
    transport, protocol, peer = await peers()
    transport.writelines([b"one", bytearray(b"two"), memoryview(b"three")])
    transport.writelines(b"%d," % number for number in range(3))
    expected = b"onetwothree0,1,2,"
    assert await receive_exactly(peer, len(expected)) == expected
    transport.close()
    await protocol.lost


async def test_writelines_of_many_chunks(peers):
    transport, protocol, peer = await peers()
    # More than one system call takes (IOV_MAX is 1024 on Linux).
    chunks = [b"%06d" % number for number in range(20000)]
    transport.writelines(chunks)
    assert await receive_exactly(peer, 120_000) == b"".join(chunks)
    transport.close()
    await protocol.lost


async def test_write_inside_data_received_answers(peers):
    class Doubling(Recorder):
        def data_received(self, data):
            self.transport.write(data)
            self.transport.write(data)

    _, protocol, peer = await peers(Doubling)
    peer.send(b"data")
    assert await receive_exactly(peer, 8) == b"datadata"
    peer.close()
    await protocol.lost


async def test_write_in_connection_made_is_sent(peers):
    class Greeting(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"hello")

    _, protocol, peer = await peers(Greeting)
    assert await receive_exactly(peer, 5) == b"hello"
    peer.close()
    await protocol.lost


async def test_write_is_sent_although_the_task_does_not_wait(peers):
    # What is corked for the length of a step must go out even if the next step is far away.
    transport, protocol, peer = await peers()

    async def work():
        transport.write(b"data")
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    assert await receive_exactly(peer, 4) == b"data"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    transport.close()
    await protocol.lost


@pytest.mark.asyncio_lacks("asyncio sends each write at once")
async def test_writes_of_one_callback_leave_in_one_segment(peers):
    transport, protocol, peer = await peers()
    received = []
    for _ in range(20):
        transport.write(b"head")
        transport.write(b"body")
        transport.writelines([b"and", b"tail"])
        await asyncio.sleep(0.002)
        received.append(peer.recv(100))
    information = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    transport.close()
    await protocol.lost
    assert received == [b"headbodyandtail"] * 20
    assert struct.unpack_from("I", information, DATA_SEGMENTS_IN)[0] == 20


# ---------------------------------------------------------------- write_eof


async def test_write_eof_ends_the_stream_after_the_data(peers):
    transport, protocol, peer = await peers()
    assert transport.can_write_eof() is True
    data = b"x" * (4 << 20)
    transport.write(data)
    transport.write_eof()
    transport.write_eof()
    assert await receive_all(peer) == data
    assert not transport.is_closing()
    peer.send(b"answer")
    assert await protocol.receive(6) == b"answer"
    transport.close()
    await protocol.lost


async def test_write_after_write_eof_is_an_error(peers):
    transport, protocol, _ = await peers()
    transport.write_eof()
    with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
        transport.write(b"data")
    if SINCE_3_12:
        with pytest.raises(RuntimeError, match=r"Cannot call writelines\(\) after write_eof\(\)"):
            transport.writelines([b"data"])
    transport.close()
    await protocol.lost
