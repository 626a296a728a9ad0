"""The handshake of TLS when it goes wrong: certificates, garbage, peers that stop or go away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.descriptors import exhausted
from tests.support.net import HOST, listener, reset, tcp_pair
from tests.support.protocols import Recorder
from tests.support.tls import in_thread, serving
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("tls_engine")

#: The beginning of a handshake record that promises 512 bytes.
HALF_A_RECORD = b"\x16\x03\x01\x02\x00\x01\x00"


async def fails_to_connect(served, expected, match, **options):
    with pytest.raises(expected, match=match):
        await served.connect(**options)
    # The server has made a protocol for it, which never hears of the connection.
    await until(lambda: served.protocols)
    assert served.protocols[-1].calls == []


async def test_wrong_host_name_is_refused():
    async with serving(context=server_context("other")) as served:
        await fails_to_connect(served, ssl.SSLCertVerificationError, "Hostname mismatch")


async def test_other_name_may_be_expected():
    async with serving(context=server_context("other")) as served:
        transport, protocol = await served.connect(server_hostname="other.test")
        transport.close()
        assert await protocol.lost is None


async def test_expired_certificate_is_refused():
    async with serving(context=server_context("expired")) as served:
        await fails_to_connect(served, ssl.SSLCertVerificationError, "certificate has expired")


async def test_self_signed_certificate_is_refused():
    async with serving(context=server_context("alone")) as served:
        await fails_to_connect(served, ssl.SSLCertVerificationError, "self-signed certificate")


async def test_default_context_trusts_nobody_s_test_authority():
    async with serving() as served:
        await fails_to_connect(served, ssl.SSLCertVerificationError, "unable to get local issuer", ssl=True)


async def test_default_context_is_the_one_of_the_moment(monkeypatch):
    monkeypatch.setattr(ssl, "create_default_context", client_context)
    async with serving() as served:
        transport, protocol = await served.connect(ssl=True)
        transport.close()
        assert await protocol.lost is None


async def test_host_is_the_expected_name_if_nobody_says_otherwise():
    async with serving() as served:
        transport, protocol = await served.connect(server_hostname=None)
        assert transport.get_extra_info("ssl_object").server_hostname == HOST
        transport.close()
        await protocol.lost


async def test_empty_name_checks_no_name():
    context = client_context()
    context.check_hostname = False
    async with serving(context=server_context("other")) as served:
        transport, protocol = await served.connect(ssl=context, server_hostname="")
        transport.close()
        await protocol.lost


async def test_no_common_version_ends_both_sides():
    client, server = client_context(), server_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    async with serving(context=server) as served:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await served.connect(ssl=client)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, bytes(range(256)) * 64])
async def test_garbage_ends_a_server_s_connection(garbage):
    async with serving() as served:
        with socket.create_connection(served.address) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, garbage)
            with contextlib.suppress(ConnectionResetError):
                while await loop.sock_recv(sock, 1000):
                    pass
        assert served.protocols[0].calls == []


async def test_client_refuses_a_server_without_tls():
    with listener() as plain:

        def answer():
            sock, _ = plain.accept()
            with sock:
                sock.sendall(b"220 welcome\r\n")
                sock.settimeout(10)
                with contextlib.suppress(OSError):
                    while sock.recv(1000):
                        pass

        answering = asyncio.ensure_future(in_thread(answer))
        loop = asyncio.get_running_loop()
        with pytest.raises(ssl.SSLError, match=r"(?i)wrong.version|packet length|record"):
            await loop.create_connection(Recorder, *plain.getsockname(), ssl=client_context())
        await answering


@pytest.mark.parametrize("sent", [b"", HALF_A_RECORD])
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_peer_that_goes_away_in_the_handshake(sent, how):
    with listener() as plain:

        def leave():
            sock, _ = plain.accept()
            sock.recv(1000)
            sock.sendall(sent)
            reset(sock) if how == "reset" else sock.close()

        leaving = asyncio.ensure_future(in_thread(leave))
        loop = asyncio.get_running_loop()
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            await loop.create_connection(Recorder, *plain.getsockname(), ssl=client_context())
        await leaving


@pytest.mark.parametrize("sent", [b"", HALF_A_RECORD])
async def test_client_gives_up_a_handshake_that_takes_too_long(sent):
    left, right = tcp_pair()
    with left, right:
        right.send(sent)
        loop = asyncio.get_running_loop()
        message = "SSL handshake is taking longer than 0.05 seconds: aborting the connection"
        with pytest.raises(ConnectionAbortedError, match=message):
            await loop.create_connection(
                Recorder,
                sock=left,
                ssl=client_context(),
                server_hostname="localhost",
                ssl_handshake_timeout=0.05,
            )
        assert left.fileno() == -1


async def test_server_gives_up_a_handshake_that_takes_too_long():
    async with serving(ssl_handshake_timeout=0.05) as served:
        with socket.create_connection(served.address) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, HALF_A_RECORD)
            assert await asyncio.wait_for(loop.sock_recv(sock, 100), 10) == b""
        assert served.protocols[0].calls == []


@pytest.mark.debug_mode
async def test_server_reports_a_failed_handshake_in_debug_mode():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))
    async with serving() as served:
        with socket.create_connection(served.address) as sock:
            sock.sendall(b"nothing of TLS\r\n\r\n")
            await until(lambda: contexts)
    assert contexts[0]["message"] == "Error on transport creation for incoming connection"
    assert isinstance(contexts[0]["exception"], ssl.SSLError)
    assert contexts[0]["protocol"] is served.protocols[0]
    assert isinstance(contexts[0]["transport"], asyncio.Transport)


async def test_cancelled_client_leaves_nothing_open():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        connecting = asyncio.ensure_future(
            loop.create_connection(Recorder, sock=left, ssl=client_context(), server_hostname="localhost")
        )
        hello = await loop.sock_recv(right, 10_000)
        assert hello[:1] == b"\x16"
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert await loop.sock_recv(right, 1000) == b""


async def test_context_that_cannot_serve_closes_the_socket():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        context = server_context()
        with pytest.raises(ssl.SSLError, match="Cannot create a client socket"):
            await loop.create_connection(Recorder, sock=left, ssl=context, server_hostname="localhost")
        left.close()


async def test_a_timeout_that_is_no_number_is_over_at_once(sabio):
    # What asyncio does depends on its other timers, and ends the run from 3.13 on.
    loop = asyncio.get_running_loop()
    message = "SSL handshake is taking longer than nan seconds"
    with listener() as silent, pytest.raises(ConnectionAbortedError, match=message):
        await loop.create_connection(
            asyncio.Protocol, *silent.getsockname(), ssl=client_context(), ssl_handshake_timeout=float("nan")
        )
    async with serving() as served:
        transport, protocol = await served.connect(ssl_shutdown_timeout=float("nan"))
        transport.close()
        assert isinstance(await protocol.lost, TimeoutError | None)


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, -0.5])
async def test_timeouts_are_positive(name, seconds):
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        options = {"ssl": client_context(), "server_hostname": "localhost", name: seconds}
        with pytest.raises(ValueError, match=f"{name} should be a positive number, got {seconds}"):
            await loop.create_connection(Recorder, sock=left, **options)
        left.close()


async def test_accepted_socket_needs_a_context_of_a_server():
    left, right = tcp_pair()
    with left, right:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="Server side SSL needs a valid SSLContext"):
            await loop.connect_accepted_socket(Recorder, left, ssl=True)
        left.close()


async def test_error_of_connection_made_ends_the_connection():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))

    class Wrong(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            raise ZeroDivisionError("connection_made")

    async with serving(Wrong) as served:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            _, protocol = await served.connect()
            await protocol.lost
        assert isinstance(await served.protocols[0].lost, ZeroDivisionError)
    assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]


async def test_process_without_descriptors_refuses_and_goes_on():
    async with serving() as served:
        with exhausted():
            for _ in range(3):
                with pytest.raises(OSError, match="Too many open files"):
                    await served.connect()
        transport, protocol = await served.connect()
        transport.close()
        assert await protocol.lost is None
