"""Slow callbacks of protocols in debug mode: the loop tells of each, whatever it is that called it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.net import HOST
from tests.support.waiting import until

SLOW_SECONDS = 0.03
THRESHOLD_SECONDS = 0.02


class Slow(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """Says what was called, and takes its time for one of the callbacks."""

    def __init__(self, slow: str) -> None:
        self.slow = slow
        self.called: list[str] = []

    def call(self, name: str) -> None:
        if name == self.slow:
            time.sleep(SLOW_SECONDS)
        self.called.append(name)

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.call("connection_made")

    def data_received(self, data) -> None:
        self.call("data_received")

    def eof_received(self) -> None:
        self.call("eof_received")

    def connection_lost(self, exc) -> None:
        self.call("connection_lost")

    def datagram_received(self, data, addr) -> None:
        self.call("datagram_received")

    def pipe_data_received(self, fd, data) -> None:
        self.call("pipe_data_received")

    def process_exited(self) -> None:
        self.call("process_exited")


async def client(loop, protocol):
    near, far = socket.socketpair()
    with far:
        await loop.create_connection(lambda: protocol, sock=near)
        far.send(b"data")
        await until(lambda: "data_received" in protocol.called)
        far.shutdown(socket.SHUT_WR)
        await until(lambda: "connection_lost" in protocol.called)


async def server(loop, protocol):
    listening = await loop.create_server(lambda: protocol, HOST, 0)
    with socket.create_connection(listening.sockets[0].getsockname()) as peer:
        peer.send(b"data")
        await until(lambda: "data_received" in protocol.called)
    await until(lambda: "connection_lost" in protocol.called)
    listening.close()


async def tls(loop, protocol):
    listening = await loop.create_server(lambda: protocol, HOST, 0, ssl=server_context())
    port = listening.sockets[0].getsockname()[1]

    def talk():
        plain = socket.create_connection((HOST, port))
        with client_context().wrap_socket(plain, server_hostname="localhost") as peer:
            peer.send(b"data")
            assert peer.recv(1) == b""

    talking = loop.run_in_executor(None, talk)
    await until(lambda: "data_received" in protocol.called)
    protocol.transport.close()
    await until(lambda: "connection_lost" in protocol.called)
    await talking
    listening.close()


async def datagrams(loop, protocol):
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=(HOST, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"data", transport.get_extra_info("sockname"))
        await until(lambda: "datagram_received" in protocol.called)
    transport.close()
    await until(lambda: "connection_lost" in protocol.called)


async def pipe(loop, protocol):
    reading, writing = os.pipe()
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
    os.write(writing, b"data")
    await until(lambda: "data_received" in protocol.called)
    os.close(writing)
    await until(lambda: "connection_lost" in protocol.called)


async def process(loop, protocol):
    transport, _ = await loop.subprocess_exec(lambda: protocol, "echo", "data")
    await until(lambda: "connection_lost" in protocol.called)
    transport.close()


CASES = [
    (client, ["connection_made", "data_received", "eof_received", "connection_lost"]),
    (server, ["connection_made", "data_received", "connection_lost"]),
    (tls, ["connection_made", "data_received", "connection_lost"]),
    (datagrams, ["connection_made", "datagram_received", "connection_lost"]),
    (pipe, ["connection_made", "data_received", "connection_lost"]),
    (process, ["connection_made", "pipe_data_received", "process_exited", "connection_lost"]),
]


@pytest.mark.debug_mode
@pytest.mark.parametrize(
    ("use", "slow"),
    [pytest.param(use, name, id=f"{use.__name__}-{name}") for use, names in CASES for name in names],
)
async def test_slow_callbacks_of_protocols_are_logged(loop_name, caplog, use, slow):
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = THRESHOLD_SECONDS
    protocol = Slow(slow)
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        await use(loop, protocol)
    texts = [record.getMessage() for record in caplog.records if " took " in record.getMessage()]
    assert slow in protocol.called
    assert texts
    for text in texts:
        assert re.match(r"^Executing <.*> took [0-9.]+ seconds$", text)
    if loop_name == "sabio":
        # No transport has a protocol any more when TLS tells it of the end.
        named = "Slow.connection_lost of " if (use, slow) == (tls, "connection_lost") else "Transport"
        assert any(named in text and repr(protocol) in text for text in texts)


@pytest.mark.debug_mode
async def test_a_slow_plain_callback_of_a_stream_server_is_logged(caplog):
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = THRESHOLD_SECONDS
    called = []

    def connected(reader, writer):
        time.sleep(SLOW_SECONDS)
        writer.close()
        called.append(writer)

    server = await asyncio.start_server(connected, HOST, 0)
    address = server.sockets[0].getsockname()
    with caplog.at_level(logging.WARNING, logger="asyncio"), socket.create_connection(address):
        await until(lambda: called)
        await asyncio.sleep(0.01)
    server.close()
    texts = [record.getMessage() for record in caplog.records]
    assert any(
        re.match(r"^Executing <.*StreamReaderProtocol.* took [0-9.]+ seconds$", text) for text in texts
    )
