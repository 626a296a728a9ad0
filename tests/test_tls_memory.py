"""What a TLS connection gives back once its handshake is done, and that nothing is missed afterwards."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import ssl

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.engines import choose
from tests.support.protocols import Recorder
from tests.support.tls import serving

CONNECTIONS = 30


class Answering(Recorder):
    """Sends back what comes."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


class Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def allocated() -> int:
    """The bytes that malloc(3) has given out."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        pytest.skip("this C library does not count what it gives out (mallinfo2)")
    mallinfo.restype = Mallinfo
    gc.collect()
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


async def exchange(served, context):
    transport, protocol = await served.connect(ssl=context)
    transport.write(b"hello")
    assert await protocol.receive(5) == b"hello"
    return transport, protocol


async def test_idle_connection_keeps_nothing_of_its_handshake(sabio, loop_name, monkeypatch):
    choose("libssl", monkeypatch)
    context = client_context()
    async with serving(Answering) as served:
        kept = [await exchange(served, context) for _ in range(5)]
        before = allocated()
        kept += [await exchange(served, context) for _ in range(CONNECTIONS)]
        # Both ends. The keys of an ML-KEM handshake alone are 14 KB, a buffer that was forgotten 16 KB. The layers of
        # records take more from OpenSSL 3.2 on.
        most = 43_000 if ssl.OPENSSL_VERSION_INFO < (3, 2) else 62_000
        assert (allocated() - before) / CONNECTIONS < most
        for transport, protocol in kept:
            transport.abort()
            await protocol.lost


@pytest.mark.usefixtures("tls_engine")
@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1"])
async def test_data_flows_whichever_keys_were_agreed_on(curve):
    context = server_context()
    # None of those that the client offers at first, so the handshake takes one turn more.
    context.set_ecdh_curve(curve)
    async with serving(Answering, context) as served:
        transport, protocol = await exchange(served, client_context())
        ssl_object = transport.get_extra_info("ssl_object")
        assert ssl_object.version() == "TLSv1.3"
        assert ssl_object.getpeercert()["subject"] == ((("commonName", "localhost"),),)
        for size in (1, 20_000, 200_000):
            received = len(protocol.received)
            transport.write(b"x" * size)
            await protocol.receive(received + size)
        transport.close()
        assert await protocol.lost is None


@pytest.mark.usefixtures("tls_engine")
async def test_data_that_comes_with_the_end_of_the_handshake_is_not_lost():
    class Greeting(Answering):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"welcome" * 3000)

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context()
        context.minimum_version = context.maximum_version = version
        async with serving(Greeting) as served:
            transport, protocol = await served.connect(ssl=context)
            transport.write(b"hello")
            assert await protocol.receive(21_005) == b"welcome" * 3000 + b"hello"
            transport.close()
            await asyncio.wait_for(protocol.lost, 10)
