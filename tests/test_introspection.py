"""Tasks can be looked at from inside (asyncio's registry, the call graph) and from outside (`python -m asyncio ps`)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest

PROGRAM = """
    import asyncio
    import sys
    import sabio

    async def innermost() -> None:
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()

    async def middle() -> None:
        await asyncio.create_task(innermost(), name="the innermost")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(middle(), name="the middle")
            group.create_task(sabio.sleep(60), name="a native sleep")

    sabio.run(main())
"""


async def test_the_registry_knows_the_tasks() -> None:
    seen = []

    async def child() -> None:
        seen.append(asyncio.current_task())

    task = asyncio.create_task(child(), name="child")
    assert {asyncio.current_task(), task} <= asyncio.all_tasks()
    await task
    assert seen == [task]
    assert task not in asyncio.all_tasks()


async def test_no_task_is_current_in_a_callback_that_follows_a_step() -> None:
    loop = asyncio.get_running_loop()
    seen = []
    for _ in range(3):
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        await asyncio.sleep(0)
    assert seen == [None] * 3


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph is of 3.14")
async def test_the_call_graph_names_who_awaits() -> None:
    graphs = []

    async def inner() -> None:
        await asyncio.sleep(0)
        graphs.append(asyncio.format_call_graph())

    async def outer() -> None:
        await asyncio.create_task(inner(), name="inner task")

    await asyncio.create_task(outer(), name="outer task")
    assert "inner task" in graphs[0]
    assert "outer task" in graphs[0]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="python -m asyncio ps is of 3.14")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_a_live_process_shows_its_tasks_with_their_awaiters(sabio: ModuleType, command: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        shown = subprocess.run(
            [sys.executable, "-m", "asyncio", command, str(program.pid)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        program.kill()
        program.communicate()
    if shown.returncode != 0 and "permission" in (shown.stdout + shown.stderr).lower():
        pytest.skip("this system does not let a process look into another one")
    assert shown.returncode == 0, shown.stderr
    for name in ("the innermost", "the middle", "a native sleep", "Task-1"):
        assert name in shown.stdout, shown.stdout
    if command == "ps":
        line = next(line for line in shown.stdout.splitlines() if "the innermost" in line)
        assert "the middle" in line
