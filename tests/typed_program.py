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
    handle: sabio.Handle = loop.call_soon(print, 1)
    timer: sabio.TimerHandle = sabio.get_running_loop().call_later(1.5, handle.cancel)
    assert_type(loop.call_later(1.5, print, "text", context=None).when() - timer.when(), float)

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


async def under_its_name(name: str) -> str:
    """What a program has that says `import sabio as asyncio`: what comes from elsewhere is of asyncio's own types."""
    task: sabio.Task[str] = sabio.create_task(under_its_name(name))
    sure: sabio.Task[str] = sabio.ensure_future(under_its_name(name))
    future: sabio.Future[str] = sabio.get_running_loop().create_future()
    elsewhere: asyncio.Queue[str] = sabio.Queue()
    done, _pending = await sabio.wait([task, sure], return_when=sabio.FIRST_COMPLETED)
    assert_type(done, set[sabio.Task[str]])
    future.set_result(await sabio.shield(task))
    assert_type(await sabio.gather(task, future), tuple[str, str])
    async with sabio.timeout(1), sabio.TaskGroup() as group:
        assert_type(group.create_task(elsewhere.get()), sabio.Task[str])
    return await future


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
