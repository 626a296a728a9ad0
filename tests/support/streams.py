"""Streams of asyncio and of sabio: a test that takes `streams` runs once with each, on each loop under test."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from tests.support.waiting import until

HOST = "127.0.0.1"
LIBRARIES = ("asyncio", "sabio")


@pytest.fixture(params=LIBRARIES)
def streams(request: pytest.FixtureRequest) -> Any:
    """The module whose `StreamReader`, `start_server` and so on are under test."""
    chosen = str(request.config.getoption("--loops")).split(",")
    if request.param not in chosen:
        pytest.skip(f"{request.param} is not under test")
    return importlib.import_module(request.param)


class PauseRecorder(asyncio.Transport):
    """A transport of no connection that notes when its reading is paused and resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """What an awaitable gives or raises, for comparison."""
    try:
        return await awaitable
    except asyncio.IncompleteReadError as error:
        return "incomplete", error.partial, error.expected
    except asyncio.LimitOverrunError as error:
        return "overrun", str(error), error.consumed
    except ValueError as error:
        return "value", str(error)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection and wait for its end."""
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(streams: Any, handler: Any, **options: Any) -> AsyncIterator[tuple[str, int]]:
    """A server with this handler; its address. At the end all handlers have returned."""
    server = await streams.start_server(handler, HOST, 0, **options)
    async with server:
        yield server.sockets[0].getsockname()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


@contextlib.asynccontextmanager
async def connected(streams: Any, handler: Any, **options: Any) -> AsyncIterator[Any]:
    """A connection to a server with this handler: (reader, writer), closed at the end."""
    async with serving(streams, handler) as address:
        reader, writer = await streams.open_connection(*address, **options)
        try:
            yield reader, writer
        finally:
            await close(writer)
