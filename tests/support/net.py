"""Peers made of plain sockets, so that only one side of each conversation is under test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

HOST = "127.0.0.1"
POLL_SECONDS = 0.001
CHUNK_BYTES = 1 << 20


def listener(host: str = HOST, backlog: int = 16) -> socket.socket:
    """A blocking listening TCP socket on a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind((host, 0))
    sock.listen(backlog)
    return sock


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two non-blocking TCP sockets, connected with each other over loopback."""
    with listener() as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    for sock in (left, right):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return left, right


@contextlib.contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two non-blocking connected sockets, closed at the end if the body did not."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


@contextlib.contextmanager
def silent_listener() -> Iterator[tuple[str, int]]:
    """An address that never answers: its backlog is full, so the kernel drops what comes."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((HOST, 0))
        full.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield full.getsockname()


def unused_port(host: str = HOST) -> int:
    """A TCP port on which nobody listens at this moment."""
    with listener(host) as sock:
        return int(sock.getsockname()[1])


def unused_udp_port() -> int:
    """A UDP port of `HOST` to which nobody is bound at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that the peer gets a reset instead of an end of file."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def has_ipv6() -> bool:
    """Whether a TCP socket can be bound to the IPv6 loopback address here."""
    try:
        listener("::1").close()
    except OSError:
        return False
    return True


async def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """`size` bytes from a non-blocking socket, polled for; fewer only if the peer ended."""
    received = bytearray()
    while len(received) < size:
        try:
            chunk = sock.recv(min(size - len(received), CHUNK_BYTES))
        except BlockingIOError:
            await asyncio.sleep(POLL_SECONDS)
            continue
        if not chunk:
            break
        received += chunk
    return bytes(received)


async def receive_all(sock: socket.socket) -> bytes:
    """Everything up to the end of file from a non-blocking socket, polled for."""
    return await receive_exactly(sock, 1 << 62)


def fill(sock: socket.socket) -> int:
    """Write to a non-blocking socket until the kernel takes no more; how many bytes it took."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += sock.send(b"x" * 65536)
    return total
