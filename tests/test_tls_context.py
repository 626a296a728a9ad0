"""Whatever an ssl.SSLContext is set to holds: certificates of clients, names, sessions, keys, callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from tests.support.certificates import certificates, client_context, server_context
from tests.support.protocols import Recorder
from tests.support.tls import blocking_client, in_thread, serving
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("tls_engine")


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


async def talk(served, **options):
    """Connect, exchange a message, close: both transports, which are closed."""
    transport, protocol = await served.connect(**options)
    transport.write(b"hello")
    assert await protocol.receive(5) == b"hello"
    accepted = served.protocols[-1]
    transport.close()
    await protocol.lost
    await accepted.lost
    return transport, accepted.transport


def demanding_context():
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates() / "authority.pem")
    return context


def with_certificate(context, name="client"):
    context.load_cert_chain(certificates() / f"{name}.pem", certificates() / f"{name}.key")
    return context


async def test_server_sees_the_certificate_of_a_client():
    async with serving(Echo, demanding_context()) as served:
        _, accepted = await talk(served, ssl=with_certificate(client_context()))
        assert accepted.get_extra_info("peercert")["subject"] == ((("commonName", "client"),),)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_client_without_certificate_is_refused(version):
    context = client_context()
    context.maximum_version = version
    async with serving(Echo, demanding_context()) as served:
        # With TLS 1.3 the client hears of it only after its own handshake.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            transport, protocol = await served.connect(ssl=context)
            transport.write(b"hello")
            await protocol.lost
            assert protocol.received == b""
        await until(lambda: served.protocols)
        assert served.protocols[0].calls == []


async def test_key_with_a_password():
    async with serving(Echo, server_context("locked", password="secret")) as served:
        await talk(served)


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2"], "h2"), (["http/1.1", "h2"], "h2"), (["spdy/1"], None)]
)
async def test_protocols_are_negotiated(offered, chosen):
    client, server = client_context(), server_context()
    client.set_alpn_protocols(offered)
    server.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(Echo, server) as served:
        for transport in await talk(served, ssl=client):
            assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == chosen


async def test_callback_for_names_may_replace_the_context():
    asked = []
    first, second = server_context("other"), server_context()

    def choose(ssl_object, name, context):
        asked.append((name, context is first))
        ssl_object.context = second

    first.sni_callback = choose
    async with serving(Echo, first) as served:
        transport, _ = await talk(served)
        assert transport.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
    assert asked == [("localhost", True)]


async def test_callback_for_names_may_refuse():
    context = server_context()
    context.sni_callback = lambda ssl_object, name, context: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    async with serving(Echo, context) as served:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await served.connect()


async def test_callback_for_names_may_end_the_connection():
    context = server_context()

    async with serving(Echo, context) as served:

        def abort(ssl_object, name, context):
            served.server.get_loop().call_soon(served.server.close)

        context.sni_callback = abort
        await talk(served)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_sessions_are_used_again(version):
    class Resuming(ssl.SSLContext):
        last = None

        def wrap_bio(self, *args, **kwargs):
            return super().wrap_bio(*args, session=self.last, **kwargs)

    context = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates() / "authority.pem")
    context.maximum_version = version
    async with serving(Echo) as served:
        first, _ = await talk(served, ssl=context)
        assert not first.get_extra_info("ssl_object").session_reused
        context.last = first.get_extra_info("ssl_object").session
        second, _ = await talk(served, ssl=context)
        assert second.get_extra_info("ssl_object").session_reused


async def test_object_of_the_context_s_own_class_is_used():
    calls = []

    class Own(ssl.SSLObject):
        def read(self, *args):
            calls.append("read")
            return super().read(*args)

        def write(self, data):
            calls.append("write")
            return super().write(data)

    context = client_context()
    context.sslobject_class = Own
    async with serving(Echo) as served:
        transport, _ = await talk(served, ssl=context)
        assert type(transport.get_extra_info("ssl_object")) is Own


async def test_authentication_after_the_handshake():
    server = demanding_context()
    server.verify_mode = ssl.CERT_OPTIONAL
    server.post_handshake_auth = True
    client = with_certificate(client_context())
    client.post_handshake_auth = True
    server.verify_mode = ssl.CERT_REQUIRED

    class Asking(Recorder):
        def data_received(self, data):
            super().data_received(data)
            ssl_object = self.transport.get_extra_info("ssl_object")
            if data == b"who?":
                self.before = ssl_object.getpeercert()
                ssl_object._sslobj.verify_client_post_handshake()
                self.transport.write(b"?")
            else:
                self.after = ssl_object.getpeercert()
                self.transport.write(b"!")

    async with serving(Asking, server) as served:
        transport, protocol = await served.connect(ssl=client)
        transport.write(b"who?")
        await protocol.receive(1)
        transport.write(b"me")
        assert await protocol.receive(2) == b"?!"
        accepted = served.protocols[0]
        assert not accepted.before
        assert accepted.after["subject"] == ((("commonName", "client"),),)
        transport.close()
        await protocol.lost


async def test_keys_are_logged(tmp_path):
    context = client_context()
    context.keylog_filename = tmp_path / "keys"
    async with serving(Echo) as served:
        await talk(served, ssl=context)
    assert "CLIENT_" in (tmp_path / "keys").read_text()


async def test_renegotiation_is_refused_as_openssl_is_set():
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    async with serving(Echo, context) as served:

        def ask(address):
            with blocking_client(address) as sock:
                sock.sendall(b"still there?")
                return sock.version(), sock.recv(100)

        assert await in_thread(ask, served.address) == ("TLSv1.2", b"still there?")


@pytest.mark.parametrize("message_callback", [False, True])
async def test_many_connections_at_once(message_callback):
    context = client_context()
    seen = []
    if message_callback:
        context._msg_callback = lambda *args: seen.append(args[1])
    async with serving(Echo) as served:
        await asyncio.gather(*(talk_alone(served, context, index) for index in range(30)))
    assert bool(seen) == message_callback


async def talk_alone(served, context, index):
    transport, protocol = await served.connect(ssl=context)
    data = bytes([index]) * 50_000
    transport.write(data)
    assert await protocol.receive(len(data)) == data
    transport.close()
    assert await protocol.lost is None
