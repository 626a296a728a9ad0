"""Debuggers and tracers: a step over an `await` is one step, whatever is awaited.

The interpreter tells tracers of the StopIteration by which an awaited object that is no generator ends. Debuggers pass
over it, and know it by its class.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from types import FrameType, ModuleType
from typing import Any

import pytest

from tests.support.process import run_python

STEPPED = """
import asyncio, io, pdb, sys

async def main():
    queue = asyncio.Queue()
    queue.put_nowait(1)
    lock = asyncio.Lock()
    event = asyncio.Event()
    event.set()
    done = asyncio.get_running_loop().create_future()
    done.set_result("done")
    debugger.set_trace()
    await queue.get()
    async with lock:
        pass
    await event.wait()
    await done
    await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))
    await asyncio.sleep(0.001, "slept")
    await asyncio.create_task(asyncio.sleep(0, "task"))

output = io.StringIO()
backend = {"backend": sys.argv[1]} if sys.argv[1:] else {}
debugger = pdb.Pdb(stdin=io.StringIO("next\\n" * 40), stdout=output, **backend)
debugger.use_rawinput = False
asyncio.run(main())
print("\\n".join(line for line in output.getvalue().splitlines() if "Stop" in line or "main()" in line))
"""

#: From 3.15 on the interpreter keeps that exception to itself.
TOLD_OF_NOTHING = sys.version_info >= (3, 15)

BACKENDS = [[], ["monitoring"]] if sys.version_info >= (3, 14) else [[]]


@pytest.mark.usefixtures("sabio")
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: "".join(backend) or "settrace")
def test_next_of_pdb_stops_once_in_a_line(backend: list[str]) -> None:
    expected = run_python("-c", STEPPED, *backend)
    stepped = run_python("-m", "sabio", "-c", STEPPED, *backend)
    assert expected.stdout.count("main()") > 8, expected.stderr
    assert stepped.stdout == expected.stdout


Wait = Callable[[ModuleType], Awaitable[object]]


async def get(objects: ModuleType) -> object:
    queue = objects.Queue()
    queue.put_nowait((1, 2))
    return await queue.get()


async def wait_for_event(objects: ModuleType) -> object:
    event = objects.Event()
    event.set()
    return await event.wait()


async def sleep(objects: ModuleType) -> object:
    return await objects.sleep(0, StopIteration("a value"))


@pytest.mark.parametrize("wait", [get, wait_for_event, sleep])
async def test_tracers_see_stop_iteration_itself(sabio: ModuleType, wait: Wait) -> None:
    seen: list[type] = []

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "exception":
            seen.append(arg[0])
        return trace

    expected = await wait(asyncio)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = await wait(sabio)
    finally:
        sys.settrace(before)
    assert repr(result) == repr(expected)
    assert set(seen) <= {StopIteration}
    assert seen or wait is not get or TOLD_OF_NOTHING


@pytest.mark.skipif(sys.version_info < (3, 13), reason="who is told of exceptions can be asked since 3.13")
@pytest.mark.parametrize("wait", [get, wait_for_event, sleep])
async def test_monitoring_tools_see_stop_iteration_itself(sabio: ModuleType, wait: Wait) -> None:
    monitoring = sys.monitoring
    seen: list[type] = []
    tool = next(number for number in (3, 4) if monitoring.get_tool(number) is None)
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(
            tool, monitoring.events.RAISE, lambda code, offset, error: seen.append(type(error))
        )
        monitoring.set_events(tool, monitoring.events.RAISE)
        await wait(sabio)
        monitoring.set_events(tool, 0)
        await wait(sabio)
    finally:
        monitoring.free_tool_id(tool)
    assert set(seen) <= {StopIteration}
    assert seen or TOLD_OF_NOTHING
