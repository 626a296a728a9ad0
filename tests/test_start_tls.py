"""start_tls: connections that are encrypted after they were used in the clear, and TLS inside of TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.net import HOST, tcp_pair
from tests.support.protocols import READS_INTO_A_COPY, BufferedRecorder, Recorder
from tests.support.waiting import turns

pytestmark = pytest.mark.usefixtures("tls_engine")


class Upgrading(Recorder):
    """A server that answers STARTTLS and upgrades; afterwards it sends back what comes."""

    answer = b"GO AHEAD\n"

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.upgraded = False

    def data_received(self, data):
        super().data_received(data)
        if self.upgraded:
            self.transport.write(data)
        elif not self.asked and self.received.endswith(b"STARTTLS\n"):
            self.asked = len(self.received)
            self.transport.write(self.answer)
            self.task = asyncio.ensure_future(self.upgrade())

    async def upgrade(self):
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(self.transport, self, server_context(), server_side=True)
        self.upgraded = True
        # What came before this task went on.
        self.transport.write(self.received[self.asked :])


class Talkative(Upgrading):
    """Has much to say before it upgrades."""

    answer = b"x" * 3_000_000 + b"GO AHEAD\n"


class Flooding(Upgrading):
    """Has much to say as soon as it has upgraded."""

    flood = bytes(range(256)) * 20_000

    async def upgrade(self):
        await super().upgrade()
        self.transport.write(self.flood)


@contextlib.asynccontextmanager
async def plain_server(factory):
    protocols = []

    def make():
        protocols.append(factory())
        return protocols[-1]

    server = await asyncio.get_running_loop().create_server(make, HOST, 0)
    try:
        yield server.sockets[0].getsockname(), protocols
    finally:
        server.close()
        for protocol in protocols:
            protocol.transport.abort()
        await server.wait_closed()


@pytest.mark.parametrize("kind", [Recorder, BufferedRecorder])
async def test_both_sides_upgrade(kind):
    loop = asyncio.get_running_loop()
    async with plain_server(Upgrading) as (address, protocols):
        transport, protocol = await loop.create_connection(kind, *address)
        transport.write(b"STARTTLS\n")
        assert await protocol.receive(9) == b"GO AHEAD\n"
        upgraded = await loop.start_tls(transport, protocol, client_context(), server_hostname="localhost")
        assert upgraded is not transport
        assert isinstance(upgraded, asyncio.Transport)
        # The protocol is not told of a second connection.
        assert protocol.calls.count("connection_made") == 1
        assert upgraded.get_extra_info("peername") == address
        assert upgraded.get_extra_info("cipher") is not None
        upgraded.write(b"secret")
        assert (await protocol.receive(15))[9:] == b"secret"
        upgraded.close()
        assert await protocol.lost is None
        assert await protocols[0].lost is None


async def test_what_is_queued_leaves_before_the_handshake():
    loop = asyncio.get_running_loop()
    async with plain_server(Talkative) as (address, protocols):
        transport, protocol = await loop.create_connection(Recorder, *address)
        transport.write(b"STARTTLS\n")
        size = len(Talkative.answer)
        assert await protocol.receive(size) == Talkative.answer
        transport = await loop.start_tls(transport, protocol, client_context(), server_hostname="localhost")
        transport.write(b"secret")
        assert (await protocol.receive(size + 6))[size:] == b"secret"
        assert protocols[0].received == b"STARTTLS\nsecret"
        transport.close()
        await protocol.lost


async def test_stream_writer_upgrades_both_sides():
    seen = []
    handled = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        seen.append(await reader.readline())
        writer.write(b"go ahead\n")
        await writer.start_tls(server_context())
        seen.append(await reader.readline())
        writer.write(b"bye\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        handled.set_result(None)

    server = await asyncio.start_server(handle, HOST, 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        assert writer.get_extra_info("sslcontext") is not None
        writer.write(b"secret\n")
        assert await reader.readline() == b"bye\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await handled
    assert seen == [b"hello\n", b"secret\n"]


@pytest.mark.asyncio_lacks("leaves the old transport paused", run=False)
async def test_reader_that_has_much_to_read_at_once_goes_on():
    async with plain_server(Flooding) as (address, _):
        reader, writer = await asyncio.open_connection(*address, limit=1000)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"GO AHEAD\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        await asyncio.sleep(0.01)
        assert await reader.readexactly(len(Flooding.flood)) == Flooding.flood
        writer.close()
        await writer.wait_closed()


@pytest.mark.asyncio_lacks(
    "loses what the reader has got already", where=["<3.13.12", ">=3.14,<3.14.3"], strict=False
)
async def test_handshake_that_came_with_the_request_is_not_lost():
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    async def handle(reader, writer):
        line = await reader.readline()
        # Time for the client's handshake to come into the reader's buffer.
        await asyncio.sleep(0.05)
        await writer.start_tls(server_context())
        done.set_result((line, await reader.readline()))
        writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        await asyncio.wait_for(writer.start_tls(client_context(), server_hostname="localhost"), 5)
        writer.write(b"secret\n")
        assert await done == (b"STARTTLS\n", b"secret\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("kind", [Recorder, pytest.param(BufferedRecorder, marks=READS_INTO_A_COPY)])
async def test_tls_inside_of_tls(kind):
    loop = asyncio.get_running_loop()

    class Twice(Upgrading):
        async def upgrade(self):
            self.transport = await loop.start_tls(self.transport, self, server_context(), server_side=True)
            await super().upgrade()

    async with plain_server(Twice) as (address, protocols):
        transport, protocol = await loop.create_connection(kind, *address)
        transport.write(b"STARTTLS\n")
        await protocol.receive(9)
        for _ in range(2):
            transport = await loop.start_tls(
                transport, protocol, client_context(), server_hostname="localhost"
            )
        data = bytes(range(256)) * 2000
        transport.write(data)
        assert (await protocol.receive(9 + len(data)))[9:] == data
        transport.close()
        assert await protocol.lost is None
        assert await protocols[0].lost is None


@pytest.mark.asyncio_lacks("what comes with the end of the handshake is the old protocol's")
@pytest.mark.parametrize("more", ["", "close_notify", "end of the connection"])
async def test_what_comes_with_the_end_of_the_handshake_waits_for_who_upgrades(more):
    left, right = tcp_pair()
    loop = asyncio.get_running_loop()
    with left, right:
        transport, before = await loop.connect_accepted_socket(Recorder, left)
        after = Recorder()

        async def upgrade():
            upgraded = await loop.start_tls(transport, before, server_context(), server_side=True)
            upgraded.set_protocol(after)
            return upgraded

        upgrading = asyncio.ensure_future(upgrade())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        await loop.sock_sendall(right, outgoing.read())
        incoming.write(await loop.sock_recv(right, 100_000))
        client.do_handshake()
        client.write(b"early")
        if more:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
        await loop.sock_sendall(right, outgoing.read())
        if more == "end of the connection":
            right.shutdown(socket.SHUT_WR)
        upgraded = await upgrading
        assert before.received == b""
        assert await after.receive(5) == b"early"
        if not more:
            assert after.calls == ["data_received"]
            upgraded.abort()
        assert await after.lost is None
        assert before.calls == ["connection_made"]


async def test_wrong_certificate_closes_the_connection():
    loop = asyncio.get_running_loop()
    async with plain_server(Upgrading) as (address, protocols):
        transport, protocol = await loop.create_connection(Recorder, *address)
        transport.write(b"STARTTLS\n")
        await protocol.receive(9)
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.start_tls(transport, protocol, client_context(), server_hostname="example.org")
        assert transport.is_closing()
        assert isinstance(await protocol.lost, ssl.SSLCertVerificationError)
        with contextlib.suppress(OSError):
            await protocols[0].task


async def test_cancelled_upgrade_closes_the_connection():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_accepted_socket(Recorder, left)
        upgrading = asyncio.ensure_future(
            loop.start_tls(transport, protocol, client_context(), server_hostname="x")
        )
        assert (await loop.sock_recv(right, 10_000))[:1] == b"\x16"
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        assert await loop.sock_recv(right, 100) == b""
        await turns(5)
        assert transport.is_closing()
        assert protocol.calls == ["connection_made"]


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_connection_that_is_closed_in_the_middle_of_an_upgrade(end):
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_accepted_socket(Recorder, left)
        upgrading = asyncio.ensure_future(
            loop.start_tls(transport, protocol, client_context(), server_hostname="x")
        )
        assert (await loop.sock_recv(right, 10_000))[:1] == b"\x16"
        getattr(transport, end)()
        assert await upgrading is None
        await turns(5)
        assert protocol.calls == ["connection_made"]


async def test_upgrade_takes_no_longer_than_it_may():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_accepted_socket(Recorder, left)
        with pytest.raises(ConnectionAbortedError, match=r"longer than 0\.05 seconds"):
            await loop.start_tls(
                transport, protocol, client_context(), server_hostname="x", ssl_handshake_timeout=0.05
            )
        assert transport.is_closing()


async def test_arguments_are_checked():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_accepted_socket(Recorder, left)
        for wrong in (None, True, object()):
            with pytest.raises(
                TypeError, match=r"sslcontext is expected to be an instance of ssl\.SSLContext, got"
            ):
                await loop.start_tls(transport, protocol, wrong)
        for wrong in (None, object()):
            with pytest.raises(TypeError, match=r"transport .* is not supported by start_tls\(\)"):
                await loop.start_tls(wrong, protocol, client_context())
        with pytest.raises(ValueError, match="ssl_handshake_timeout should be a positive number, got 0"):
            await loop.start_tls(
                transport, protocol, client_context(), server_hostname="x", ssl_handshake_timeout=0
            )
        transport.close()
        await protocol.lost


async def test_transport_of_a_user_may_carry_tls():
    """A transport that passes everything on: nothing of it is known but the documented methods."""
    loop = asyncio.get_running_loop()

    class Passing(asyncio.Transport):
        _start_tls_compatible = True

        def __init__(self, transport):
            super().__init__()
            self.transport = transport

        def __getattribute__(self, name):
            if name in ("transport", "_start_tls_compatible") or name.startswith("__"):
                return super().__getattribute__(name)
            if name.startswith("_") and name != "_force_close":
                raise AttributeError(name)
            return getattr(super().__getattribute__("transport"), name)

    async with plain_server(Upgrading) as (address, protocols):
        transport, protocol = await loop.create_connection(Recorder, *address)
        transport.write(b"STARTTLS\n")
        await protocol.receive(9)
        upgraded = await loop.start_tls(
            Passing(transport), protocol, client_context(), server_hostname="localhost"
        )
        data = bytes(range(256)) * 2000
        upgraded.write(data)
        assert (await protocol.receive(9 + len(data)))[9:] == data
        upgraded.close()
        assert await protocol.lost is None
        assert await protocols[0].lost is None
