"""Coroutines for tests to wait for: they return, raise or wait for ever."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from tests.support.waiting import turns


async def give(value: Any, after: int = 0) -> Any:
    """Return `value` after so many turns of the loop."""
    await turns(after)
    return value


async def fail(error: BaseException, after: int = 0) -> NoReturn:
    """Raise `error` after so many turns of the loop."""
    await turns(after)
    raise error


async def hang(ended: list[str] | None = None, name: str = "hang", cleaning: int = 0) -> None:
    """Wait for ever; once cancelled, clean up for so many turns and note `name` in `ended`."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await turns(cleaning)
        if ended is not None:
            ended.append(name)


async def fail_when_cancelled(error: BaseException) -> NoReturn:
    """Wait for ever; once cancelled, raise `error` instead."""
    try:
        await hang()
    finally:
        raise error
