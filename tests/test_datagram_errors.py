"""Datagram transports: bad arguments, network errors, failing protocols (asyncio docs, "Datagram Transports")."""

import asyncio
import errno
import logging
import socket

import pytest

from tests.support.datagrams import Recorder, address_of, close, endpoint
from tests.support.net import HOST, unused_udp_port
from tests.support.waiting import turns, until


async def test_nobody_listens():
    client, protocol = await endpoint(remote_addr=(HOST, unused_udp_port()))
    client.sendto(b"x")
    await until(lambda: protocol.errors)
    assert isinstance(protocol.errors[0], ConnectionRefusedError)
    assert not client.is_closing()
    await close(client)


async def test_datagram_that_is_too_long_concerns_nothing_else():
    server, sink = await endpoint()
    client, protocol = await endpoint(remote_addr=address_of(server))
    client.sendto(b"before")
    client.sendto(bytes(70_000))
    client.sendto(b"after")
    await until(lambda: len(sink.received) == 2)
    assert [data for data, _ in sink.received] == [b"before", b"after"]
    assert [error.errno for error in protocol.errors] == [errno.EMSGSIZE]
    await close(client, server)


async def test_address_of_another_family():
    client, protocol = await endpoint()
    client.sendto(b"x", ("::1", 9))
    await until(lambda: protocol.errors)
    assert isinstance(protocol.errors[0], OSError)
    await close(client)


async def test_address_that_is_none_closes_the_endpoint(reports):
    client, protocol = await endpoint()
    client.sendto(b"x", 3)
    error = await protocol.lost
    assert isinstance(error, TypeError)
    assert reports.take_logged()


async def test_protocol_that_raises_is_reported_and_the_endpoint_goes_on():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    class Failing(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            raise LookupError(data.decode())

    server, sink = await endpoint(Failing)
    client, _ = await endpoint(remote_addr=address_of(server))
    for number in range(3):
        client.sendto(b"%d" % number)
    await until(lambda: len(sink.received) == 3)
    await turns(2)
    assert [str(context["exception"]) for context in contexts] == ["0", "1", "2"]
    await close(client, server)


@pytest.mark.parametrize("data", ["text", 3, None, [b"x"]])
async def test_data_that_has_no_bytes(data):
    transport, _ = await endpoint()
    with pytest.raises(TypeError, match="data argument must be a bytes-like object, not"):
        transport.sendto(data, (HOST, 9))
    await close(transport)


@pytest.mark.parametrize("port", [65536, -1, "70000", 2**70])
@pytest.mark.parametrize("host", [HOST, "::1"])
async def test_port_out_of_range(host, port):
    with pytest.raises(OverflowError, match="port must be 0-65535"):
        await endpoint(local_addr=(host, port))


@pytest.mark.debug_mode
async def test_numeric_hosts_are_not_looked_up(caplog):
    with caplog.at_level(logging.DEBUG, "asyncio"):
        transport, _ = await endpoint(local_addr=(HOST, " 0 "))
        await close(transport)
    assert "address info" not in caplog.text


async def test_protocol_of_a_numeric_host_is_that_of_the_type():
    transport, _ = await endpoint(local_addr=(HOST, 0), proto=socket.IPPROTO_TCP)
    assert transport.get_extra_info("socket").proto == socket.IPPROTO_UDP
    await close(transport)


async def test_address_in_use():
    transport, _ = await endpoint()
    with pytest.raises(OSError, match="Address already in use"):
        await endpoint(local_addr=address_of(transport))
    await close(transport)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"family": 0, "proto": 0}, ValueError, "unexpected address family"),
        ({"local_addr": HOST}, TypeError, "2-tuple is expected"),
        ({"local_addr": (HOST, 0, 0)}, TypeError, "2-tuple is expected"),
        ({"local_addr": (HOST, 0), "family": socket.AF_UNIX}, TypeError, "string is expected"),
        ({"local_addr": (HOST, 0), "remote_addr": ("::1", 9)}, ValueError, "can not get address information"),
        ({"remote_addr": ("no.such.host.invalid", 9)}, socket.gaierror, "."),
    ],
)
async def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=message):
        await endpoint(**options)


async def test_socket_of_another_kind():
    with socket.socket() as sock, pytest.raises(ValueError, match="was expected, got"):
        await endpoint(sock=sock)


async def test_socket_and_other_arguments():
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(
            ValueError, match=r"can not be used when sock is specified. \(local_addr=.*reuse_port=True"
        ),
    ):
        await endpoint(sock=sock, local_addr=(HOST, 0), reuse_port=True)


async def test_factory_that_raises_leaves_nothing_open(sabio):
    def fail():
        raise LookupError("no protocol")

    with pytest.raises(LookupError, match="no protocol"):
        await endpoint(fail)
