"""create_server: options, several hosts, starting to serve (asyncio docs, "Creating network servers")."""

import asyncio
import errno
import socket

import pytest

from tests.support.net import has_ipv6, listener, receive_all, unused_port
from tests.support.protocols import Echo, Recorder
from tests.support.waiting import until

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


def address_of(server):
    return server.sockets[0].getsockname()[:2]


async def close(server):
    server.close()
    await server.wait_closed()


async def echo(address, data=b"data"):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    answer = await reader.readexactly(len(data))
    writer.close()
    await writer.wait_closed()
    return answer


# ---------------------------------------------------------------- serving


async def test_server_serves():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    assert isinstance(server, asyncio.AbstractServer)
    assert server.is_serving()
    assert server.get_loop() is loop
    assert await asyncio.gather(*(echo(address_of(server), b"%d" % n) for n in range(20))) == [
        b"%d" % n for n in range(20)
    ]
    await close(server)
    assert not server.is_serving()


async def test_each_connection_gets_its_own_protocol():
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    clients = [socket.create_connection(address_of(server)) for _ in range(3)]
    await until(lambda: len(made) == 3 and all(protocol.connected.done() for protocol in made))
    assert len({protocol.transport for protocol in made}) == 3
    names = {client.getsockname() for client in clients}
    assert {protocol.transport.get_extra_info("peername") for protocol in made} == names
    for client in clients:
        client.close()
    await asyncio.gather(*(protocol.lost for protocol in made))
    await close(server)


async def test_accepted_sockets_have_no_delay():
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    with socket.create_connection(address_of(server)):
        await until(lambda: made and made[0].connected.done())
        sock = made[0].transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert not sock.get_inheritable()
    await made[0].lost
    await close(server)


async def test_sockets_of_the_server_can_be_looked_at():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    [sock] = server.sockets
    assert isinstance(server.sockets, tuple)
    assert isinstance(sock, asyncio.trsock.TransportSocket)
    assert sock.family == socket.AF_INET
    assert sock.type == socket.SOCK_STREAM
    assert sock.getsockname()[0] == "127.0.0.1"
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
    assert f"sockets=({sock!r},)" in repr(server)
    await close(server)
    assert server.sockets == ()


@pytest.mark.asyncio_lacks("the accepted socket is left open when the factory fails", run=False)
@pytest.mark.debug_mode
async def test_exception_of_the_factory_is_reported_and_the_server_goes_on():
    loop = asyncio.get_running_loop()
    contexts, failing = [], True
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    def factory():
        if failing:
            raise ValueError("no protocol")
        return Echo()

    server = await loop.create_server(factory, "127.0.0.1", 0)
    with socket.create_connection(address_of(server)) as client:
        await until(lambda: contexts)
        assert str(contexts[0]["exception"]) == "no protocol"
        assert contexts[0]["message"] == "Error on transport creation for incoming connection"
        contexts.clear()
        client.setblocking(False)
        assert await asyncio.wait_for(receive_all(client), 10) == b""
    failing = False
    assert await echo(address_of(server)) == b"data"
    await close(server)


# ---------------------------------------------------------------- where to listen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ["127.0.0.1"], ("127.0.0.1", "127.0.0.1")])
async def test_host_may_be_one_or_several(host):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, host, 0, family=socket.AF_INET)
    assert len(server.sockets) == 1
    assert await echo(address_of(server)) == b"data"
    await close(server)


async def test_several_hosts_get_a_socket_each():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2"], 0)
    assert {sock.getsockname()[0] for sock in server.sockets} == {"127.0.0.1", "127.0.0.2"}
    for sock in server.sockets:
        assert await echo(sock.getsockname()) == b"data"
    await close(server)


@needs_ipv6
@pytest.mark.parametrize("host", [None, ""])
async def test_no_host_means_every_interface(host):
    loop = asyncio.get_running_loop()
    port = unused_port()
    server = await loop.create_server(Echo, host, port)
    assert {sock.family for sock in server.sockets} == {socket.AF_INET, socket.AF_INET6}
    assert {sock.getsockname()[1] for sock in server.sockets} == {port}
    assert await echo(("127.0.0.1", port)) == b"data"
    assert await echo(("::1", port)) == b"data"
    await close(server)


@needs_ipv6
async def test_ipv6_server_takes_no_ipv4_clients():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "::", 0, family=socket.AF_INET6)
    [sock] = server.sockets
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) != 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
    await close(server)


async def test_port_of_none_and_a_service_name():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", None)
    assert address_of(server)[1] > 0
    await close(server)
    port = unused_port()
    server = await loop.create_server(Echo, "127.0.0.1", str(port))
    assert address_of(server)[1] == port
    await close(server)


async def test_socket_of_ones_own():
    loop = asyncio.get_running_loop()
    sock = listener()
    server = await loop.create_server(Echo, sock=sock)
    assert address_of(server) == sock.getsockname()
    assert await echo(address_of(server)) == b"data"
    await close(server)
    assert sock.fileno() == -1


async def test_port_that_is_taken_is_an_error():
    loop = asyncio.get_running_loop()
    with listener() as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match=r"error while attempting to bind on address") as caught:
            await loop.create_server(Echo, *address)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(address[1]) in str(caught.value)
    assert "address already in use" in str(caught.value)


async def test_one_taken_port_of_several_closes_the_others():
    loop = asyncio.get_running_loop()
    with listener() as taken, pytest.raises(OSError, match=r"error while attempting to bind"):
        await loop.create_server(Echo, ["127.0.0.2", "127.0.0.1"], taken.getsockname()[1])


async def test_address_of_another_machine_is_an_error():
    with pytest.raises(OSError, match=r"192\.0\.2\.1") as caught:
        await asyncio.get_running_loop().create_server(Echo, "192.0.2.1", 0)
    # Since 3.13 such an address is skipped, and what is left to say is that none could be bound.
    assert caught.value.errno in (errno.EADDRNOTAVAIL, None)


@pytest.mark.asyncio_lacks("addresses that do not exist here are skipped since 3.13", "<3.13")
async def test_address_of_another_machine_is_skipped_when_there_are_others():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, ["192.0.2.1", "127.0.0.1"], 0)
    assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]
    await close(server)


async def test_nul_in_a_name_is_a_value_error_not_another_host():
    with pytest.raises(ValueError, match="embedded null character"):
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1\0.example", 0)


async def test_name_that_does_not_resolve_is_a_gaierror():
    with pytest.raises(socket.gaierror):
        await asyncio.get_running_loop().create_server(Echo, "no-such-host.invalid", 0)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({}, ValueError, r"Neither host/port nor sock were specified"),
        (
            {"host": "127.0.0.1", "port": 0, "sock": "stream"},
            ValueError,
            r"host/port and sock can not be specified",
        ),
        ({"sock": "datagram"}, ValueError, r"A Stream Socket was expected, got"),
        (
            {"host": "127.0.0.1", "port": 0, "ssl": True},
            TypeError,
            r"ssl argument must be an SSLContext or None",
        ),
        (
            {"host": "127.0.0.1", "port": 0, "ssl_handshake_timeout": 1},
            ValueError,
            r"only meaningful with ssl",
        ),
        (
            {"host": "127.0.0.1", "port": 0, "ssl_shutdown_timeout": 1},
            ValueError,
            r"only meaningful with ssl",
        ),
    ],
)
async def test_arguments_that_contradict_each_other_are_refused(kwargs, error, message):
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        if "sock" in kwargs:
            kwargs = {**kwargs, "sock": {"stream": stream, "datagram": datagram}[kwargs["sock"]]}
        with pytest.raises(error, match=message):
            await asyncio.get_running_loop().create_server(Echo, **kwargs)


# ---------------------------------------------------------------- options


async def test_reuse_port_lets_two_servers_share_a_port():
    loop = asyncio.get_running_loop()
    first = await loop.create_server(Echo, "127.0.0.1", 0, reuse_port=True)
    second = await loop.create_server(Echo, *address_of(first), reuse_port=True)
    assert first.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) != 0
    assert address_of(first) == address_of(second)
    for _ in range(10):
        assert await echo(address_of(first)) == b"data"
    await close(first)
    await close(second)


async def test_reuse_address_can_be_turned_off():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, reuse_address=False)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    await close(server)


@pytest.mark.asyncio_lacks("keep_alive is new in 3.13", "<3.13")
async def test_keep_alive_is_set_on_the_sockets():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, keep_alive=True)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
    await close(server)
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    await close(server)


async def test_clients_that_came_before_the_server_looked_are_all_accepted():
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(Echo())
        return made[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0, backlog=50)
    clients = [socket.create_connection(address_of(server)) for _ in range(40)]
    assert made == []
    await until(lambda: len(made) == 40)
    for client in clients:
        client.close()
    await close(server)


@pytest.mark.asyncio_lacks("the socket is left open", run=False)
@pytest.mark.parametrize("backlog", ["many", 1.5])
async def test_backlog_must_be_a_number(backlog):
    with pytest.raises(TypeError):
        await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=backlog)


# ---------------------------------------------------------------- starting to serve


async def test_server_does_not_serve_before_it_is_started():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address_of(server))
    await server.start_serving()
    assert server.is_serving()
    await server.start_serving()
    assert await echo(address_of(server)) == b"data"
    await close(server)


async def test_closed_server_cannot_be_started():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
    server.close()
    with pytest.raises((RuntimeError, TypeError)):
        await server.start_serving()
    with pytest.raises(RuntimeError, match=r"server .* is closed"):
        await server.serve_forever()


async def test_serve_forever_serves_until_it_is_cancelled():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
    task = asyncio.create_task(server.serve_forever())
    await until(server.is_serving)
    assert await echo(address_of(server)) == b"data"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.is_serving()
    assert server.sockets == ()


async def test_serve_forever_ends_when_the_server_is_closed():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0.002)
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_serve_forever_twice_is_an_error():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0.002)
    with pytest.raises(RuntimeError, match=r"server .* is already being awaited on serve_forever\(\)"):
        await server.serve_forever()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_server_as_a_context_manager():
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        assert server.is_serving()
        assert await echo(address_of(server)) == b"data"
    assert not server.is_serving()
    assert server.sockets == ()
