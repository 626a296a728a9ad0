"""sabio and socat speak with each other over Unix sockets and UDP."""

import asyncio
import contextlib
import shutil
import socket
import subprocess

import pytest

from tests.support.datagrams import Echo as EchoDatagrams
from tests.support.datagrams import Recorder as RecordDatagrams
from tests.support.datagrams import address_of, close, endpoint
from tests.support.net import HOST, unused_udp_port
from tests.support.protocols import Echo, Recorder
from tests.support.waiting import until

SOCAT = shutil.which("socat")

pytestmark = pytest.mark.skipif(SOCAT is None, reason="the command socat is not there")

DATA = bytes(range(256)) * 400


def socat(*args, data=b""):
    """What socat prints when it gets `data`; it ends half a second after one of its sides has."""
    done = subprocess.run(
        [SOCAT, "-t", "0.5", *args], input=data, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@contextlib.contextmanager
def listening(*args):
    """A socat in the background, ended with the block if it has not ended by itself."""
    with subprocess.Popen([SOCAT, *args]) as process:
        try:
            yield
        finally:
            process.terminate()


async def elsewhere(function, *args, **kwargs):
    return await asyncio.to_thread(function, *args, **kwargs)


async def test_socat_asks_a_unix_server(tmp_path):
    path = str(tmp_path / "server")
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    assert await elsewhere(socat, "-", f"UNIX-CONNECT:{path}", data=DATA) == DATA
    server.close()
    await server.wait_closed()


async def test_socat_asks_at_an_abstract_name(tmp_path):
    name = f"sabio-{tmp_path.name}"
    server = await asyncio.get_running_loop().create_unix_server(Echo, f"\0{name}")
    assert await elsewhere(socat, "-", f"ABSTRACT-CONNECT:{name}", data=DATA) == DATA
    server.close()
    await server.wait_closed()


async def connected(path):
    """A connection to a listener that begins about now: its file is there a moment before it can be connected to."""
    for _ in range(1000):
        try:
            return await asyncio.get_running_loop().create_unix_connection(Recorder, path)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(0.01)
    raise AssertionError("socat does not listen")


async def test_unix_client_of_socat(tmp_path):
    path = tmp_path / "socat"
    with listening(f"UNIX-LISTEN:{path}", "EXEC:cat"):
        transport, protocol = await connected(str(path))
        transport.write(DATA)
        assert await protocol.receive(len(DATA)) == DATA
        transport.close()
        await protocol.lost


async def test_socat_asks_a_udp_server():
    server, _ = await endpoint(EchoDatagrams)
    port = address_of(server)[1]
    assert await elsewhere(socat, "-", f"UDP4:{HOST}:{port}", data=b"question") == b"question"
    await close(server)


async def test_udp_client_of_socat():
    port = unused_udp_port()
    with listening(f"UDP4-RECVFROM:{port},bind={HOST},fork", "EXEC:cat"):
        client, protocol = await endpoint(RecordDatagrams, remote_addr=(HOST, port))
        for _ in range(100):
            client.sendto(b"question")
            await asyncio.sleep(0.05)
            if protocol.received:
                break
        assert protocol.received[0] == (b"question", (HOST, port))
        await close(client)


async def test_socat_sends_a_burst_to_a_unix_datagram_endpoint(tmp_path):
    path = str(tmp_path / "server")
    server, sink = await endpoint(RecordDatagrams, local_addr=path, family=socket.AF_UNIX)
    await elsewhere(socat, "-u", "-b", "100", "-", f"UNIX-SENDTO:{path}", data=DATA)
    await until(lambda: sum(len(data) for data, _ in sink.received) == len(DATA))
    assert b"".join(data for data, _ in sink.received) == DATA
    assert max(len(data) for data, _ in sink.received) == 100
    await close(server)
