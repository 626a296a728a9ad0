"""The TCP transport: close(), abort(), and what is written afterwards (asyncio docs, "Base Transport")."""

import asyncio
import os

import pytest

from tests.support.net import receive_all, reset
from tests.support.protocols import Recorder
from tests.support.tcp import peers
from tests.support.waiting import turns

__all__ = ["peers"]


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
