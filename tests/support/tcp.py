"""TCP transports under test, each with a plain socket at the other end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.net import tcp_pair
from tests.support.protocols import Recorder


@pytest.fixture
def peers() -> Iterator[Any]:
    """Makes transports with the plain socket at the other end; closes those sockets at the end."""
    opened = []

    async def connect(factory: Callable[[], Any] = Recorder) -> tuple[Any, Any, socket.socket]:
        left, right = tcp_pair()
        opened.append(right)
        transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(factory, left)
        return transport, protocol, right

    yield connect
    for sock in opened:
        sock.close()
