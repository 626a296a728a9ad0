"""Datagram transports over UDP and Unix sockets (asyncio docs, "Transports and Protocols", Datagram Transports)."""

import asyncio
import contextvars
import os
import socket
import sys

import pytest

from tests.support.datagrams import Echo, Recorder, address_of, close, endpoint
from tests.support.net import HOST
from tests.support.waiting import until


async def test_there_and_back():
    server, echo = await endpoint(Echo)
    client, protocol = await endpoint(remote_addr=address_of(server))
    client.sendto(b"ping")
    await until(lambda: protocol.received)
    assert protocol.received == [(b"ping", address_of(server))]
    assert echo.received == [(b"ping", address_of(client))]
    await close(client, server)
    assert protocol.lost.result() is None


@pytest.mark.parametrize("connected", [True, False])
async def test_order_and_borders_are_kept(connected):
    server, sink = await endpoint()
    client, _ = await endpoint(
        **({"remote_addr": address_of(server)} if connected else {"local_addr": (HOST, 0)})
    )
    sent = [bytes([number % 256]) * (number % 50 + 1) for number in range(100)]
    for data in sent:
        client.sendto(data, None if connected else address_of(server))
    await until(lambda: len(sink.received) == 100)
    assert [data for data, _ in sink.received] == sent
    assert {address for _, address in sink.received} == {address_of(client)}
    await close(client, server)


async def test_answers_go_to_who_asked():
    server, _ = await endpoint(Echo)
    clients = [await endpoint(remote_addr=address_of(server)) for _ in range(80)]
    for round_number in range(3):
        for index, (transport, _) in enumerate(clients):
            transport.sendto(b"%d %d" % (index, round_number))
        await until(lambda count=round_number: all(len(protocol.received) > count for _, protocol in clients))
    for index, (_, protocol) in enumerate(clients):
        assert [data for data, _ in protocol.received] == [b"%d %d" % (index, number) for number in range(3)]
    await close(server, *(transport for transport, _ in clients))


async def test_ipv6():
    server, echo = await endpoint(Echo, local_addr=("::1", 0))
    client, protocol = await endpoint(local_addr=("::1", 0))
    client.sendto(b"ping", address_of(server))
    await until(lambda: protocol.received)
    assert echo.received[0][1] == address_of(client)
    client.sendto(b"short", address_of(server)[:2])
    await until(lambda: len(protocol.received) == 2)
    await close(client, server)


async def test_names_are_resolved():
    server, _ = await endpoint(Echo)
    client, protocol = await endpoint(
        remote_addr=("localhost", address_of(server)[1]), family=socket.AF_INET, proto=socket.IPPROTO_UDP
    )
    client.sendto(b"ping")
    await until(lambda: protocol.received)
    await close(client, server)


async def test_name_in_sendto():
    server, echo = await endpoint(Echo)
    client, protocol = await endpoint()
    client.sendto(b"first", address_of(server))
    client.sendto(b"second", ("localhost", address_of(server)[1]))
    client.sendto(b"third", address_of(server))
    await until(lambda: len(protocol.received) == 3)
    assert [data for data, _ in echo.received] == [b"first", b"second", b"third"]
    await close(client, server)


async def test_every_kind_of_data():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))
    buffer = bytearray(b"abc")
    client.sendto(buffer)
    client.sendto(memoryview(b"xyz"))
    await until(lambda: len(sink.received) == 2)
    assert [data for data, _ in sink.received] == [b"abc", b"xyz"]
    assert all(type(data) is bytes for data, _ in sink.received)
    await close(client, server)


async def test_data_that_changes_after_sendto_is_sent_as_it_was():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))
    buffer = bytearray(b"before")
    client.sendto(buffer)
    buffer[:] = b"after!"
    await until(lambda: sink.received)
    assert sink.received[0][0] == b"before"
    await close(client, server)


async def test_empty_datagram():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))
    client.sendto(b"")
    client.sendto(b"next")
    await until(lambda: sink.received and sink.received[-1][0] == b"next")
    expected = [b"", b"next"] if sys.version_info >= (3, 13) else [b"next"]
    assert [data for data, _ in sink.received] == expected
    await close(client, server)


async def test_large_datagrams():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))
    largest = os.urandom(65507)
    client.sendto(largest)
    await until(lambda: sink.received)
    assert sink.received[0][0] == largest
    await close(client, server)


async def test_unix_datagrams(tmp_path):
    paths = [str(tmp_path / name) for name in ("server", "client")]
    server, echo = await endpoint(Echo, local_addr=paths[0], family=socket.AF_UNIX)
    client, protocol = await endpoint(local_addr=paths[1], remote_addr=paths[0], family=socket.AF_UNIX)
    client.sendto(b"ping")
    await until(lambda: protocol.received)
    assert echo.received == [(b"ping", paths[1])]
    nameless, _ = await endpoint(remote_addr=paths[0], family=socket.AF_UNIX)
    server.get_protocol().datagram_received = lambda *args: echo.received.append(args)
    nameless.sendto(bytes(100_000))
    await until(lambda: len(echo.received) == 2)
    assert echo.received[1] == (bytes(100_000), None)
    await close(client, server, nameless)


async def test_socket_of_the_caller():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    server, sink = await endpoint(sock=sock)
    client, _ = await endpoint(remote_addr=sock.getsockname())
    client.sendto(b"ping")
    await until(lambda: sink.received)
    await close(client, server)
    assert sock.fileno() == -1


async def test_connected_socket_of_the_caller():
    server, sink = await endpoint()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(address_of(server))
    client, _ = await endpoint(sock=sock)
    client.sendto(b"plain")
    client.sendto(b"ignored", (HOST, 9))
    await until(lambda: len(sink.received) == 2)
    assert client.get_extra_info("peername") == address_of(server)
    await close(client, server)


@pytest.mark.parametrize("remote", [None, (0, 0)])
async def test_addresses_of_another_family(remote):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0) as sock:
        sock.bind((0, 0))
        if remote is not None:
            sock.connect(remote)
        addresses = sock.getsockname(), sock.getpeername()
        transport, protocol = await endpoint(sock=sock)
        assert transport.get_extra_info("sockname") == addresses[0]
        assert transport.get_extra_info("peername") == addresses[1]
        transport.close()
        await protocol.lost


async def test_what_the_transport_tells():
    transport, protocol = await endpoint()
    sock = transport.get_extra_info("socket")
    assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_DGRAM)
    assert transport.get_extra_info("peername") is None
    assert isinstance(transport, asyncio.Transport)
    if sys.version_info >= (3, 13) or type(transport).__module__ == "sabio":
        assert isinstance(transport, asyncio.DatagramTransport)
    assert transport.get_protocol() is protocol
    assert not transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    transport.set_write_buffer_limits(high=100, low=10)
    await close(transport)
    assert transport.is_closing()


async def test_broadcast_option():
    transport, _ = await endpoint(local_addr=(HOST, 0), allow_broadcast=True)
    assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    await close(transport)


async def test_broadcast_with_a_remote_address_does_not_connect():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server), allow_broadcast=True)
    assert client.get_extra_info("peername") is None
    client.sendto(b"ping")
    client.sendto(b"pong", address_of(server))
    await until(lambda: len(sink.received) == 2)
    with pytest.raises(ValueError, match="Invalid address: must be None or"):
        client.sendto(b"ping", (HOST, 9))
    await close(client, server)


async def test_reuse_port():
    first, _ = await endpoint(local_addr=(HOST, 0), reuse_port=True)
    second, _ = await endpoint(local_addr=address_of(first), reuse_port=True)
    assert address_of(first) == address_of(second)
    await close(first, second)


async def test_callbacks_run_in_the_context_of_the_maker():
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    class Witness(Recorder):
        def datagram_received(self, data, addr):
            seen.append(variable.get())
            super().datagram_received(data, addr)

    variable.set("maker")
    server, sink = await endpoint(Witness)
    client, _ = await endpoint(remote_addr=address_of(server))
    client.sendto(b"x")
    variable.set("later")
    await until(lambda: sink.received)
    assert seen == ["maker"]
    await close(client, server)


async def test_protocol_can_be_replaced():
    server, first = await endpoint()
    second = Recorder()
    server.set_protocol(second)
    client, _ = await endpoint(remote_addr=address_of(server))
    client.sendto(b"x")
    await until(lambda: second.received)
    assert first.received == []
    await close(client, server)
