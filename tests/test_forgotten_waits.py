"""Tasks that wait when everybody has forgotten them and their loop: the garbage collector finds all of it."""

import asyncio
import gc
import socket
import tempfile
import weakref

import pytest

from tests.support.certificates import client_context
from tests.support.net import listener, socket_pair
from tests.support.waiting import turns

pytestmark = pytest.mark.filterwarnings("ignore:(unclosed|loop is closed):ResourceWarning")

MUCH = bytes(10_000_000)


class Token:
    """What a program has in the frame of its coroutine."""


async def sock_recv(loop, sock):
    await loop.sock_recv(sock, 10)


async def sock_recv_into(loop, sock):
    await loop.sock_recv_into(sock, bytearray(10))


async def sock_recvfrom(loop, sock):
    await loop.sock_recvfrom(sock, 10)


async def sock_sendall(loop, sock):
    await loop.sock_sendall(sock, MUCH)


async def sock_sendfile(loop, sock):
    with tempfile.TemporaryFile() as file:
        file.write(MUCH)
        await loop.sock_sendfile(sock, file)


async def sock_accept(loop, _sock):
    with listener() as sock:
        sock.setblocking(False)
        await loop.sock_accept(sock)


async def stream_read(_loop, sock):
    reader, _writer = await asyncio.open_connection(sock=sock)
    await reader.read(1)


async def sendfile(loop, sock):
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    with tempfile.TemporaryFile() as file:
        file.write(MUCH)
        await loop.sendfile(transport, file)


async def getaddrinfo(loop, _sock):
    answered = loop.create_future()
    loop.getaddrinfo = lambda *args, **kwargs: answered
    await loop.create_connection(asyncio.Protocol, "somewhere.invalid", 1)


WAITS = [
    sock_recv,
    sock_recv_into,
    sock_recvfrom,
    sock_sendall,
    sock_sendfile,
    sock_accept,
    stream_read,
    sendfile,
    getaddrinfo,
]


async def tls_connection(loop, sock):
    await loop.create_connection(
        asyncio.Protocol, sock=sock, ssl=client_context(), server_hostname="localhost"
    )


async def tls_stream(_loop, sock):
    await asyncio.open_connection(sock=sock, ssl=client_context(), server_hostname="localhost")


async def start_tls(loop, sock):
    transport, protocol = await loop.create_connection(asyncio.Protocol, sock=sock)
    await loop.start_tls(transport, protocol, client_context(), server_hostname="localhost")


HANDSHAKES = [tls_connection, tls_stream, start_tls]


def forget(loop, wait, closes):
    """Have a task of the loop wait, and let go of both: references that tell whether they are gone."""
    loop.set_exception_handler(lambda *_: None)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    token = Token()

    async def main():
        kept = token
        await wait(asyncio.get_running_loop(), ours)
        return kept

    task = loop.create_task(main())
    loop.run_until_complete(turns(10))
    assert not task.done()
    if closes:
        loop.close()
    return theirs, [weakref.ref(it) for it in (loop, task, token)]


def collect_all():
    for _ in range(3):
        gc.collect()


@pytest.fixture
def collect(loop_name, reports):
    """Collect everything; what asyncio's coroutines would still do with their closed loop is no matter here."""

    def collect():
        collect_all()
        if loop_name == "asyncio":
            reports.take_unraisable()

    return collect


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("closes", [True, False], ids=["closed", "forgotten"])
def test_a_task_that_waits_in_a_method_of_its_loop_is_collected(loop_factory, wait, closes, collect):
    theirs, gone = forget(loop_factory(), wait, closes)
    with theirs:
        collect()
        assert [ref() for ref in gone] == [None, None, None]


@pytest.mark.parametrize("wait", HANDSHAKES)
def test_a_task_that_waits_for_a_handshake_is_collected_with_its_closed_loop(
    loop_factory, wait, tls_engine, collect
):
    theirs, gone = forget(loop_factory(), wait, True)
    with theirs:
        collect()
        assert [ref() for ref in gone] == [None, None, None]


@pytest.mark.parametrize("wait", WAITS + HANDSHAKES)
def test_giving_up_such_a_wait_leaves_no_cycle(loop, wait):
    # Everything goes when the task has ended, without the collector.
    gc.collect()
    gc.disable()
    try:
        loop.set_exception_handler(lambda *_: None)
        with socket_pair() as (ours, _theirs):
            token = Token()
            task = loop.create_task(wait(loop, ours))
            task.add_done_callback(lambda _, token=token: None)
            loop.run_until_complete(turns(10))
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            gone = weakref.ref(token)
            del task, token
            loop.run_until_complete(turns(10))
            assert gone() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- handles


class Keeper:
    """What keeps a handle whose callback is its own method."""

    def __init__(self, loop):
        self.handle = loop.call_later(1000, self.called)

    def called(self):
        raise AssertionError("not yet")


def test_a_closed_loop_lets_go_of_handles_that_are_kept(loop_factory, collect):
    loop = loop_factory()
    keeper = Keeper(loop)
    loop.close()
    gone = [weakref.ref(loop), weakref.ref(keeper)]
    del loop, keeper
    collect()
    assert [ref() for ref in gone] == [None, None]


def test_a_kept_handle_keeps_a_loop_that_was_not_closed(sabio):
    # A difference (docs/differences.md): the collector does not look into a handle that the program has.
    loop = sabio.new_event_loop()
    keeper = Keeper(loop)
    gone = [weakref.ref(loop), weakref.ref(keeper)]
    del loop, keeper
    collect_all()
    kept = gone[1]()
    assert kept is not None
    kept.handle.cancel()
    del kept
    collect_all()
    assert [ref() for ref in gone] == [None, None]
