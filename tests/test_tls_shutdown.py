"""How TLS connections end: both sides say so, one of them does not, or something goes wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import sys
import weakref

import pytest

from tests.support.net import reset
from tests.support.protocols import Recorder
from tests.support.tls import blocking_client, in_thread, serving
from tests.support.tls_peer import peers
from tests.support.waiting import turns

pytestmark = pytest.mark.usefixtures("tls_engine")


async def test_close_says_so_and_waits_for_the_peer():
    transport, protocol, peer = await peers()
    with peer.sock:
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()
        assert await peer.receive() == b"last words"
        assert await peer.receive() == b""
        await turns(5)
        assert "connection_lost" not in protocol.calls
        await peer.say_goodbye()
        assert await protocol.lost is None
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 100) == b""


async def test_peer_that_says_goodbye_is_answered():
    transport, protocol, peer = await peers()
    with peer.sock:
        await peer.send(b"data")
        await peer.say_goodbye()
        assert await protocol.lost is None
        assert protocol.received == b"data"
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert await peer.receive() == b""
        assert transport.is_closing()


async def test_peer_that_never_says_goodbye_is_not_waited_for_longer_than_the_timeout():
    transport, protocol, peer = await peers(ssl_shutdown_timeout=0.05)
    with peer.sock:
        transport.close()
        with pytest.raises(TimeoutError, match="SSL shutdown timed out"):
            raise await protocol.lost


async def test_truncated_stream_ends_as_any_other():
    transport, protocol, peer = await peers()
    await peer.send(b"data")
    peer.sock.close()
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert transport.is_closing()


async def test_reset_is_an_error():
    transport, protocol, peer = await peers()
    reset(peer.sock)
    assert isinstance(await protocol.lost, ConnectionResetError)
    assert "eof_received" not in protocol.calls
    assert transport.is_closing()


async def test_stop_in_the_middle_of_a_record_gives_what_came_before():
    transport, protocol, peer = await peers()
    peer.ssl_object.write(b"whole")
    whole = peer.outgoing.read()
    peer.ssl_object.write(b"cut short")
    part = peer.outgoing.read()[:-5]
    await asyncio.get_running_loop().sock_sendall(peer.sock, whole + part)
    peer.sock.close()
    assert await protocol.lost is None
    assert protocol.received == b"whole"
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"]
    assert transport.is_closing()


async def test_damaged_record_is_an_error():
    _, protocol, peer = await peers()
    with peer.sock:
        peer.ssl_object.write(b"data")
        record = bytearray(peer.outgoing.read())
        record[-1] ^= 1
        await asyncio.get_running_loop().sock_sendall(peer.sock, record)
        assert isinstance(await protocol.lost, ssl.SSLError)
        assert protocol.received == b""


async def test_damaged_record_does_not_take_the_one_before_along(loop_name):
    _, protocol, peer = await peers()
    with peer.sock:
        peer.ssl_object.write(b"good")
        good = peer.outgoing.read()
        peer.ssl_object.write(b"bad")
        bad = bytearray(peer.outgoing.read())
        bad[-1] ^= 1
        await asyncio.get_running_loop().sock_sendall(peer.sock, good + bad)
        assert isinstance(await protocol.lost, ssl.SSLError)
        assert protocol.received == (b"good" if loop_name == "sabio" else b"")


async def test_peer_hears_of_an_error_by_an_alert(loop_name):
    _, protocol, peer = await peers()
    with peer.sock:
        peer.ssl_object.write(b"data")
        record = bytearray(peer.outgoing.read())
        record[-1] ^= 1
        await asyncio.get_running_loop().sock_sendall(peer.sock, record)
        with pytest.raises(ssl.SSLError if loop_name == "sabio" else EOFError, match=r"alert|^$"):
            await peer.receive()
        await protocol.lost


async def test_data_after_close_is_dropped_and_is_no_error(loop_name):
    transport, protocol, peer = await peers()
    with peer.sock:
        transport.close()
        await peer.send(b"too late")
        assert await peer.receive() == b""
        await peer.send(b"much too late")
        await peer.say_goodbye()
        reason = await protocol.lost
        assert protocol.received == b""
        if loop_name == "sabio":
            assert reason is None
        else:
            assert isinstance(reason, ssl.SSLError)


async def test_paused_protocol_gets_nothing_after_close():
    transport, protocol, peer = await peers()
    with peer.sock:
        transport.pause_reading()
        await peer.send(b"unread")
        await turns(5)
        transport.abort()
        assert await protocol.lost is None
        assert protocol.calls == ["connection_made", "connection_lost"]


async def test_abort_waits_for_nobody():
    transport, protocol, peer = await peers()
    with peer.sock:
        transport.write(b"x")
        transport.abort()
        assert transport.is_closing()
        assert await asyncio.wait_for(protocol.lost, 10) is None
        transport.abort()
        transport.close()


async def test_writes_after_close_are_dropped_and_logged(caplog):
    transport, protocol, peer = await peers()
    with peer.sock:
        transport.close()
        for _ in range(10):
            transport.write(b"x")
        transport.writelines([b"x"])
        await peer.say_goodbye()
        await protocol.lost
        messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert set(messages) == {"SSL connection is closed"}
        assert await peer.receive() == b""
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 100) == b""


async def test_error_of_data_received_ends_the_connection():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))

    class Wrong(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError("data_received")

    transport, protocol, peer = await peers(Wrong)
    with peer.sock:
        await peer.send(b"data")
        assert isinstance(await protocol.lost, ZeroDivisionError)
        assert [context["message"] for context in contexts] == ["Fatal error on SSL protocol"]
        assert set(contexts[0]) == {"message", "exception", "transport", "protocol"}
        assert transport.is_closing()


async def test_error_of_eof_received_ends_the_connection():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))

    class Wrong(Recorder):
        def eof_received(self):
            raise ZeroDivisionError("eof_received")

    _, protocol, peer = await peers(Wrong)
    with peer.sock:
        await peer.say_goodbye()
        assert isinstance(await protocol.lost, ZeroDivisionError)
        assert [context["message"] for context in contexts] == ["Error calling eof_received()"]


async def test_connection_cannot_be_kept_half_open(caplog):
    class Keeping(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    _, protocol, peer = await peers(Keeping)
    with peer.sock:
        await peer.say_goodbye()
        assert await protocol.lost is None
        assert [record.getMessage() for record in caplog.records] == [
            "returning true from eof_received() has no effect when using ssl"
        ]


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="before 3.12 a server that is closed is not waited for"
)
async def test_server_waits_for_its_tls_connections():
    async with serving() as served:
        transport, protocol = await served.connect()
        await served.protocols[0].connected
        served.server.close()
        closing = asyncio.ensure_future(served.server.wait_closed())
        await turns(5)
        assert not closing.done()
        transport.close()
        await protocol.lost
        await closing


@pytest.mark.asyncio_lacks("close_clients() is new in 3.13", where="<3.13")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_server_ends_its_tls_connections(how):
    async with serving() as served:
        _, protocol = await served.connect()
        await served.protocols[0].connected
        served.server.close()
        getattr(served.server, how)()
        assert await protocol.lost is None
        await served.server.wait_closed()


async def test_closed_connection_leaves_no_cycle():
    async with serving() as served:
        transport, protocol = await served.connect()
        transport.close()
        await protocol.lost
        await served.protocols[0].lost
        kept = weakref.ref(transport), weakref.ref(transport.get_extra_info("ssl_object"))
        del transport
        protocol.transport = None
        await turns(3)
        gc.collect()
        assert [reference() for reference in kept] == [None, None]


def collect_all(connection):
    connection.clear()
    gc.collect()


def test_connection_of_a_closed_loop_warns(loop_factory):
    loop = loop_factory()
    connection = [*loop.run_until_complete(peers())]
    loop.close()
    with connection.pop().sock, pytest.warns(ResourceWarning) as caught:
        collect_all(connection)
    assert any("unclosed transport" in str(warning.message) for warning in caught)


async def test_blocking_peer_sees_a_clean_end():
    def talk(address):
        with blocking_client(address) as sock:
            sock.sendall(b"hello")
            received = sock.recv(100)
            sock.unwrap().close()
            return received

    class Echo(Recorder):
        def data_received(self, data):
            self.transport.write(data)

    async with serving(Echo) as served:
        assert await in_thread(talk, served.address) == b"hello"
        assert await served.protocols[0].lost is None
        assert served.protocols[0].calls == ["connection_made", "eof_received", "connection_lost"]
