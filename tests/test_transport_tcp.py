"""The TCP transport with a Protocol: reading, writing, closing (asyncio docs, "Transports", "Streaming protocols")."""

import array
import asyncio
import os
import socket
import struct

import pytest

from tests.support.net import receive_all, receive_exactly, reset, tcp_pair
from tests.support.protocols import Recorder
from tests.support.versions import SINCE_3_12
from tests.support.waiting import turns, until

#: Where `tcpi_data_segs_in` stands in Linux's `struct tcp_info` (linux/tcp.h), in bytes.
DATA_SEGMENTS_IN = 152


@pytest.fixture
def peers():
    """Makes transports with the plain socket at the other end; closes those sockets at the end."""
    opened = []

    async def connect(factory=Recorder):
        left, right = tcp_pair()
        opened.append(right)
        transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(factory, left)
        return transport, protocol, right

    yield connect
    for sock in opened:
        sock.close()


# ---------------------------------------------------------------- what it is


async def test_transport_is_one_of_asyncio(peers):
    transport, protocol, peer = await peers()
    assert isinstance(transport, asyncio.Transport)
    assert isinstance(transport, asyncio.ReadTransport)
    assert isinstance(transport, asyncio.WriteTransport)
    assert transport.get_protocol() is protocol
    assert not transport.is_closing()
    assert transport.is_reading()
    peer.close()
    await protocol.lost


async def test_extra_info(peers):
    transport, protocol, peer = await peers()
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, asyncio.trsock.TransportSocket)
    assert sock.family == socket.AF_INET
    assert sock.getsockname() == transport.get_extra_info("sockname") == peer.getpeername()
    assert sock.getpeername() == transport.get_extra_info("peername") == peer.getsockname()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
    assert sock.fileno() > 2
    assert transport.get_extra_info("nothing") is None
    assert transport.get_extra_info("nothing", "default") == "default"
    with pytest.raises(AttributeError):
        sock.send(b"past the transport")
    copy = sock.dup()
    copy.close()
    transport.close()
    await protocol.lost


async def test_names_of_both_ends_can_be_asked_for_after_the_close(peers):
    transport, protocol, peer = await peers()
    expected = peer.getsockname()
    transport.close()
    await protocol.lost
    assert transport.get_extra_info("peername") == expected


async def test_repr_tells_the_state(peers):
    transport, protocol, _ = await peers()
    assert f"fd={transport.get_extra_info('socket').fileno()}" in repr(transport)
    assert "read=polling" in repr(transport)
    assert "write=<idle, bufsize=0>" in repr(transport)
    transport.pause_reading()
    assert "read=idle" in repr(transport)
    transport.resume_reading()
    transport.close()
    assert "closing" in repr(transport)
    await protocol.lost
    assert "closed" in repr(transport)


async def test_attributes_can_be_set_and_methods_replaced(peers):
    transport, protocol, peer = await peers()
    written = []
    transport.note = "mine"
    transport.write = written.append
    transport.write(b"data")
    assert (transport.note, written) == ("mine", [b"data"])
    peer.close()
    await protocol.lost


# ---------------------------------------------------------------- reading


async def test_data_arrives_as_bytes(peers):
    _, protocol, peer = await peers()
    kinds = []
    protocol.data_received = lambda data: (kinds.append(type(data)), protocol.received.extend(data))
    peer.send(b"data")
    assert await protocol.receive(4) == b"data"
    assert kinds == [bytes]
    peer.close()
    await protocol.lost


async def test_large_amounts_arrive_complete_and_in_order(peers):
    loop = asyncio.get_running_loop()
    _, protocol, peer = await peers()
    data = os.urandom(6 << 20)
    sending = asyncio.create_task(loop.sock_sendall(peer, data))
    assert await protocol.receive(len(data)) == data
    await sending
    peer.close()
    await protocol.lost


async def test_end_of_file_closes_the_transport(peers):
    transport, protocol, peer = await peers()
    peer.send(b"last words")
    peer.close()
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.received == b"last words"
    assert transport.is_closing()


async def test_protocol_may_keep_its_half_open(peers):
    class HalfOpen(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    transport, protocol, peer = await peers(HalfOpen)
    peer.shutdown(socket.SHUT_WR)
    await until(lambda: "eof_received" in protocol.calls)
    await turns(3)
    assert not transport.is_closing()
    transport.write(b"answer after the end")
    assert await receive_exactly(peer, 20) == b"answer after the end"
    transport.close()
    assert await protocol.lost is None
    assert protocol.calls.count("eof_received") == 1


async def test_reset_is_given_to_connection_lost(peers):
    transport, protocol, peer = await peers()
    reset(peer)
    assert isinstance(await protocol.lost, ConnectionResetError)
    assert protocol.calls == ["connection_made", "connection_lost"]
    assert transport.is_closing()


async def test_paused_reading_delivers_nothing_until_resumed(peers):
    transport, protocol, peer = await peers()
    transport.pause_reading()
    assert not transport.is_reading()
    peer.send(b"data")
    await asyncio.sleep(0.01)
    assert protocol.received == b""
    transport.resume_reading()
    assert transport.is_reading()
    assert await protocol.receive(4) == b"data"
    transport.resume_reading()
    transport.pause_reading()
    transport.pause_reading()
    peer.close()
    await asyncio.sleep(0.005)
    assert not protocol.lost.done()
    transport.resume_reading()
    await protocol.lost


async def test_pause_inside_data_received_holds_the_next_data_back(peers):
    class Pausing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    transport, protocol, peer = await peers(Pausing)
    peer.send(b"first")
    await protocol.receive(5)
    peer.send(b"second")
    await asyncio.sleep(0.01)
    assert protocol.received == b"first"
    transport.resume_reading()
    assert await protocol.receive(11) == b"firstsecond"
    transport.close()
    await protocol.lost


async def test_pause_in_connection_made_is_respected(peers):
    class Pausing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    transport, protocol, peer = await peers(Pausing)
    peer.send(b"data")
    await asyncio.sleep(0.01)
    assert protocol.received == b""
    transport.resume_reading()
    await protocol.receive(4)
    transport.close()
    await protocol.lost


async def test_pausing_a_closing_transport_does_nothing(peers):
    transport, protocol, _ = await peers()
    transport.close()
    transport.pause_reading()
    transport.resume_reading()
    assert not transport.is_reading()
    await protocol.lost


# ---------------------------------------------------------------- writing


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


# ---------------------------------------------------------------- closing


async def test_close_sends_what_is_buffered_first(peers):
    transport, protocol, peer = await peers()
    data = os.urandom(6 << 20)
    transport.write(data)
    transport.close()
    assert transport.is_closing()
    await asyncio.sleep(0.005)
    assert not protocol.lost.done()
    assert await receive_all(peer) == data
    assert await protocol.lost is None


async def test_close_stops_the_reading_at_once(peers):
    transport, protocol, peer = await peers()
    transport.close()
    peer.send(b"too late")
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "connection_lost"]


async def test_connection_lost_comes_in_a_later_turn_and_once(peers):
    transport, protocol, _ = await peers()
    transport.close()
    assert "connection_lost" not in protocol.calls
    transport.close()
    transport.abort()
    await protocol.lost
    await turns(3)
    assert protocol.calls.count("connection_lost") == 1


async def test_abort_drops_what_is_buffered(peers):
    transport, protocol, peer = await peers()
    transport.write(b"x" * (8 << 20))
    transport.abort()
    assert transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    assert await protocol.lost is None
    try:
        received = await receive_all(peer)
    except ConnectionResetError:
        return
    assert len(received) < 8 << 20


async def test_socket_is_closed_after_connection_lost(peers):
    transport, protocol, _ = await peers()
    sock = transport.get_extra_info("socket")
    transport.close()
    await protocol.lost
    await turns(1)
    assert sock.fileno() == -1


async def test_close_inside_data_received(peers):
    class Closing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(b"goodbye")
            self.transport.close()

    _, protocol, peer = await peers(Closing)
    peer.send(b"data")
    assert await receive_all(peer) == b"goodbye"
    assert await protocol.lost is None


async def test_write_after_close_goes_nowhere(peers):
    transport, protocol, peer = await peers()
    transport.close()
    await protocol.lost
    transport.write(b"too late")
    assert await receive_all(peer) == b""


@pytest.mark.asyncio_lacks(
    "writelines() trips over itself in 3.12 and early 3.13", [">=3.12,<3.14"], strict=False
)
async def test_writelines_after_close_goes_nowhere(peers):
    transport, protocol, peer = await peers()
    transport.close()
    await protocol.lost
    transport.writelines([b"too", b"late"])
    assert await receive_all(peer) == b""


async def test_many_writes_after_the_connection_is_lost_warn(peers, caplog):
    transport, protocol, peer = await peers()
    reset(peer)
    await protocol.lost
    for _ in range(10):
        transport.write(b"data")
    assert "socket.send() raised exception." in [record.getMessage() for record in caplog.records]


async def test_write_to_a_peer_that_reset_ends_the_connection(peers):
    transport, protocol, peer = await peers()
    transport.pause_reading()
    reset(peer)
    await asyncio.sleep(0.002)
    transport.write(b"data")
    await turns(2)
    transport.write(b"data")
    error = await asyncio.wait_for(protocol.lost, 10)
    assert isinstance(error, (ConnectionResetError, BrokenPipeError))
