"""getaddrinfo and getnameinfo: the standard library's own answers, without blocking the loop (asyncio docs, "DNS")."""

import asyncio
import os
import socket
import threading

import pytest

from tests.support.waiting import turns


@pytest.mark.parametrize(
    ("host", "port", "kwargs"),
    [
        ("127.0.0.1", 80, {}),
        ("127.0.0.1", "80", {}),
        ("127.0.0.1", None, {}),
        ("127.0.0.1", 80, {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", 80, {"type": socket.SOCK_DGRAM}),
        ("127.0.0.1", 80, {"family": socket.AF_INET, "type": socket.SOCK_STREAM}),
        ("127.0.0.1", 80, {"proto": socket.IPPROTO_TCP}),
        ("127.0.0.1", 80, {"flags": socket.AI_PASSIVE, "type": socket.SOCK_STREAM}),
        ("::1", 80, {"type": socket.SOCK_STREAM}),
        ("::ffff:127.0.0.1", 80, {"type": socket.SOCK_STREAM}),
        ("127.1", 80, {"type": socket.SOCK_STREAM}),
        ("0x7f.1", 80, {"type": socket.SOCK_STREAM}),
        ("2130706433", 80, {"type": socket.SOCK_STREAM}),
        ("localhost", 80, {"type": socket.SOCK_STREAM}),
        ("localhost", "http", {"type": socket.SOCK_STREAM}),
        (b"127.0.0.1", 80, {"type": socket.SOCK_STREAM}),
        (b"localhost", b"80", {"type": socket.SOCK_STREAM}),
        (None, 80, {"type": socket.SOCK_STREAM}),
        (None, 80, {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}),
        ("127.0.0.1", 0, {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", 65535, {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", 80, {"flags": socket.AI_CANONNAME, "type": socket.SOCK_STREAM}),
    ],
)
async def test_getaddrinfo_answers_like_the_standard_library(host, port, kwargs):
    expected = socket.getaddrinfo(host, port, **kwargs)
    answer = await asyncio.get_running_loop().getaddrinfo(host, port, **kwargs)
    assert answer == expected
    assert [[type(part) for part in entry] for entry in answer] == [
        [type(part) for part in entry] for entry in expected
    ]


@pytest.mark.parametrize(
    ("host", "port", "kwargs"),
    [
        ("no-such-host.invalid", 80, {}),
        ("127.0.0.1", "no-such-service", {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", 80, {"family": socket.AF_INET6}),
        ("::1", 80, {"family": socket.AF_INET}),
        (None, None, {}),
        ("", 80, {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", "http", {"type": socket.SOCK_RAW}),
        ("no numeric host", 80, {"flags": socket.AI_NUMERICHOST}),
        ("127.0.0.1", 80, {"family": 12345}),
    ],
)
async def test_getaddrinfo_fails_like_the_standard_library(host, port, kwargs):
    with pytest.raises(socket.gaierror) as expected:
        socket.getaddrinfo(host, port, **kwargs)
    with pytest.raises(socket.gaierror) as caught:
        await asyncio.get_running_loop().getaddrinfo(host, port, **kwargs)
    assert caught.value.errno == expected.value.errno
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (1, 80),
        (object(), 80),
        ("127.0.0.1", 1.5),
        ("127.0.0.1", object()),
        ("with\0null", 80),
        ("a" * 300, 80),
    ],
)
async def test_getaddrinfo_refuses_what_the_standard_library_refuses(host, port):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        socket.getaddrinfo(host, port)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await asyncio.get_running_loop().getaddrinfo(host, port)
    assert type(caught.value) is type(expected.value)


async def test_international_names_are_encoded():
    loop = asyncio.get_running_loop()
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("bücher.invalid", 80)


async def test_many_names_at_once():
    loop = asyncio.get_running_loop()
    expected = socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    answers = await asyncio.gather(
        *(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM) for _ in range(200))
    )
    assert answers == [expected] * 200


async def test_resolution_does_not_block_the_loop():
    loop = asyncio.get_running_loop()
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(loop.getaddrinfo("localhost", 80) for _ in range(20)))
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    assert ticks > 0


async def test_cancelled_resolution_does_no_harm():
    loop = asyncio.get_running_loop()
    for number in range(50):
        task = asyncio.ensure_future(loop.getaddrinfo("localhost", 80))
        await turns(number % 4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await loop.getaddrinfo("localhost", 80)


def test_loop_may_be_closed_while_a_resolution_is_under_way(loop_factory):
    for _ in range(10):
        loop = loop_factory()
        task = loop.create_task(loop.getaddrinfo("localhost", 80))
        loop.stop()
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def test_resolution_leaves_the_default_executor_alone(sabio):
    loop = asyncio.get_running_loop()
    release = threading.Event()
    # Every thread of the executor is busy, and names are resolved all the same.
    busy = [loop.run_in_executor(None, release.wait, 20) for _ in range(64)]
    assert await asyncio.wait_for(loop.getaddrinfo("localhost", 80), 10)
    assert await asyncio.wait_for(loop.getnameinfo(("127.0.0.1", 80)), 10)
    release.set()
    await asyncio.gather(*busy)


async def test_numeric_hosts_need_no_thread(sabio):
    loop = asyncio.get_running_loop()
    before = len(os.listdir("/proc/self/task"))
    for _ in range(100):
        await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        await loop.getaddrinfo("::1", 443, type=socket.SOCK_STREAM)
    assert len(os.listdir("/proc/self/task")) <= before


async def test_resolver_keeps_its_threads_few(sabio):
    loop = asyncio.get_running_loop()
    before = len(os.listdir("/proc/self/task"))
    await asyncio.gather(*(loop.getaddrinfo("localhost", 80) for _ in range(500)))
    assert len(os.listdir("/proc/self/task")) - before <= 32


@pytest.mark.parametrize(
    ("address", "flags"),
    [
        (("127.0.0.1", 80), 0),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST),
        (("127.0.0.1", 53), socket.NI_DGRAM),
        (("::1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("::1", 80, 0, 0), 0),
    ],
)
async def test_getnameinfo_answers_like_the_standard_library(address, flags):
    expected = socket.getnameinfo(address, flags)
    assert await asyncio.get_running_loop().getnameinfo(address, flags) == expected


async def test_getnameinfo_takes_no_flags_by_default():
    loop = asyncio.get_running_loop()
    assert await loop.getnameinfo(("127.0.0.1", 80)) == socket.getnameinfo(("127.0.0.1", 80), 0)


@pytest.mark.parametrize(
    "address", ["text", 1, (), ("127.0.0.1",), ("not numeric", 80), ("127.0.0.1", "text")]
)
async def test_getnameinfo_refuses_what_the_standard_library_refuses(address):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        socket.getnameinfo(address, 0)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await asyncio.get_running_loop().getnameinfo(address, 0)
    assert type(caught.value) is type(expected.value)


async def test_getaddrinfo_replaced_on_the_instance_is_used_by_connections():
    loop = asyncio.get_running_loop()
    asked = []
    original = loop.getaddrinfo

    async def getaddrinfo(host, port, **kwargs):
        asked.append((host, port))
        return await original("127.0.0.1", port, **kwargs)

    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop.getaddrinfo = getaddrinfo
    transport, _ = await loop.create_connection(asyncio.Protocol, "anything.invalid", port)
    assert asked == [("anything.invalid", port)]
    transport.close()
    server.close()
    await server.wait_closed()
