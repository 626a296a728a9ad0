"""create_connection (asyncio docs, "Opening network connections"; RFC 8305 for happy eyeballs)."""

import asyncio
import errno
import re
import socket

import pytest

from tests.support.net import has_ipv6, listener, silent_listener, tcp_pair, unused_port
from tests.support.protocols import Recorder
from tests.support.waiting import turns, until

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def server():
    with listener() as sock:
        yield sock


def resolve_to(loop, *addresses):
    """Make the loop resolve every name to these addresses, in this order."""

    async def getaddrinfo(host, port, **kwargs):
        found = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            full = (*address, 0, 0) if family == socket.AF_INET6 else address
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", full))
        return found

    loop.getaddrinfo = getaddrinfo


async def close(transport):
    protocol = transport.get_protocol()
    transport.close()
    await protocol.lost


def ports_in(text):
    return [int(port) for port in re.findall(r"', (\d+)", text)]


# ---------------------------------------------------------------- the plain way


async def test_connection_gives_transport_and_protocol(server):
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    transport, protocol = await loop.create_connection(factory, *server.getsockname())
    assert made == [protocol]
    assert protocol.transport is transport
    assert protocol.calls == ["connection_made"]
    assert isinstance(transport, asyncio.Transport)
    assert transport.get_extra_info("peername") == server.getsockname()
    await close(transport)


async def test_connection_is_made_before_create_connection_returns(server):
    loop = asyncio.get_running_loop()
    for _ in range(5):
        transport, protocol = await loop.create_connection(Recorder, *server.getsockname())
        assert protocol.connected.done()
        await close(transport)


@pytest.mark.parametrize("host", ["localhost", b"127.0.0.1", "127.0.0.1"])
async def test_host_may_be_a_name_or_bytes(server, host):
    loop = asyncio.get_running_loop()
    port = server.getsockname()[1]
    for given in (port, str(port)):
        transport, _ = await loop.create_connection(Recorder, host, given)
        assert transport.get_extra_info("peername") == server.getsockname()
        await close(transport)


async def test_host_of_none_means_this_machine(server):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(
        Recorder, None, server.getsockname()[1], family=socket.AF_INET
    )
    await close(transport)


@needs_ipv6
async def test_connection_over_ipv6():
    loop = asyncio.get_running_loop()
    with listener("::1") as server:
        transport, _ = await loop.create_connection(Recorder, "::1", server.getsockname()[1])
        assert transport.get_extra_info("peername")[:2] == server.getsockname()[:2]
        await close(transport)


async def test_socket_has_no_delay(server):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Recorder, *server.getsockname())
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    await close(transport)


async def test_socket_of_ones_own(server):
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(server.getsockname())
    transport, _ = await loop.create_connection(Recorder, sock=sock)
    assert transport.get_extra_info("sockname") == sock.getsockname()
    assert sock.gettimeout() == 0
    await close(transport)
    assert sock.fileno() == -1


async def test_connected_unix_socket_of_ones_own():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    _, protocol = await loop.create_connection(Recorder, sock=left)
    right.send(b"data")
    assert await protocol.receive(4) == b"data"
    right.close()
    await protocol.lost


# ---------------------------------------------------------------- errors


async def test_port_where_nobody_listens_is_refused():
    loop = asyncio.get_running_loop()
    port = unused_port()
    with pytest.raises(ConnectionRefusedError) as caught:
        await loop.create_connection(Recorder, "127.0.0.1", port)
    assert caught.value.errno == errno.ECONNREFUSED
    assert str(port) in str(caught.value)


async def test_nul_in_a_name_is_a_value_error_not_another_host():
    for host in ("127.0.0.1\0.example", "\0", "localhost\0"):
        with pytest.raises(ValueError, match="embedded null character"):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, 1)


async def test_name_that_does_not_resolve_is_a_gaierror():
    with pytest.raises(socket.gaierror):
        await asyncio.get_running_loop().create_connection(Recorder, "no-such-host.invalid", 80)


async def test_protocol_factory_is_not_called_when_the_connection_fails():
    def factory():
        pytest.fail("was called")

    with pytest.raises(ConnectionRefusedError):
        await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", unused_port())


async def test_errors_of_several_addresses_are_told_together():
    loop = asyncio.get_running_loop()
    ports = [unused_port(), unused_port()]
    resolve_to(loop, ("127.0.0.1", ports[0]), ("127.0.0.2", ports[1]))
    with pytest.raises(OSError, match=r"^Multiple exceptions: ") as caught:
        await loop.create_connection(Recorder, "several", 80)
    assert ports_in(str(caught.value)) == ports


async def test_errors_that_read_alike_are_told_once():
    loop = asyncio.get_running_loop()
    address = ("127.0.0.1", unused_port())
    resolve_to(loop, address, address)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, "twice", 80)


@pytest.mark.asyncio_lacks("all_errors is new in 3.12", "<3.12")
async def test_all_errors_come_as_a_group():
    loop = asyncio.get_running_loop()
    ports = [unused_port(), unused_port()]
    resolve_to(loop, *(("127.0.0.1", port) for port in ports))
    with pytest.raises(ExceptionGroup, match=r"create_connection failed") as caught:
        await loop.create_connection(Recorder, "several", 80, all_errors=True)
    assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError] * 2
    assert [ports_in(str(error)) for error in caught.value.exceptions] == [[port] for port in ports]


async def test_second_address_is_tried_when_the_first_fails(server):
    loop = asyncio.get_running_loop()
    resolve_to(loop, ("127.0.0.1", unused_port()), server.getsockname())
    transport, _ = await loop.create_connection(Recorder, "several", 80)
    assert transport.get_extra_info("peername") == server.getsockname()
    await close(transport)


async def test_name_without_addresses_is_an_error():
    loop = asyncio.get_running_loop()
    resolve_to(loop)
    with pytest.raises(OSError, match=r"getaddrinfo\(.*\) returned empty list"):
        await loop.create_connection(Recorder, "nothing", 80)


@pytest.mark.asyncio_lacks("the socket is left open when the factory fails", "<3.14", run=False)
async def test_exception_of_the_factory_comes_out(server):
    def factory():
        raise ValueError("no protocol")

    with pytest.raises(ValueError, match=r"no protocol"):
        await asyncio.get_running_loop().create_connection(factory, *server.getsockname())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, r"host and port was not specified and no sock specified"),
        (
            {"host": "127.0.0.1", "port": 1, "sock": "sock"},
            r"host/port and sock can not be specified at the same time",
        ),
        ({"port": 1, "sock": "sock"}, r"host/port and sock can not be specified at the same time"),
        ({"sock": "datagram"}, r"A Stream Socket was expected, got"),
        (
            {"host": "127.0.0.1", "port": 1, "server_hostname": "x"},
            r"server_hostname is only meaningful with ssl",
        ),
        (
            {"host": "127.0.0.1", "port": 1, "ssl_handshake_timeout": 1},
            r"ssl_handshake_timeout is only meaningful",
        ),
        (
            {"host": "127.0.0.1", "port": 1, "ssl_shutdown_timeout": 1},
            r"ssl_shutdown_timeout is only meaningful",
        ),
    ],
)
async def test_arguments_that_contradict_each_other_are_refused(kwargs, message):
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        given = {"sock": stream, "datagram": datagram}
        if "sock" in kwargs:
            kwargs = {**kwargs, "sock": given[kwargs["sock"]]}
        with pytest.raises(ValueError, match=message):
            await asyncio.get_running_loop().create_connection(Recorder, **kwargs)


# ---------------------------------------------------------------- local_addr


async def test_local_address_is_bound(server):
    loop = asyncio.get_running_loop()
    port = unused_port()
    transport, _ = await loop.create_connection(
        Recorder, *server.getsockname(), local_addr=("127.0.0.1", port)
    )
    assert transport.get_extra_info("sockname") == ("127.0.0.1", port)
    await close(transport)


async def test_local_address_may_be_a_name(server):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Recorder, *server.getsockname(), local_addr=("localhost", 0))
    assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
    await close(transport)


async def test_local_address_that_is_taken_is_an_error(server):
    loop = asyncio.get_running_loop()
    with (
        listener() as taken,
        pytest.raises(OSError, match=r"error while attempting to bind on address") as caught,
    ):
        await loop.create_connection(Recorder, *server.getsockname(), local_addr=taken.getsockname())
    assert caught.value.errno == errno.EADDRINUSE


async def test_local_address_of_another_machine_is_an_error(server):
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match=r"error while attempting to bind on address") as caught:
        await loop.create_connection(Recorder, *server.getsockname(), local_addr=("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


@needs_ipv6
async def test_local_address_of_another_family_is_an_error(server):
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match=r"no matching local address"):
        await loop.create_connection(Recorder, *server.getsockname(), local_addr=("::1", 0))


# ---------------------------------------------------------------- happy eyeballs


async def test_next_address_is_tried_after_the_delay(server):
    loop = asyncio.get_running_loop()
    with silent_listener() as silent:
        resolve_to(loop, silent, server.getsockname())
        before = loop.time()
        transport, _ = await loop.create_connection(Recorder, "several", 80, happy_eyeballs_delay=0.05)
        assert 0.05 <= loop.time() - before < 0.9
        assert transport.get_extra_info("peername") == server.getsockname()
        await close(transport)


async def test_next_address_is_tried_at_once_when_one_fails(server):
    loop = asyncio.get_running_loop()
    resolve_to(loop, ("127.0.0.1", unused_port()), server.getsockname())
    before = loop.time()
    transport, _ = await loop.create_connection(Recorder, "several", 80, happy_eyeballs_delay=20)
    assert loop.time() - before < 5
    await close(transport)


async def test_first_address_wins_when_it_is_quick(server):
    loop = asyncio.get_running_loop()
    with listener() as other:
        resolve_to(loop, server.getsockname(), other.getsockname())
        transport, _ = await loop.create_connection(Recorder, "several", 80, happy_eyeballs_delay=5)
        assert transport.get_extra_info("peername") == server.getsockname()
        await close(transport)


async def test_losers_of_the_race_are_closed(server):
    loop = asyncio.get_running_loop()
    with silent_listener() as silent:
        resolve_to(loop, silent, silent, silent, server.getsockname())
        transport, _ = await loop.create_connection(Recorder, "several", 80, happy_eyeballs_delay=0.01)
        await close(transport)
    # The leak check after the test counts the descriptors.


@pytest.mark.asyncio_lacks("all_errors is new in 3.12", "<3.12")
async def test_errors_of_a_race_come_all():
    loop = asyncio.get_running_loop()
    ports = [unused_port() for _ in range(3)]
    resolve_to(loop, *(("127.0.0.1", port) for port in ports))
    with pytest.raises(ExceptionGroup) as caught:
        await loop.create_connection(Recorder, "several", 80, happy_eyeballs_delay=0.01, all_errors=True)
    assert [ports_in(str(error)) for error in caught.value.exceptions] == [[port] for port in ports]


@needs_ipv6
@pytest.mark.asyncio_lacks("all_errors is new in 3.12", "<3.12")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "666444"),
        ({"interleave": 0}, "666444"),
        ({"interleave": 1}, "646464"),
        ({"interleave": 2}, "664644"),
        ({"happy_eyeballs_delay": 0.01}, "646464"),
        ({"happy_eyeballs_delay": 0.01, "interleave": 0}, "666444"),
    ],
)
async def test_families_are_interleaved(options, expected):
    loop = asyncio.get_running_loop()
    addresses = [("::1", unused_port("::1")) for _ in range(3)] + [
        ("127.0.0.1", unused_port()) for _ in range(3)
    ]
    resolve_to(loop, *addresses)
    with pytest.raises(ExceptionGroup) as caught:
        await loop.create_connection(Recorder, "several", 80, all_errors=True, **options)
    order = "".join("6" if "::1" in str(error) else "4" for error in caught.value.exceptions)
    assert order == expected


# ---------------------------------------------------------------- cancellation


@pytest.mark.parametrize("options", [{}, {"happy_eyeballs_delay": 0.01}])
async def test_cancelled_connection_is_closed(options):
    loop = asyncio.get_running_loop()
    with silent_listener() as silent:
        resolve_to(loop, silent, silent)
        task = asyncio.create_task(loop.create_connection(Recorder, "silent", 80, **options))
        await asyncio.sleep(0.03)
        assert not task.done()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_timeout_around_a_connection():
    loop = asyncio.get_running_loop()
    with silent_listener() as silent, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await loop.create_connection(Recorder, *silent)


async def test_connection_cancelled_at_every_step_leaves_nothing_behind(server):
    loop = asyncio.get_running_loop()
    for steps in range(8):
        made = []

        def factory(made=made):
            made.append(Recorder())
            return made[-1]

        task = asyncio.create_task(loop.create_connection(factory, "localhost", server.getsockname()[1]))
        await turns(steps)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            outcome[0].close()
        for protocol in made:
            if protocol.connected.done():
                await until(lambda protocol=protocol: protocol.lost.done())


# ---------------------------------------------------------------- connect_accepted_socket


async def test_accepted_socket_gets_a_transport():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    transport, protocol = await loop.connect_accepted_socket(Recorder, left)
    assert protocol.calls == ["connection_made"]
    right.send(b"data")
    assert await protocol.receive(4) == b"data"
    transport.write(b"answer")
    await asyncio.sleep(0.005)
    assert right.recv(10) == b"answer"
    right.close()
    await protocol.lost


async def test_accepted_socket_must_be_a_stream():
    loop = asyncio.get_running_loop()
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match=r"A Stream Socket was expected"),
    ):
        await loop.connect_accepted_socket(Recorder, sock)


async def test_accepted_socket_takes_no_ssl_options_without_ssl():
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        with pytest.raises(ValueError, match=r"ssl_handshake_timeout is only meaningful with ssl"):
            await loop.connect_accepted_socket(Recorder, sock, ssl_handshake_timeout=1)
        with pytest.raises(ValueError, match=r"ssl_shutdown_timeout is only meaningful with ssl"):
            await loop.connect_accepted_socket(Recorder, sock, ssl_shutdown_timeout=1)


async def test_a_local_port_that_is_none_is_an_overflow():
    loop = asyncio.get_running_loop()
    with listener() as server, pytest.raises(OverflowError, match=r"port must be 0-65535"):
        await loop.create_connection(
            asyncio.Protocol, *server.getsockname(), local_addr=("127.0.0.1", 99_999)
        )
