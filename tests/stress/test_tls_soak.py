"""A TLS soak: connections that are opened, used and closed by the thousands leave nothing behind.

`SABIO_SOAK` says how many connections there are: 20,000 is a good number for a night, the usual one fits a test run.
"""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.net import HOST
from tests.support.protocols import Recorder

CONNECTIONS = int(os.environ.get("SABIO_SOAK", "2000"))
#: Opened and closed before anything is weighed: until then memory is still being set up.
BEFORE = 1000
AT_ONCE = 20
#: How much larger the process may be afterwards; asyncio's leaves more to the collector.
SLACK = {"sabio": 0.05, "asyncio": 0.2}

pytestmark = [
    pytest.mark.usefixtures("tls_engine"),
    pytest.mark.timeout(60 + CONNECTIONS // 20, method="signal"),
]


class Answering(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def resident():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def open_and_close(address, count, contexts):
    """`count` connections, some of which end in another way than by `close()`."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(count))

    async def one_after_the_other():
        for number in numbers:
            context = contexts[number % len(contexts)]
            transport, protocol = await loop.create_connection(
                Recorder, *address, ssl=context, server_hostname="localhost"
            )
            message = b"%d" % number * (5000 if number % 7 == 0 else 5)
            transport.write(message)
            assert await protocol.receive(len(message)) == message
            if number % 5 == 0:
                transport.abort()
            else:
                transport.close()
            await protocol.lost

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


async def test_memory_is_back_after_thousands_of_connections(loop_name):
    contexts = [client_context(), client_context()]
    contexts[1].maximum_version = ssl.TLSVersion.TLSv1_2
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, HOST, 0, ssl=server_context(), backlog=AT_ONCE)
    async with server:
        address = server.sockets[0].getsockname()
        await open_and_close(address, BEFORE, contexts)
        before = resident()
        await open_and_close(address, CONNECTIONS, contexts)
        after = resident()
    assert after <= before * (1 + SLACK[loop_name]), f"{before} bytes before, {after} after"


async def test_failed_handshakes_leave_no_memory(loop_name):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, HOST, 0, ssl=server_context(), backlog=AT_ONCE)
    distrusting = ssl.create_default_context()

    async def fail(count):
        for number in range(count):
            if number % 2:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await loop.create_connection(
                        Recorder, *address, ssl=distrusting, server_hostname="localhost"
                    )
            else:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"no handshake at all\r\n\r\n")
                with_alert = await reader.read()
                assert len(with_alert) <= 7
                writer.close()

    async with server:
        address = server.sockets[0].getsockname()
        await fail(BEFORE // 4)
        before = resident()
        await fail(CONNECTIONS // 4)
        after = resident()
    assert after <= before * (1 + SLACK[loop_name]), f"{before} bytes before, {after} after"
