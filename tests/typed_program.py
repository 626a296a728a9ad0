"""A program that is checked by `mypy --strict` and never run: what the type stubs promise to users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_type

import sabio


class OwnLoop(sabio.Loop):
    """The loop may be subclassed."""


class OwnTask(sabio.Task[int]):
    """And so may tasks and futures."""


def when_done(future: asyncio.Future[int]) -> None:
    """A callback written for asyncio's futures."""


async def main(loop: sabio.Loop) -> int:
    assert_type(loop.call_soon(print, 1), sabio.Handle)
    assert_type(loop.call_later(1.5, print, "text", context=None).when(), float)

    future: asyncio.Future[int] = loop.create_future()
    future.add_done_callback(when_done)
    own: sabio.Future[int] = sabio.Future(loop=loop)
    own.add_done_callback(when_done)

    task = loop.create_task(sabio.sleep(0, 3), eager_start=True)
    assert_type(task, asyncio.Task[int])
    assert_type(await sabio.sleep(1), None)
    assert_type(await asyncio.wait_for(sabio.sleep(1, "text"), 2), str)
    assert_type(await asyncio.gather(sabio.sleep(1), sabio.sleep(1, "text")), tuple[None, str])
    assert_type(await loop.run_in_executor(None, len, "text"), int)

    transport, protocol = await loop.create_connection(asyncio.Protocol, "localhost", 80)
    assert_type(transport, asyncio.Transport)
    assert_type(protocol, asyncio.Protocol)
    server = await loop.create_server(asyncio.Protocol, None, 0, keep_alive=True)
    server.close()
    await server.wait_closed()
    return await task


def start() -> None:
    loop = sabio.new_event_loop()
    assert_type(loop, sabio.Loop)
    factory: Callable[[], asyncio.AbstractEventLoop] = sabio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as asyncio_runner:
        assert_type(asyncio_runner.run(main(loop)), int)
    with sabio.Runner(debug=True) as runner:
        assert_type(runner.run(main(loop)), int)
    assert_type(sabio.run(main(loop), loop_factory=OwnLoop), int)
    sabio.install()
    sabio.uninstall()
