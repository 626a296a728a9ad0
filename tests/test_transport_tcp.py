"""The TCP transport with a Protocol: what it tells, and reading (asyncio docs, "Read-only Transports")."""

import asyncio
import os
import socket

import pytest

from tests.support.net import receive_exactly, reset
from tests.support.protocols import Recorder
from tests.support.tcp import peers
from tests.support.waiting import turns, until

__all__ = ["peers"]


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
