"""The engines of TLS: which one serves, and that applications cannot tell them apart, callbacks included."""

from __future__ import annotations

import asyncio
import gc
import importlib
import ssl

import pytest

from tests.support.certificates import certificates, client_context, server_context
from tests.support.engines import VARIABLE, available
from tests.support.net import HOST
from tests.support.protocols import Recorder
from tests.support.tls import serving
from tests.support.waiting import until


class Answering(Recorder):
    """Sends back what comes."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


def engine():
    return importlib.import_module("sabio._sabio")._tls_engine()


async def exchange(served, **options):
    """A message and its answer over a new connection: both transports."""
    transport, protocol = await served.connect(**options)
    transport.write(b"hello")
    assert await protocol.receive(5) == b"hello"
    return transport, served.protocols[-1].transport


# ---------------------------------------------------------------- which one serves


def test_name_of_the_engine_comes_with_a_reason(sabio, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    name, why = engine()
    assert name in ("libssl", "portable")
    if name == "libssl":
        assert ssl.OPENSSL_VERSION in why
    assert why
    monkeypatch.setenv(VARIABLE, "portable")
    assert engine() == ("portable", f"{VARIABLE} asks for it")


def test_libssl_is_called_where_the_interpreter_is_linked_with_it(sabio, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if ssl.OPENSSL_VERSION_INFO < (3, 0):
        pytest.skip(f"{ssl.OPENSSL_VERSION} is not called directly")
    if not hasattr(importlib.import_module("_ssl"), "__file__"):
        pytest.skip("the module _ssl is a part of this interpreter")
    assert engine()[0] == "libssl"


async def test_unknown_name_is_refused(sabio, loop_name, monkeypatch):
    monkeypatch.setenv(VARIABLE, "quick")
    with pytest.raises(ValueError, match="SABIO_TLS_ENGINE must be 'portable' or 'libssl', not 'quick'"):
        engine()
    # The connection is made first, and given up then.
    listener = await asyncio.get_running_loop().create_server(Recorder, HOST, 0)
    async with listener:
        with pytest.raises(ValueError, match="quick"):
            await asyncio.get_running_loop().create_connection(
                Recorder,
                *listener.sockets[0].getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
            )


class Wrapped:
    """An object in the place of an `SSLObject`, that only passes calls on."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        if name == "_sslobj":
            raise AttributeError(name)
        return getattr(self.real, name)


class WrappingContext(ssl.SSLContext):
    """A context whose `wrap_bio()` gives another kind of object."""

    def wrap_bio(self, *args, **kwargs):
        return Wrapped(super().wrap_bio(*args, **kwargs))


async def test_object_that_is_none_of_the_interpreter_is_served_by_the_portable_engine(
    sabio, loop_name, monkeypatch
):
    monkeypatch.delenv(VARIABLE, raising=False)
    context = WrappingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates() / "authority.pem")
    async with serving(Answering) as served:
        transport, _ = await exchange(served, ssl=context)
        assert isinstance(transport.get_extra_info("ssl_object"), Wrapped)
        transport.close()
        await served.protocols[0].lost
        if "libssl" in available():
            monkeypatch.setenv(VARIABLE, "libssl")
            with pytest.raises(RuntimeError, match=r"another object than ssl\.SSLObject"):
                await served.connect(ssl=context)


# ---------------------------------------------------------------- callbacks of the context


@pytest.mark.usefixtures("tls_engine")
async def test_message_callback_sees_the_data_and_what_it_raises_ends_the_connection(reports, loop_name):
    seen = []

    def watch(connection, direction, version, content_type, message_type, data):
        seen.append(direction)
        if broken:
            raise LookupError("a callback that fails")

    broken = False
    context = server_context()
    context._msg_callback = watch
    async with serving(Answering, context) as served:
        transport, _ = await exchange(served)
        assert {"read", "write"} <= set(seen)
        seen.clear()
        broken = True
        transport.write(b"again")
        error = await served.protocols[0].lost
        assert isinstance(error, LookupError)
        assert seen
        reports.take_exceptions()
        transport.abort()


@pytest.mark.usefixtures("tls_engine")
async def test_keys_are_logged(tmp_path):
    context = client_context()
    context.keylog_filename = str(tmp_path / "keys")
    async with serving(Answering) as served:
        transport, _ = await exchange(served, ssl=context)
        assert "SERVER_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()
        transport.close()
        await served.protocols[0].lost


@pytest.mark.usefixtures("tls_engine")
async def test_name_of_the_server_chooses_the_certificate():
    other = server_context("other")
    names = []

    def choose(ssl_object, name, context):
        names.append(name)
        if name == "other.test":
            ssl_object.context = other

    context = server_context()
    context.sni_callback = choose
    async with serving(Answering, context) as served:
        for name in ("localhost", "other.test"):
            transport, above = await exchange(served, server_hostname=name)
            assert transport.get_extra_info("peercert")["subjectAltName"][0] == ("DNS", name)
            assert (above.get_extra_info("ssl_object").context is other) == (name == "other.test")
            transport.close()
            await served.protocols[-1].lost
    assert names == ["localhost", "other.test"]


@pytest.mark.usefixtures("tls_engine")
async def test_client_shows_its_certificate_after_the_handshake():
    context = server_context()
    context.post_handshake_auth = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates() / "authority.pem")
    trusting = client_context()
    trusting.post_handshake_auth = True
    trusting.load_cert_chain(certificates() / "client.pem", certificates() / "client.key")
    async with serving(Answering, context) as served:
        transport, above = await exchange(served, ssl=trusting)
        ssl_object = above.get_extra_info("ssl_object")
        assert ssl_object.getpeercert() is None
        ssl_object.verify_client_post_handshake()
        # The request leaves with the next data, and the answer to it comes with the next.
        above.write(b" now")
        await until(lambda: len(transport.get_protocol().received) == 9)
        transport.write(b"after")
        await until(lambda: len(served.protocols[0].received) == 10)
        assert ssl_object.getpeercert()["subjectAltName"] == (("DNS", "client.test"),)
        transport.close()
        await served.protocols[0].lost


@pytest.mark.usefixtures("tls_engine")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_session_is_used_again(version):
    context = client_context()
    context.minimum_version = context.maximum_version = version
    sessions = []

    class Resuming(ssl.SSLObject):
        @classmethod
        def _create(cls, *args, **kwargs):
            return super()._create(*args, **{**kwargs, "session": sessions[-1] if sessions else None})

    context.sslobject_class = Resuming
    async with serving(Answering) as served:
        for again in (False, True):
            transport, _ = await exchange(served, ssl=context)
            ssl_object = transport.get_extra_info("ssl_object")
            assert isinstance(ssl_object, Resuming)
            assert ssl_object.session_reused == again
            sessions.append(ssl_object.session)
            transport.close()
            await served.protocols[-1].lost


# ---------------------------------------------------------------- afterwards


@pytest.mark.usefixtures("tls_engine")
async def test_object_outlives_its_connection():
    async with serving(Answering) as served:
        transport, protocol = await served.connect()
        ssl_object = transport.get_extra_info("ssl_object")
        transport.close()
        await protocol.lost
    del transport, protocol, served
    gc.collect()
    assert ssl_object.getpeercert()["subject"] == ((("commonName", "localhost"),),)
    with pytest.raises(ssl.SSLError):
        ssl_object.read(10)


@pytest.mark.usefixtures("tls_engine")
async def test_failure_of_one_connection_is_none_of_the_next():
    async with serving(Answering) as served:
        transport, protocol = await served.connect()
        for count in range(1, 4):
            with pytest.raises(ssl.SSLCertVerificationError):
                await served.connect(ssl=ssl.create_default_context())
            transport.write(b"alive")
            assert await protocol.receive(5 * count) == b"alive" * count
        transport.close()
        await protocol.lost
