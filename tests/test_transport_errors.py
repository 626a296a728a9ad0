"""Exceptions out of the callbacks of a protocol: reported, and the connection ends (asyncio docs, "Protocols")."""

import asyncio
import gc
import weakref

import pytest

from tests.support.net import reset, tcp_pair
from tests.support.protocols import Recorder
from tests.support.waiting import turns, until


class Fatal(BaseException):
    """Neither an Exception nor one of the two that loops treat specially."""


def failing(callback, error):
    """A recorder whose `callback` raises."""

    class Failing(Recorder):
        pass

    def fail(self, *args):
        getattr(Recorder, callback)(self, *args)
        raise error

    setattr(Failing, callback, fail)
    return Failing


@pytest.fixture
def contexts():
    """What the exception handler of the running loop gets."""
    collected = []
    yield collected
    collected.clear()


async def connect(factory, contexts):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    left, right = tcp_pair()
    transport, protocol = await loop.connect_accepted_socket(factory, left)
    return transport, protocol, right


@pytest.mark.parametrize("error", [ValueError("failed"), Fatal("failed")])
async def test_error_in_data_received_ends_the_connection(error, contexts):
    transport, protocol, peer = await connect(failing("data_received", error), contexts)
    peer.send(b"data")
    assert await asyncio.wait_for(protocol.lost, 10) is error
    [context] = contexts
    assert context["message"] == "Fatal error: protocol.data_received() call failed."
    assert context["exception"] is error
    assert context["transport"] is transport
    assert context["protocol"] is protocol
    assert transport.is_closing()
    peer.close()


@pytest.mark.parametrize("error", [ValueError("failed"), Fatal("failed")])
async def test_error_in_eof_received_ends_the_connection(error, contexts):
    _, protocol, peer = await connect(failing("eof_received", error), contexts)
    peer.close()
    assert await asyncio.wait_for(protocol.lost, 10) is error
    [context] = contexts
    assert context["message"] == "Fatal error: protocol.eof_received() call failed."


async def test_error_in_connection_made_is_reported_and_the_connection_lives(contexts):
    transport, protocol, peer = await connect(failing("connection_made", ValueError("failed")), contexts)
    await until(lambda: contexts)
    assert str(contexts[0]["exception"]) == "failed"
    assert contexts[0]["message"].startswith("Exception in callback ")
    peer.send(b"data")
    assert await protocol.receive(4) == b"data"
    transport.close()
    await protocol.lost
    peer.close()


async def test_error_in_connection_lost_is_reported_and_the_socket_closed(contexts):
    transport, protocol, peer = await connect(failing("connection_lost", ValueError("failed")), contexts)
    transport.close()
    await protocol.lost
    await until(lambda: contexts)
    assert str(contexts[0]["exception"]) == "failed"
    peer.setblocking(True)
    assert peer.recv(10) == b""
    peer.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("callback", ["data_received", "eof_received", "connection_lost"])
def test_exit_exceptions_come_out_of_the_run(loop, kind, callback):
    async def main():
        left, right = tcp_pair()
        transport, protocol = await loop.connect_accepted_socket(failing(callback, kind("leaving")), left)
        return transport, protocol, right

    transport, protocol, peer = loop.run_until_complete(main())
    peer.send(b"data")
    peer.close()
    with pytest.raises(kind, match=r"leaving"):
        loop.run_forever()
    assert callback in protocol.calls
    transport.abort()
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    assert protocol.lost.done()


async def test_connection_reset_is_no_error_of_the_program(contexts):
    _, protocol, peer = await connect(Recorder, contexts)
    reset(peer)
    assert isinstance(await protocol.lost, ConnectionResetError)
    await turns(2)
    assert contexts == []


async def test_missing_callback_ends_the_connection(contexts):
    class Incomplete(asyncio.BaseProtocol):
        def __init__(self):
            self.lost = asyncio.get_running_loop().create_future()

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    _, protocol, peer = await connect(Incomplete, contexts)
    peer.send(b"data")
    assert isinstance(await asyncio.wait_for(protocol.lost, 10), AttributeError)
    assert contexts[0]["message"] == "Fatal error: protocol.data_received() call failed."
    peer.close()


async def test_coroutine_functions_as_callbacks_do_not_run(contexts, reports):
    class Async(Recorder):
        async def data_received(self, data):
            pytest.fail("ran")

    _, protocol, peer = await connect(Async, contexts)
    peer.send(b"data")
    await until(lambda: reports.unraisable)
    assert "data_received' was never awaited" in reports.take_unraisable()[0]
    peer.close()
    await protocol.lost


async def test_closed_transport_lets_go_of_its_protocol(contexts):
    transport, protocol, peer = await connect(Recorder, contexts)
    alive = weakref.ref(protocol)
    transport.close()
    await protocol.lost
    await turns(2)
    del protocol
    gc.collect()
    assert alive() is None
    assert transport.is_closing()
    peer.close()


async def test_transport_is_released_when_the_connection_is_gone(contexts):
    transport, protocol, peer = await connect(Recorder, contexts)
    alive = weakref.ref(transport)
    peer.close()
    await protocol.lost
    await turns(2)
    del transport, protocol
    gc.collect()
    assert alive() is None


async def test_open_connection_keeps_itself_alive(contexts):
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[0]

    transport, _, peer = await connect(factory, contexts)
    del transport, _
    gc.collect()
    peer.send(b"data")
    assert await protocols[0].receive(4) == b"data"
    peer.close()
    await protocols[0].lost


async def test_loop_goes_on_with_other_connections_after_an_error(contexts):
    _, bad, bad_peer = await connect(failing("data_received", ValueError("failed")), contexts)
    _, good, good_peer = await connect(Recorder, contexts)
    bad_peer.send(b"data")
    good_peer.send(b"data")
    assert await good.receive(4) == b"data"
    await bad.lost
    good_peer.close()
    bad_peer.close()
    await good.lost
