"""add_reader, add_writer and their removal (asyncio docs, "Watching file descriptors")."""

import asyncio
import contextvars
import gc
import os
import socket
import weakref

import pytest

from tests.support.net import fill, socket_pair, tcp_pair
from tests.support.waiting import turns, until


@pytest.fixture
def pair():
    with socket_pair() as sockets:
        yield sockets


async def test_reader_is_called_while_there_is_something_to_read(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    got = []
    loop.add_reader(left, lambda *args: got.append((left.recv(1), args)), 1, "two")
    right.send(b"ab")
    await until(lambda: len(got) == 2)
    await asyncio.sleep(0.005)
    assert got == [(b"a", (1, "two")), (b"b", (1, "two"))]
    assert loop.remove_reader(left) is True


async def test_reader_is_called_again_until_the_data_is_taken(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    calls = []
    loop.add_reader(left, calls.append, True)
    right.send(b"x")
    await until(lambda: len(calls) >= 5)
    loop.remove_reader(left)
    count = len(calls)
    await turns(5)
    assert len(calls) == count


async def test_reader_is_called_at_the_end_of_file(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    got = loop.create_future()
    loop.add_reader(left, lambda: got.done() or got.set_result(left.recv(10)))
    right.close()
    assert await got == b""
    loop.remove_reader(left)


async def test_writer_is_called_while_there_is_room(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    calls = []
    loop.add_writer(left, calls.append, True)
    await until(lambda: len(calls) >= 3)
    fill(left)
    await asyncio.sleep(0.005)
    count = len(calls)
    await asyncio.sleep(0.005)
    assert len(calls) == count
    while True:
        try:
            right.recv(1 << 20)
        except BlockingIOError:
            break
    await until(lambda: len(calls) > count)
    assert loop.remove_writer(left) is True


async def test_reader_and_writer_of_one_descriptor_are_apart(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    reads, writes = [], []
    loop.add_reader(left, lambda: reads.append(left.recv(10)))
    loop.add_writer(left, writes.append, True)
    right.send(b"x")
    await until(lambda: reads and writes)
    assert loop.remove_writer(left)
    right.send(b"y")
    await until(lambda: len(reads) == 2)
    assert reads == [b"x", b"y"]
    loop.add_writer(left, writes.append, True)
    assert loop.remove_reader(left)
    count = len(writes)
    await until(lambda: len(writes) > count)
    assert loop.remove_writer(left)


async def test_descriptor_may_be_a_number_or_an_object_with_one(pair):
    loop = asyncio.get_running_loop()
    left, right = pair

    class File:
        def fileno(self):
            return left.fileno()

    for descriptor in (left, left.fileno(), File()):
        got = loop.create_future()
        loop.add_reader(descriptor, lambda got=got: got.done() or got.set_result(left.recv(10)))
        right.send(b"x")
        assert await got == b"x"
        assert loop.remove_reader(left.fileno()) is True


async def test_new_callback_replaces_the_old_one(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    order = []
    loop.add_reader(left, order.append, "first")
    loop.add_reader(left, lambda: order.append(left.recv(10)))
    right.send(b"x")
    await until(lambda: order)
    assert order == [b"x"]
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False


async def test_removing_what_is_not_there_says_so(pair):
    loop = asyncio.get_running_loop()
    left, _ = pair
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(left) is False
    loop.add_reader(left, print)
    assert loop.remove_writer(left) is False
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(12345) is False


async def test_callback_runs_in_the_context_in_which_it_was_added(pair):
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("when added")
    loop = asyncio.get_running_loop()
    left, right = pair
    seen = []
    loop.add_reader(left, lambda: (left.recv(10), seen.append(variable.get())))
    variable.set("later")
    right.send(b"x")
    await until(lambda: seen)
    assert seen == ["when added"]
    loop.remove_reader(left)


async def test_callback_may_remove_itself(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    calls = []

    def once():
        calls.append(loop.remove_reader(left))

    loop.add_reader(left, once)
    right.send(b"x")
    await asyncio.sleep(0.01)
    assert calls == [True]


async def test_callback_may_remove_another_that_is_ready_in_the_same_turn():
    loop = asyncio.get_running_loop()
    with socket_pair() as (a, b), socket_pair() as (c, d):
        calls = []

        def first_come(me, other):
            calls.append(me)
            loop.remove_reader(other)
            loop.remove_reader(me)

        b.send(b"x")
        d.send(b"x")
        loop.add_reader(a, first_come, a, c)
        loop.add_reader(c, first_come, c, a)
        await asyncio.sleep(0.01)
        assert len(calls) == 1


async def test_error_in_a_callback_is_reported_and_the_callback_stays(pair, reports):
    loop = asyncio.get_running_loop()
    left, right = pair
    calls = []

    def fail():
        calls.append(left.recv(1))
        raise ValueError("in a reader")

    loop.add_reader(left, fail)
    right.send(b"ab")
    await until(lambda: len(calls) == 2)
    loop.remove_reader(left)
    assert [str(error) for error in reports.take_exceptions()] == ["in a reader"] * 2


async def test_pipes_can_be_watched():
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    got = loop.create_future()
    loop.add_reader(reading, lambda: got.done() or got.set_result(os.read(reading, 10)))
    loop.add_writer(writing, lambda: (os.write(writing, b"x"), loop.remove_writer(writing)))
    assert await got == b"x"
    loop.remove_reader(reading)
    os.close(reading)
    os.close(writing)


async def test_listening_socket_can_be_watched():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        accepted = loop.create_future()
        loop.add_reader(server, lambda: accepted.done() or accepted.set_result(server.accept()[0]))
        with socket.create_connection(server.getsockname()):
            (await accepted).close()
        loop.remove_reader(server)


# ---------------------------------------------------------------- bad input


async def test_regular_files_cannot_be_watched(tmp_path):
    loop = asyncio.get_running_loop()
    with open(tmp_path / "file", "w") as file:
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(PermissionError):
                method(file, print)
        assert loop.remove_writer(file) is False


async def test_closed_descriptors_are_refused():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    number = left.fileno()
    left.close()
    right.close()
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(OSError, match=r"Bad file descriptor"):
            method(number, print)
        with pytest.raises(ValueError, match=r"Invalid file (descriptor|object)"):
            method(left, print)


@pytest.mark.parametrize("wrong", [None, "text", 1.5, object(), -1])
async def test_what_is_no_descriptor_is_refused(wrong):
    loop = asyncio.get_running_loop()
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError, match=r"Invalid file"):
            method(wrong, print)
    for method in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(ValueError, match=r"Invalid file"):
            method(wrong)


async def test_descriptor_owned_by_a_transport_is_refused():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, left)
    for call in (
        lambda: loop.add_reader(left, print),
        lambda: loop.add_writer(left.fileno(), print),
        lambda: loop.remove_reader(left),
        lambda: loop.remove_writer(left),
    ):
        with pytest.raises(RuntimeError, match=rf"File descriptor {left.fileno()!r}|is used by transport"):
            call()
    transport.close()
    right.close()
    await turns(3)


def test_closed_loop_refuses_watchers(loop, pair):
    loop.close()
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            method(pair[0], print)


def test_closing_the_loop_drops_the_watchers(loop_factory, pair):
    class Callback:
        def __call__(self):
            pass

    loop = loop_factory()
    callback = Callback()
    alive = weakref.ref(callback)
    loop.add_reader(pair[0], callback)
    del callback
    loop.close()
    gc.collect()
    assert alive() is None


async def test_descriptor_closed_behind_the_back_of_the_loop_does_no_harm():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    loop.add_reader(left, print)
    number = left.fileno()
    left.close()
    right.close()
    await asyncio.sleep(0.002)
    assert loop.remove_reader(number) is True
    # The number is free again, and whoever gets it may be watched.
    with socket_pair() as pair:
        [again] = [sock for sock in pair if sock.fileno() == number]
        [peer] = [sock for sock in pair if sock is not again]
        got = loop.create_future()
        loop.add_reader(again, lambda: got.done() or got.set_result(again.recv(10)))
        peer.send(b"x")
        assert await got == b"x"
        assert loop.remove_reader(number) is True


@pytest.fixture
def reused():
    """A number that was watched when its file was closed, a socket that has it now, and the peer of that."""
    closed, peer_of_closed = socket.socketpair()

    def reuse():
        loop = asyncio.get_running_loop()
        loop.add_reader(closed, print)
        loop.add_writer(closed, print)
        number = closed.fileno()
        closed.close()
        peer_of_closed.close()
        pair = socket.socketpair()
        made.extend(pair)
        [again] = [sock for sock in pair if sock.fileno() == number]
        [peer] = [sock for sock in pair if sock is not again]
        again.setblocking(False)
        return number, again, peer

    made = []
    yield reuse
    for sock in made:
        sock.close()


@pytest.mark.asyncio_lacks("the registration of the closed file is in the way")
async def test_a_reused_number_can_be_watched(reused):
    loop = asyncio.get_running_loop()
    number, again, peer = reused()
    got = loop.create_future()
    loop.add_reader(number, lambda: got.done() or got.set_result(again.recv(10)))
    peer.send(b"x")
    try:
        assert await asyncio.wait_for(got, 0.1) == b"x"
        # The writer of the closed file is gone.
        assert loop.remove_writer(number) is False
    finally:
        loop.remove_reader(number)


@pytest.mark.asyncio_lacks("the registration of the closed file is in the way", run=False)
async def test_a_reused_number_can_have_a_transport(reused):
    _, again, peer = reused()
    reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(sock=again), 0.1)
    peer.send(b"line\n")
    assert await asyncio.wait_for(reader.readline(), 0.1) == b"line\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.asyncio_lacks("OSError: the descriptor is closed")
async def test_both_callbacks_of_a_closed_descriptor_can_be_removed():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    number = left.fileno()
    loop.add_reader(left, print)
    loop.add_writer(left, print)
    left.close()
    right.close()
    assert loop.remove_reader(number) is True
    # There is nothing of the closed file any more.
    assert loop.remove_writer(number) is False


@pytest.mark.asyncio_lacks("the callback of the new file is called for the old one")
async def test_a_callback_is_not_called_for_a_closed_file_that_is_open_elsewhere():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    number = left.fileno()
    loop.add_reader(left, print)
    duplicate = left.dup()
    left.close()
    assert loop.remove_reader(number) is True
    calls = []
    with socket_pair() as pair:
        [again] = [sock for sock in pair if sock.fileno() == number]
        [peer] = [sock for sock in pair if sock is not again]
        loop.add_reader(again, calls.append, "called")
        try:
            # The poller goes on reporting the closed file, of which nobody asked it to.
            right.send(b"x")
            await asyncio.sleep(0.01)
            assert calls == []
            peer.send(b"y")
            await until(lambda: calls)
        finally:
            loop.remove_reader(again)
            duplicate.close()
            right.close()


async def test_many_descriptors_at_once():
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(100)]
    got = []

    def read(number, sock):
        got.append((number, sock.recv(10)))

    for number, (left, _) in enumerate(pairs):
        loop.add_reader(left, read, number, left)
    for number, (_, right) in enumerate(pairs):
        right.send(b"%d" % number)
    await until(lambda: len(got) == 100)
    assert sorted(got) == [(number, b"%d" % number) for number in range(100)]
    for left, right in pairs:
        loop.remove_reader(left)
        left.close()
        right.close()
