"""What opens sockets fails when the process has no descriptor left, leaves nothing open, and works again afterwards."""

import asyncio
import errno
import os
import socket
import subprocess

import pytest

from tests.support import tls
from tests.support.descriptors import exhausted
from tests.support.net import HOST, listener, socket_pair
from tests.support.protocols import Recorder


async def connect(loop, place):
    return (await loop.create_connection(Recorder, *place["tcp"]))[0]


async def connect_with_local_address(loop, place):
    return (await loop.create_connection(Recorder, *place["tcp"], local_addr=(HOST, 0)))[0]


async def connect_to_unix(loop, place):
    return (await loop.create_unix_connection(Recorder, place["unix"]))[0]


async def serve(loop, place):
    return await loop.create_server(asyncio.Protocol, HOST, 0)


async def serve_unix(loop, place):
    return await loop.create_unix_server(asyncio.Protocol, place["free"])


async def datagrams(loop, place):
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0)))[0]


async def datagrams_to(loop, place):
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=place["tcp"]))[0]


async def unix_datagrams(loop, place):
    options = {"local_addr": place["free"], "family": socket.AF_UNIX}
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, **options))[0]


WAYS = [
    connect,
    connect_with_local_address,
    connect_to_unix,
    pytest.param(
        serve,
        marks=pytest.mark.asyncio_lacks("a server without a socket comes back", "<3.13", strict=False),
    ),
    serve_unix,
    datagrams,
    datagrams_to,
    unix_datagrams,
]


@pytest.mark.parametrize("way", WAYS)
async def test_no_descriptor_left(way, tmp_path):
    loop = asyncio.get_running_loop()
    with listener() as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "unix"))
        unix.listen(1)
        place = {
            "tcp": tcp.getsockname(),
            "unix": unix.getsockname(),
            "free": str(tmp_path / "free"),
        }
        for _ in range(3):
            with (
                exhausted(),
                pytest.raises(OSError, match=rf"{os.strerror(errno.EMFILE)}|could not bind on any"),
            ):
                await way(loop, place)
        made = await way(loop, place)
        made.close()
        if isinstance(made, asyncio.Transport) and isinstance(made.get_protocol(), Recorder):
            await made.get_protocol().lost
        await asyncio.sleep(0.01)


async def test_connection_that_waits_for_acceptance_comes_through_later(reports):
    """The server has no descriptor for it; the client is connected by the kernel all the same."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(factory, HOST, 0)
    with socket.socket() as client:
        client.setblocking(False)
        with exhausted():
            client.connect_ex(server.sockets[0].getsockname())
            await asyncio.sleep(0.1)
            assert not made
        for _ in range(200):
            if made:
                break
            await asyncio.sleep(0.02)
        client.send(b"hello")
        assert await made[0].receive(5) == b"hello"
    await made[0].lost
    server.close()
    await server.wait_closed()


# ---------------------------------------------------------------- with a few descriptors left


async def talk_over_streams(loop, tmp_path):
    async def answer(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            writer.write(b"line\n")
            async with asyncio.timeout(0.2):
                assert await reader.readline() == b"line\n"
        finally:
            writer.close()
            await writer.wait_closed()
    finally:
        server.close()


async def talk_over_tls(loop, tmp_path):
    async with tls.serving() as served:
        async with asyncio.timeout(0.2):
            transport, protocol = await served.connect()
        transport.close()
        await protocol.lost


async def run_a_program(loop, tmp_path):
    process = await asyncio.create_subprocess_exec(
        "/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert await process.communicate(b"data") == (b"data", b"")
    assert process.returncode == 0


async def send_a_file(loop, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 1000)
    with (tmp_path / "file").open("rb") as file, socket_pair() as (left, right):
        assert await loop.sock_sendfile(left, file) == 1000
        assert await loop.sock_recv(right, 2000) == b"x" * 1000


async def accept_by_hand(loop, tmp_path):
    with listener() as listening, socket.socket() as client:
        listening.setblocking(False)
        client.setblocking(False)
        await loop.sock_connect(client, listening.getsockname())
        accepted, _ = await loop.sock_accept(listening)
        accepted.close()


async def resolve_a_name(loop, tmp_path):
    assert await loop.getaddrinfo("localhost", 80)


async def run_a_loop_in_a_thread(loop, tmp_path):
    def run():
        with asyncio.Runner(loop_factory=type(loop)) as runner:
            return runner.run(asyncio.sleep(0.001, "slept"))

    assert await loop.run_in_executor(None, run) == "slept"


def tells_of_descriptors(error):
    """Whether an error says that there is no descriptor, in any of the words that there are for it."""
    # Without one for the accepted side, a client waits in vain.
    return (
        isinstance(error, TimeoutError | socket.gaierror)
        or error.errno == errno.EMFILE
        or "could not bind on any" in str(error)
    )


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(
            talk_over_streams,
            marks=pytest.mark.asyncio_lacks("a server without a socket comes back", "<3.13", strict=False),
        ),
        talk_over_tls,
        run_a_program,
        send_a_file,
        accept_by_hand,
        resolve_a_name,
        pytest.param(
            run_a_loop_in_a_thread,
            marks=pytest.mark.asyncio_lacks("a loop that was not made leaves descriptors open", run=False),
        ),
    ],
)
async def test_each_step_of_an_operation_may_lack_a_descriptor(operation, tmp_path, reports):
    """Wherever in its middle it fails, it says why and leaves nothing open, and the loop goes on."""
    loop = asyncio.get_running_loop()
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context.get("exception")))
    await operation(loop, tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    refused = 0
    for spare in range(20):
        with exhausted(spare):
            try:
                await operation(loop, tmp_path)
            except (OSError, TimeoutError) as error:
                if not tells_of_descriptors(error):
                    raise
                refused += 1
            else:
                break
        for _ in range(3):
            await asyncio.sleep(0)
    else:
        pytest.fail("never succeeded")
    assert refused
    assert all(error is None or tells_of_descriptors(error) for error in complaints)
    for _ in range(2000):
        if len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.001)
    assert len(os.listdir("/proc/self/fd")) <= before
    await operation(loop, tmp_path)
    # Of tasks that a loop without its descriptors could not run.
    reports.take_unraisable()
    reports.take_logged()
