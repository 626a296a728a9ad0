"""A class in the place of `socket.socket`, and a function in that of its `connect()`: connections are made by it.

Plugins of test suites forbid the network so (pytest-socket), and proxies are put in between (PySocks).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import ClassVar
from unittest import mock

import pytest

from tests.support.net import HOST


class ForbiddenError(RuntimeError):
    pass


class Forbidding(socket.socket):
    def __new__(cls, *args, **kwargs):
        raise ForbiddenError


class Telling(socket.socket):
    """Says where it was connected to."""

    told: ClassVar[list[object]] = []

    def connect(self, address):
        self.told.append(address)
        return super().connect(address)


async def connections(loop, tmp_path):
    """Each way to a connection, by its name, and what is to be closed in the end."""
    path = os.fspath(tmp_path / "socket")
    server = await loop.create_server(asyncio.Protocol, HOST, 0)
    unix_server = await loop.create_unix_server(asyncio.Protocol, path)
    address = server.sockets[0].getsockname()
    ways = {
        "create_connection": lambda: loop.create_connection(asyncio.Protocol, *address),
        "open_connection": lambda: asyncio.open_connection(*address),
        "racing": lambda: loop.create_connection(asyncio.Protocol, *address, happy_eyeballs_delay=1),
        "create_unix_connection": lambda: loop.create_unix_connection(asyncio.Protocol, path),
    }
    return ways, {name: path if "unix" in name else address for name in ways}, (server, unix_server)


def close_all(servers):
    for server in servers:
        server.close()


async def test_a_class_that_forbids_connections_is_heeded(tmp_path):
    loop = asyncio.get_running_loop()
    ways, _, servers = await connections(loop, tmp_path)
    del ways["racing"]  # asyncio's knows errors of the system only.
    for connect in ways.values():
        with mock.patch.object(socket, "socket", Forbidding), pytest.raises(ForbiddenError):
            await connect()
    close_all(servers)


async def test_a_connect_that_forbids_connections_is_heeded(tmp_path):
    loop = asyncio.get_running_loop()
    ways, _, servers = await connections(loop, tmp_path)
    for connect in ways.values():
        refuse = mock.Mock(side_effect=PermissionError("refused"))
        with (
            mock.patch.object(socket.socket, "connect", refuse),
            pytest.raises(PermissionError, match="refused"),
        ):
            await connect()
        assert refuse.call_count == 1
    close_all(servers)


async def test_a_class_that_connects_in_its_own_way_is_used(tmp_path):
    loop = asyncio.get_running_loop()
    ways, addresses, servers = await connections(loop, tmp_path)
    for name, connect in ways.items():
        Telling.told.clear()
        with mock.patch.object(socket, "socket", Telling):
            _, made = await connect()
        assert Telling.told == [addresses[name]]
        if isinstance(made, asyncio.StreamWriter):
            made.close()
            await made.wait_closed()
        else:
            _.close()
    await asyncio.sleep(0.01)
    close_all(servers)


async def test_connections_are_made_without_it_afterwards(tmp_path):
    loop = asyncio.get_running_loop()
    ways, _, servers = await connections(loop, tmp_path)
    with mock.patch.object(socket, "socket", Telling):
        pass
    with mock.patch.object(socket.socket, "connect", mock.Mock(side_effect=ForbiddenError)):
        pass
    Telling.told.clear()
    transport, _ = await ways["create_connection"]()
    transport.close()
    assert Telling.told == []
    await asyncio.sleep(0.01)
    close_all(servers)
