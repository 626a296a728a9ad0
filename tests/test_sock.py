"""sock_recv, sock_sendall and their siblings (asyncio docs, "Working with socket objects directly")."""

import array
import asyncio
import os
import re
import socket

import pytest

from tests.support.net import fill, listener, receive_all, reset, socket_pair, tcp_pair, unused_port
from tests.support.waiting import turns


@pytest.fixture
def pair():
    with socket_pair() as sockets:
        yield sockets


@pytest.fixture
def server():
    with listener() as sock:
        sock.setblocking(False)
        yield sock


def client():
    sock = socket.socket()
    sock.setblocking(False)
    return sock


# ---------------------------------------------------------------- sock_recv


async def test_recv_gives_what_is_there(pair):
    left, right = pair
    right.send(b"data")
    received = await asyncio.get_running_loop().sock_recv(left, 100)
    assert received == b"data"
    assert type(received) is bytes


async def test_recv_waits_for_data(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    loop.call_later(0.005, right.send, b"late")
    assert await loop.sock_recv(left, 100) == b"late"


async def test_recv_takes_no_more_than_asked(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    right.send(b"abcdef")
    assert await loop.sock_recv(left, 2) == b"ab"
    assert await loop.sock_recv(left, 3) == b"cde"
    assert await loop.sock_recv(left, 1) == b"f"


async def test_recv_at_the_end_of_file_is_empty(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    right.close()
    assert await loop.sock_recv(left, 10) == b""
    assert await loop.sock_recv(left, 10) == b""


async def test_recv_of_a_large_amount(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    data = os.urandom(3 << 20)
    sending = asyncio.create_task(loop.sock_sendall(right, data))
    received = bytearray()
    while len(received) < len(data):
        received += await loop.sock_recv(left, 1 << 20)
    await sending
    assert received == data


@pytest.mark.parametrize("size", [-1, -(1 << 62)])
async def test_recv_of_a_negative_size_is_refused(pair, size):
    with pytest.raises(ValueError, match=r"negative"):
        await asyncio.get_running_loop().sock_recv(pair[0], size)


@pytest.mark.parametrize("size", ["10", None, 1.5])
async def test_recv_wants_a_number(pair, size):
    with pytest.raises(TypeError):
        await asyncio.get_running_loop().sock_recv(pair[0], size)


# ---------------------------------------------------------------- sock_recv_into


@pytest.mark.parametrize("kind", ["bytearray", "memoryview", "array", "slice"])
async def test_recv_into_fills_any_writable_buffer(pair, kind):
    loop = asyncio.get_running_loop()
    left, right = pair
    memory = bytearray(b"........")
    buffer = {
        "bytearray": memory,
        "memoryview": memoryview(memory),
        "array": array.array("B", memory),
        "slice": memoryview(memory)[:6],
    }[kind]
    right.send(b"data")
    assert await loop.sock_recv_into(left, buffer) == 4
    assert bytes(buffer[:6]) == b"data.."


async def test_recv_into_waits_for_data(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    buffer = bytearray(10)
    loop.call_later(0.005, right.send, b"late")
    assert await loop.sock_recv_into(left, buffer) == 4
    assert buffer[:4] == b"late"


async def test_recv_into_at_the_end_of_file_is_zero(pair):
    left, right = pair
    right.close()
    assert await asyncio.get_running_loop().sock_recv_into(left, bytearray(10)) == 0


@pytest.mark.parametrize("buffer", [b"read only", "text", 10, None])
async def test_recv_into_refuses_what_cannot_be_written(pair, buffer):
    left, right = pair
    right.send(b"data")
    with pytest.raises(TypeError):
        await asyncio.get_running_loop().sock_recv_into(left, buffer)


async def test_buffer_can_be_resized_after_a_cancelled_recv_into(pair):
    # While the read waits nothing may hold the buffer locked for good.
    loop = asyncio.get_running_loop()
    buffer = bytearray(10)
    task = asyncio.create_task(loop.sock_recv_into(pair[0], buffer))
    await turns(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    buffer.extend(b"more")
    assert len(buffer) == 14


# ---------------------------------------------------------------- sock_sendall


async def test_sendall_sends_all(pair):
    left, right = pair
    assert await asyncio.get_running_loop().sock_sendall(left, b"data") is None
    assert right.recv(10) == b"data"


async def test_sendall_of_more_than_the_socket_takes(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    data = os.urandom(5 << 20)

    async def send():
        await loop.sock_sendall(left, data)
        left.close()

    _, received = await asyncio.gather(send(), receive_all(right))
    assert received == data


async def test_sendall_waits_while_the_peer_does_not_read(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    fill(left)
    task = asyncio.create_task(loop.sock_sendall(left, b"last"))
    await asyncio.sleep(0.005)
    assert not task.done()
    receiving = asyncio.create_task(receive_all(right))
    await task
    left.close()
    assert (await receiving).endswith(b"last")


@pytest.mark.parametrize(
    "data", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), array.array("B", b"bytes")]
)
async def test_sendall_takes_any_buffer(pair, data):
    left, right = pair
    await asyncio.get_running_loop().sock_sendall(left, data)
    assert right.recv(10) == b"bytes"


async def test_sendall_of_nothing_is_nothing(pair):
    left, right = pair
    await asyncio.get_running_loop().sock_sendall(left, b"")
    with pytest.raises(BlockingIOError):
        right.recv(1)


@pytest.mark.parametrize("data", ["text", 10, None, [1, 2]])
async def test_sendall_refuses_what_is_no_buffer(pair, data):
    with pytest.raises(TypeError):
        await asyncio.get_running_loop().sock_sendall(pair[0], data)


async def test_sendall_to_a_peer_that_is_gone_is_an_error():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    reset(right)
    await asyncio.sleep(0.002)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await loop.sock_sendall(left, b"data")
    left.close()


async def test_sendall_whose_peer_resets_while_it_waits_is_an_error():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    task = asyncio.create_task(loop.sock_sendall(left, b"x" * (32 << 20)))
    await asyncio.sleep(0.005)
    assert not task.done()
    reset(right)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await task
    left.close()


async def test_cancelled_sendall_leaves_no_writer(pair):
    loop = asyncio.get_running_loop()
    left, _ = pair
    fill(left)
    task = asyncio.create_task(loop.sock_sendall(left, b"data"))
    await turns(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await turns(1)
    assert loop.remove_writer(left) is False


# ---------------------------------------------------------------- sock_connect, sock_accept


async def test_connect_and_accept(server):
    loop = asyncio.get_running_loop()
    with client() as sock:
        accepting = asyncio.create_task(loop.sock_accept(server))
        assert await loop.sock_connect(sock, server.getsockname()) is None
        connection, address = await accepting
        with connection:
            assert address == sock.getsockname()
            assert isinstance(connection, socket.socket)
            assert connection.gettimeout() == 0
            assert not connection.get_inheritable()
            await loop.sock_sendall(sock, b"data")
            assert await loop.sock_recv(connection, 10) == b"data"


async def test_connect_to_a_port_where_nobody_listens_is_refused():
    address = ("127.0.0.1", unused_port())
    with client() as sock, pytest.raises(ConnectionRefusedError):
        await asyncio.get_running_loop().sock_connect(sock, address)


async def test_connect_resolves_names(server):
    with client() as sock:
        await asyncio.get_running_loop().sock_connect(sock, ("localhost", server.getsockname()[1]))
        assert sock.getpeername() == server.getsockname()


async def test_connect_over_ipv6():
    try:
        server = listener("::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with server, socket.socket(socket.AF_INET6) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, server.getsockname())
        assert sock.getpeername()[:2] == server.getsockname()[:2]


async def test_connect_over_a_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as sock:
        server.bind(path)
        server.listen()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
        assert sock.getpeername() == path


@pytest.mark.parametrize("address", ["text", 1, ("127.0.0.1",), ("127.0.0.1", "no port", 3, 4, 5), ()])
async def test_connect_refuses_what_is_no_address(address):
    with client() as sock, pytest.raises((TypeError, ValueError, OSError)):
        await asyncio.get_running_loop().sock_connect(sock, address)


async def test_connect_to_a_name_that_does_not_resolve_is_a_gaierror():
    with client() as sock, pytest.raises(socket.gaierror):
        await asyncio.get_running_loop().sock_connect(sock, ("no-such-host.invalid", 80))


async def test_cancelled_connect_leaves_no_writer():
    loop = asyncio.get_running_loop()
    with socket.socket() as full:
        # A backlog that is full makes the next connect wait.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [client() for _ in range(4)]
        tasks = [loop.create_task(loop.sock_connect(sock, full.getsockname())) for sock in waiting]
        await asyncio.sleep(0.01)
        pending = [(task, sock) for task, sock in zip(tasks, waiting, strict=True) if not task.done()]
        assert pending
        for task, _ in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await turns(2)
        assert [loop.remove_writer(sock) for _, sock in pending] == [False] * len(pending)
        for sock in waiting:
            sock.close()


async def test_accept_waits_for_a_client(server):
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_accept(server))
    await asyncio.sleep(0.002)
    assert not task.done()
    with socket.create_connection(server.getsockname()):
        connection, _ = await task
        connection.close()


async def test_cancelled_accept_leaves_the_client_for_the_next(server):
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_accept(server))
    await turns(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with socket.create_connection(server.getsockname()):
        connection, _ = await asyncio.wait_for(loop.sock_accept(server), 10)
        connection.close()


async def test_accept_on_a_socket_that_does_not_listen_is_an_error(pair):
    with pytest.raises(OSError, match=r"Invalid argument|not supported"):
        await asyncio.get_running_loop().sock_accept(pair[0])


async def test_many_clients_are_accepted_in_turn(server):
    loop = asyncio.get_running_loop()
    server.listen(100)
    clients = [client() for _ in range(50)]
    connecting = [loop.create_task(loop.sock_connect(sock, server.getsockname())) for sock in clients]
    accepted = [(await loop.sock_accept(server))[0] for _ in clients]
    await asyncio.gather(*connecting)
    names = {sock.getsockname() for sock in clients}
    assert {sock.getpeername() for sock in accepted} == names
    for sock in clients + accepted:
        sock.close()


# ---------------------------------------------------------------- several at once, bad input


async def test_reading_and_writing_at_once(pair):
    loop = asyncio.get_running_loop()
    left, right = pair
    reading = asyncio.create_task(loop.sock_recv(left, 10))
    await turns(2)
    await loop.sock_sendall(left, b"ping")
    assert right.recv(10) == b"ping"
    right.send(b"pong")
    assert await reading == b"pong"


async def test_echo_of_many_messages(pair):
    loop = asyncio.get_running_loop()
    left, right = pair

    async def echo():
        while data := await loop.sock_recv(right, 1024):
            await loop.sock_sendall(right, data)

    task = asyncio.create_task(echo())
    for number in range(500):
        message = b"message %d" % number
        await loop.sock_sendall(left, message)
        assert await loop.sock_recv(left, 1024) == message
    left.close()
    await task


async def test_closed_sockets_are_refused():
    loop = asyncio.get_running_loop()
    left = client()
    left.close()
    for call in (
        lambda: loop.sock_recv(left, 10),
        lambda: loop.sock_recv_into(left, bytearray(10)),
        lambda: loop.sock_sendall(left, b"data"),
        lambda: loop.sock_accept(left),
        lambda: loop.sock_connect(left, ("127.0.0.1", 9)),
    ):
        with pytest.raises((OSError, ValueError)):
            await call()


@pytest.mark.parametrize("wrong", [None, 1, "text", object()])
async def test_what_is_no_socket_is_refused(wrong):
    loop = asyncio.get_running_loop()
    for call in (
        lambda: loop.sock_recv(wrong, 10),
        lambda: loop.sock_recv_into(wrong, bytearray(10)),
        lambda: loop.sock_sendall(wrong, b"data"),
        lambda: loop.sock_accept(wrong),
        lambda: loop.sock_connect(wrong, ("127.0.0.1", 9)),
    ):
        with pytest.raises((TypeError, AttributeError, ValueError)):
            await call()


@pytest.mark.asyncio_lacks("before 3.12 nobody looks whether a transport owns the socket", "<3.12", run=False)
async def test_socket_owned_by_a_transport_is_refused():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, left)
    refused = rf"^File descriptor {left.fileno()} is used by transport <"
    with pytest.raises(RuntimeError, match=refused):
        await loop.sock_recv(left, 10)
    with pytest.raises(RuntimeError, match=refused):
        await loop.sock_recv_into(left, bytearray(10))
    # More than the socket takes at once.
    with pytest.raises(RuntimeError, match=refused):
        await loop.sock_sendall(left, bytes(32 << 20))
    assert await loop.sock_recv(left, 0) == b""
    await loop.sock_sendall(left, b"")
    transport.abort()
    right.close()
    await turns(3)


async def test_socket_closed_while_a_read_waits_does_no_harm(pair):
    loop = asyncio.get_running_loop()
    left, _ = pair
    task = asyncio.create_task(loop.sock_recv(left, 10))
    await turns(2)
    left.close()
    await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # The loop still works, also with the same number.
    with socket_pair() as (first, second):
        second.send(b"data")
        assert await loop.sock_recv(first, 10) == b"data"


async def test_two_reads_of_one_socket_share_what_comes_without_hanging(pair):
    # asyncio lets the later one take over; whatever happens, nobody may crash and data is delivered once.
    loop = asyncio.get_running_loop()
    left, right = pair
    tasks = [asyncio.create_task(loop.sock_recv(left, 10)) for _ in range(2)]
    await turns(2)
    right.send(b"a")
    await asyncio.sleep(0.01)
    done = [task for task in tasks if task.done() and not task.exception()]
    assert [task.result() for task in done] == [b"a"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_error_of_a_reset_comes_out_of_the_read():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    task = asyncio.create_task(loop.sock_recv(left, 10))
    await turns(2)
    reset(right)
    with pytest.raises(ConnectionResetError):
        await task
    left.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ((), "not enough values to unpack (expected 2, got 0)"),
        (("127.0.0.1",), "not enough values to unpack (expected 2, got 1)"),
        ("x", "not enough values to unpack (expected 2, got 1)"),
    ],
)
async def test_an_address_of_one_part_is_refused(address, message):
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            await loop.sock_connect(sock, address)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        await loop.create_connection(asyncio.Protocol, "127.0.0.1", 9, local_addr=address)


async def test_what_is_no_socket_lacks_its_method(pair):
    loop = asyncio.get_running_loop()
    for method, arguments, attribute in [
        (loop.sock_recv, (1,), "recv"),
        (loop.sock_recv_into, (bytearray(1),), "recv_into"),
        (loop.sock_sendall, (b"x",), "send"),
        (loop.sock_accept, (), "fileno"),
    ]:
        with pytest.raises(AttributeError, match=rf"^'list' object has no attribute '{attribute}'$"):
            await method([], *arguments)


async def test_what_can_not_be_received_into_is_refused(pair):
    loop = asyncio.get_running_loop()
    left, _ = pair
    for buffer, kind in [(None, "None"), ([], "list"), (b"read only", "bytes"), (3, "int")]:
        message = rf"^recv_into\(\) argument 1 must be read-write bytes-like object, not {kind}$"
        with pytest.raises(TypeError, match=message):
            await loop.sock_recv_into(left, buffer)
    for size in (1 << 63, -1 << 70):
        with pytest.raises(OverflowError, match=r"^Python int too large to convert to C ssize_t$"):
            await loop.sock_recv(left, size)


@pytest.mark.parametrize("port", [float("inf"), 1 / 3])
async def test_a_port_that_is_no_number(port):
    loop = asyncio.get_running_loop()
    expected = OverflowError if port > 1 else OSError
    with pytest.raises(expected):
        await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
