"""Many datagrams of one size at a time, which sabio has the kernel carry as one: nobody must notice (udp(7))."""

import asyncio
import socket

import pytest

from tests.support.datagrams import Echo, Recorder, address_of, close, endpoint
from tests.support.net import HOST, unused_udp_port
from tests.support.waiting import until

#: Linux's numbers: that a socket receives rows as one, and that it sends without checksums.
UDP_GRO = 104
SO_NO_CHECK = 11

SIZES = {
    "equal": [100] * 150,
    "shorter at the end": [50] * 20 + [10],
    "shorter and shorter": list(range(60, 0, -1)),
    "longer and longer": list(range(1, 60)),
    "in turn": [10, 10, 20, 20, 10, 10] * 10,
    "large": [20_000] * 5,
    "one byte": [1] * 100,
}


def numbered(sizes):
    """Datagrams that differ, of these sizes."""
    return [bytes([index % 251]) * size for index, size in enumerate(sizes)]


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("connected", [True, False])
async def test_borders_and_order_are_kept(kind, connected):
    sent = numbered(SIZES[kind])
    server, sink = await endpoint()
    client, _ = await endpoint(
        **({"remote_addr": address_of(server)} if connected else {"local_addr": (HOST, 0)})
    )
    for _ in range(3):
        del sink.received[:]
        for start in range(0, len(sent), 50):
            for data in sent[start : start + 50]:
                client.sendto(data, None if connected else address_of(server))
            expected = min(start + 50, len(sent))
            await until(lambda expected=expected: len(sink.received) == expected)
        assert [data for data, _ in sink.received] == sent
        assert {address for _, address in sink.received} == {address_of(client)}
    await close(client, server)


async def test_answers_to_a_burst():
    server, _ = await endpoint(Echo)
    client, protocol = await endpoint(remote_addr=address_of(server))
    sent = numbered([64] * 40)
    for round_number in range(1, 6):
        for data in sent:
            client.sendto(data)
        await until(lambda count=round_number: len(protocol.received) == 40 * count)
    assert [data for data, _ in protocol.received] == sent * 5
    await close(client, server)


async def test_bursts_to_several_addresses_in_turn():
    sinks = [await endpoint() for _ in range(3)]
    client, _ = await endpoint()
    for number in range(30):
        for transport, _ in sinks:
            client.sendto(b"%03d" % number, address_of(transport))
    await until(lambda: all(len(sink.received) == 30 for _, sink in sinks))
    for _, sink in sinks:
        assert [data for data, _ in sink.received] == [b"%03d" % number for number in range(30)]
    await close(client, *(transport for transport, _ in sinks))


async def test_a_plain_socket_gets_single_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind((HOST, 0))
        plain.setblocking(False)
        client, _ = await endpoint(remote_addr=plain.getsockname())
        for number in range(40):
            client.sendto(b"%02d" % number)
        await asyncio.sleep(0.02)
        assert [plain.recv(100) for _ in range(40)] == [b"%02d" % number for number in range(40)]
        await close(client)


async def test_a_socket_that_takes_no_rows_sends_one_by_one():
    server, sink = await endpoint()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    sock.bind((HOST, 0))
    client, protocol = await endpoint(sock=sock)
    for number in range(40):
        client.sendto(b"%02d" % number, address_of(server))
    await until(lambda: len(sink.received) == 40)
    assert [data for data, _ in sink.received] == [b"%02d" % number for number in range(40)]
    assert protocol.errors == []
    await close(client, server)


async def test_a_socket_of_the_caller_stays_as_it_is():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    with sock.dup() as shared:
        server, sink = await endpoint(sock=sock)
        client, _ = await endpoint(remote_addr=address_of(server))
        for _ in range(3):
            for _ in range(20):
                client.sendto(b"0123456789")
            await asyncio.sleep(0.01)
        await until(lambda: len(sink.received) == 60)
        assert shared.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0
        await close(client, server)


async def test_a_socket_of_sabio_receives_rows_once_there_are_some(sabio):
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))
    sock = server.get_extra_info("socket")
    client.sendto(b"single")
    await until(lambda: len(sink.received) == 1)
    assert sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0
    for _ in range(20):
        client.sendto(b"0123456789")
    await until(lambda: len(sink.received) == 21)
    assert sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 1
    await close(client, server)


async def test_closing_in_the_middle_of_a_burst():
    server, sink = await endpoint()
    client, _ = await endpoint(remote_addr=address_of(server))

    async def burst(count):
        before = len(sink.received)
        for _ in range(count):
            client.sendto(b"0123456789")
        await until(lambda: len(sink.received) >= before + min(count, 5))

    await burst(4)
    await burst(4)

    def close_soon(data, addr):
        sink.received.append((data, addr))
        if len(sink.received) == 13:
            server.close()

    sink.datagram_received = close_soon
    await burst(40)
    await sink.lost
    assert len(sink.received) == 13
    await close(client)


async def test_nobody_listens_to_a_burst():
    client, protocol = await endpoint(remote_addr=(HOST, unused_udp_port()))
    for _ in range(3):
        for _ in range(20):
            client.sendto(b"0123456789")
        await asyncio.sleep(0.01)
    await until(lambda: protocol.errors)
    assert all(isinstance(error, ConnectionRefusedError) for error in protocol.errors)
    assert not client.is_closing()
    await close(client)


async def test_a_full_buffer_takes_the_rest_later():
    server, sink = await endpoint()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    sock.connect(address_of(server))
    client, protocol = await endpoint(Recorder, sock=sock)
    sent = numbered([1000] * 60)
    for data in sent:
        client.sendto(data)
    await until(lambda: len(sink.received) == 60)
    assert [data for data, _ in sink.received] == sent
    assert protocol.errors == []
    await close(client, server)
