"""Files to send, and what becomes of those that are being sent."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Iterator
from typing import IO, Any

import pytest

from tests.support.waiting import turns

DATA = bytes(range(256)) * 4096
#: More than any socket's buffer holds, in bytes.
LARGE = 64 << 20


@contextlib.contextmanager
def data_file() -> Iterator[IO[bytes]]:
    """A file of `DATA`, at its beginning."""
    with tempfile.TemporaryFile() as made:
        made.write(DATA)
        made.seek(0)
        yield made


@contextlib.contextmanager
def large_file() -> Iterator[IO[bytes]]:
    """A file of `LARGE` zeroes that takes no room on the disk."""
    with tempfile.TemporaryFile() as made:
        made.truncate(LARGE)
        yield made


async def stalled(sending: Awaitable[int]) -> asyncio.Task[int]:
    """A task that sends, and waits because nobody reads by now."""
    task = asyncio.ensure_future(sending)
    await turns(10)
    assert not task.done()
    return task


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and see it end so."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
