"""Closing a server and its clients, and accepting when descriptors run out (asyncio docs, "Server objects")."""

import asyncio
import errno
import gc
import os
import resource
import socket
import warnings
import weakref

import pytest

from tests.support.descriptors import exhaust
from tests.support.protocols import Echo, Recorder
from tests.support.versions import PYTHON, SINCE_3_14
from tests.support.waiting import turns, until

#: Server.wait_closed() waits for the connections since 3.12.1; sabio does as the running version does.
WAITS_FOR_CONNECTIONS = PYTHON >= (3, 12, 1)


class Connections:
    """A server with a recorder for each connection."""

    def __init__(self, server=None):
        self.made = []
        self.server = server

    def __call__(self):
        self.made.append(Recorder())
        return self.made[-1]

    async def connect(self, count=1):
        """Connect with plain sockets; give them once the server knows of them."""
        before = len(self.made)
        address = self.server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(count)]
        await until(lambda: len(self.made) == before + count)
        await asyncio.gather(*(protocol.connected for protocol in self.made))
        for client in clients:
            client.setblocking(False)
        return clients


@pytest.fixture
def connections():
    return Connections()


async def serve(connections, **kwargs):
    loop = asyncio.get_running_loop()
    connections.server = await loop.create_server(connections, "127.0.0.1", 0, **kwargs)
    return connections.server


async def test_closed_server_refuses_new_connections_and_keeps_the_old(connections):
    server = await serve(connections)
    address = server.sockets[0].getsockname()
    [client] = await connections.connect()
    server.close()
    server.close()
    assert not server.is_serving()
    await turns(2)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    client.send(b"still here")
    assert await connections.made[0].receive(10) == b"still here"
    client.close()
    await connections.made[0].lost
    await server.wait_closed()


async def test_wait_closed_of_a_server_without_connections_returns(connections):
    server = await serve(connections)
    server.close()
    await asyncio.wait_for(server.wait_closed(), 10)
    await asyncio.wait_for(server.wait_closed(), 10)


async def test_wait_closed_waits_for_the_connections_as_the_version_has_it(connections):
    server = await serve(connections)
    [client] = await connections.connect()
    server.close()
    task = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(0.01)
    assert task.done() is not WAITS_FOR_CONNECTIONS
    client.close()
    await asyncio.wait_for(task, 10)
    await connections.made[0].lost


async def test_wait_closed_before_close_waits_for_it(connections):
    server = await serve(connections)
    task = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(0.01)
    assert not task.done()
    server.close()
    await asyncio.wait_for(task, 10)


async def test_connection_that_ends_before_the_server_is_forgotten(connections):
    server = await serve(connections)
    for client in await connections.connect(3):
        client.close()
    await asyncio.gather(*(protocol.lost for protocol in connections.made))
    server.close()
    await asyncio.wait_for(server.wait_closed(), 10)


@pytest.mark.asyncio_lacks("Server.close_clients() is new in 3.13", "<3.13", run=False)
async def test_close_clients_closes_every_connection(connections):
    server = await serve(connections)
    clients = await connections.connect(5)
    connections.made[0].transport.write(b"x" * 1000)
    server.close()
    server.close_clients()
    assert [await protocol.lost for protocol in connections.made] == [None] * 5
    await asyncio.wait_for(server.wait_closed(), 10)
    assert clients[0].recv(2000) == b"x" * 1000
    assert [client.recv(10) for client in clients] == [b""] * 5
    for client in clients:
        client.close()


@pytest.mark.asyncio_lacks("Server.close_clients() is new in 3.13", "<3.13", run=False)
async def test_close_clients_lets_the_buffers_drain(connections):
    server = await serve(connections)
    [client] = await connections.connect()
    connections.made[0].transport.write(b"x" * (8 << 20))
    server.close()
    server.close_clients()
    await asyncio.sleep(0.01)
    assert not connections.made[0].lost.done()
    received = 0
    while not connections.made[0].lost.done() or received < 8 << 20:
        try:
            received += len(client.recv(1 << 20))
        except BlockingIOError:
            await asyncio.sleep(0)
    assert received == 8 << 20
    client.close()


@pytest.mark.asyncio_lacks("Server.abort_clients() is new in 3.13", "<3.13", run=False)
async def test_abort_clients_drops_every_connection_at_once(connections):
    server = await serve(connections)
    clients = await connections.connect(5)
    for protocol in connections.made:
        protocol.transport.write(b"x" * (8 << 20))
    server.close()
    server.abort_clients()
    assert [await asyncio.wait_for(protocol.lost, 10) for protocol in connections.made] == [None] * 5
    await asyncio.wait_for(server.wait_closed(), 10)
    for client in clients:
        client.close()


@pytest.mark.asyncio_lacks("Server.close_clients() is new in 3.13", "<3.13", run=False)
async def test_close_clients_of_an_open_server_goes_on_serving(connections):
    server = await serve(connections)
    clients = await connections.connect(2)
    server.close_clients()
    await asyncio.gather(*(protocol.lost for protocol in connections.made))
    assert server.is_serving()
    clients += await connections.connect()
    server.close()
    server.abort_clients()
    await connections.made[-1].lost
    for client in clients:
        client.close()


async def test_cancelled_serve_forever_closes_the_clients_since_3_14(connections):
    server = await serve(connections)
    task = asyncio.create_task(server.serve_forever())
    [client] = await connections.connect()
    task.cancel()
    await asyncio.sleep(0.01)
    assert connections.made[0].lost.done() is SINCE_3_14
    client.close()
    await connections.made[0].lost
    with pytest.raises(asyncio.CancelledError):
        await task


def test_closed_server_and_loop_leave_no_warning(loop_factory):
    loop = loop_factory()
    server = loop.run_until_complete(loop.create_server(Echo, "127.0.0.1", 0))
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()
    del server, loop
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert caught == []


async def serve_for_good(server):
    await server.serve_forever()


async def wait_for_its_end(server):
    await server.wait_closed()


@pytest.mark.parametrize("use", [serve_for_good, wait_for_its_end])
@pytest.mark.parametrize("closes", [True, False], ids=["closed", "forgotten"])
def test_a_server_that_only_its_waiter_knows_is_collected(loop_factory, use, closes):
    # The socket is ours, so that nothing is left open when the server is gone.
    with socket.create_server(("127.0.0.1", 0)) as sock:
        loop = loop_factory()
        loop.set_exception_handler(lambda *_: None)
        server = loop.run_until_complete(loop.create_server(Echo, sock=sock))
        task = loop.create_task(use(server))
        loop.run_until_complete(turns(3))
        assert not task.done()
        if closes:
            loop.close()
        gone = [weakref.ref(loop), weakref.ref(task)]
        del loop, task, server
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        assert [ref() for ref in gone] == [None, None]


# ---------------------------------------------------------------- descriptors run out


@pytest.fixture
def few_descriptors():
    """Lower the limit so that exactly `n` more descriptors can be opened."""
    saved = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(count):
        # The lowest free numbers are used first: fill the holes up to the highest one in use.
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, saved[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, saved)


async def test_server_that_runs_out_of_descriptors_backs_off_and_recovers(
    connections, few_descriptors, loop_name
):
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    server = await serve(connections)
    [old] = await connections.connect()
    waiting = socket.socket()
    waiting.setblocking(False)
    few_descriptors(8)
    opened = exhaust()
    waiting.connect_ex(server.sockets[0].getsockname())
    await until(lambda: contexts)
    # The server backs off: it does not try, and complain, over and over.
    await asyncio.sleep(0.1)
    assert len(contexts) <= (101 if loop_name == "asyncio" else 3)
    assert contexts[0]["message"] == "socket.accept() out of system resource"
    assert contexts[0]["exception"].errno == errno.EMFILE
    assert contexts[0]["socket"].getsockname() == server.sockets[0].getsockname()
    # What was connected stays connected meanwhile.
    old.send(b"still here")
    assert await connections.made[0].receive(10) == b"still here"
    for descriptor in opened:
        os.close(descriptor)
    # After its pause of a second it takes the one that waited.
    await until(lambda: len(connections.made) == 2)
    waiting.send(b"at last")
    assert await connections.made[1].receive(7) == b"at last"
    old.close()
    waiting.close()
    await asyncio.gather(*(protocol.lost for protocol in connections.made))
    server.close()
    await server.wait_closed()


async def test_server_closed_while_it_backs_off_stays_closed(connections, few_descriptors):
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    server = await serve(connections)
    waiting = socket.socket()
    waiting.setblocking(False)
    few_descriptors(8)
    opened = exhaust()
    waiting.connect_ex(server.sockets[0].getsockname())
    await until(lambda: contexts)
    server.close()
    for descriptor in opened:
        os.close(descriptor)
    await asyncio.sleep(1.2)
    assert connections.made == []
    waiting.close()


async def test_connection_without_descriptors_is_an_error(connections, few_descriptors):
    loop = asyncio.get_running_loop()
    server = await serve(connections)
    address = server.sockets[0].getsockname()
    few_descriptors(8)
    opened = exhaust()
    with pytest.raises(OSError, match=r"Too many open files"):
        await loop.create_connection(asyncio.Protocol, *address)
    for descriptor in opened:
        os.close(descriptor)
    server.close()
    await server.wait_closed()


@pytest.mark.asyncio_lacks("a server without any socket is made", "<3.13", run=False)
async def test_server_without_descriptors_is_an_error(few_descriptors):
    loop = asyncio.get_running_loop()
    few_descriptors(8)
    opened = exhaust()
    # Since 3.13 asyncio says that none could be bound.
    with pytest.raises(OSError, match=r"Too many open files|could not bind on any address"):
        await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    for descriptor in opened:
        os.close(descriptor)


def test_new_loop_without_descriptors_is_an_error(loop_factory, few_descriptors, reports):
    few_descriptors(8)
    opened = exhaust()
    try:
        with pytest.raises(OSError, match=r"Too many open files"):
            loop_factory()
    finally:
        for descriptor in opened:
            os.close(descriptor)
    # A loop of asyncio that was half made complains when it dies.
    reports.take_unraisable()
