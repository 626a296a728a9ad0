"""Tasks and futures that the loop makes without the initialisers of asyncio's classes: nobody may notice.

Each body runs on asyncio and on sabio, with tasks that `loop.create_task()` made and with tasks that the constructor
of their class made.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

Make = Callable[..., "asyncio.Task[int]"]


async def one() -> int:
    return 1


def by_loop(coro: Coroutine[Any, Any, int], **kwargs: Any) -> asyncio.Task[int]:
    return asyncio.get_running_loop().create_task(coro, **kwargs)


def by_class(coro: Coroutine[Any, Any, int], **kwargs: Any) -> asyncio.Task[int]:
    loop = asyncio.get_running_loop()
    current = asyncio.current_task()
    assert current is not None
    return type(current)(coro, loop=loop, **kwargs)


both = pytest.mark.parametrize("make", [by_loop, by_class])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the number of tasks is no part of the module's state")
def test_tasks_are_known_on_this_interpreter(sabio: ModuleType) -> None:
    assert sabio._sabio._knows_tasks


def test_futures_are_known_on_this_interpreter(sabio: ModuleType) -> None:
    assert sabio._sabio._knows_futures


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before 3.14 the loop's module knows which task runs")
def test_the_running_task_is_known_on_this_interpreter(sabio: ModuleType) -> None:
    assert sabio._sabio._knows_running_task


@both
async def test_a_new_task_knows_what_it_was_made_of(make: Make) -> None:
    context = contextvars.copy_context()
    coro = one()
    task = make(coro, name="a name", context=context)
    assert task.get_coro() is coro
    assert task.get_loop() is asyncio.get_running_loop()
    assert task.get_name() == "a name"
    if sys.version_info >= (3, 12):
        assert task.get_context() is context
    assert not task.done()
    assert not task.cancelled()
    assert task.cancelling() == 0
    assert task._source_traceback is None
    assert task._log_destroy_pending is True  # type: ignore[attr-defined]
    assert task._exception is None  # type: ignore[attr-defined]
    assert task._result is None  # type: ignore[attr-defined]
    assert task._asyncio_future_blocking is False
    assert task in asyncio.all_tasks()
    assert await task == 1
    assert task not in asyncio.all_tasks()


@both
async def test_a_new_task_shows_the_collector_each_of_its_objects(make: Make) -> None:
    context = contextvars.copy_context()
    coro = one()
    name = "".join(["a", " name"])
    task = make(coro, name=name, context=context)
    referents = gc.get_referents(task)
    for owned in (coro, context, asyncio.get_running_loop()):
        assert any(referent is owned for referent in referents)
    await task


async def test_names_count_on_whoever_makes_the_tasks() -> None:
    tasks = [make(one()) for make in (by_loop, by_class, by_loop, by_loop, by_class)]
    numbers = [int(task.get_name().removeprefix("Task-")) for task in tasks]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    await asyncio.gather(*tasks)


@both
async def test_a_name_that_is_no_string_becomes_one(make: Make) -> None:
    class Name(str):
        pass

    tasks = [make(one(), name=17), make(one(), name=Name("own"))]  # type: ignore[arg-type]
    assert [task.get_name() for task in tasks] == ["17", "own"]
    await asyncio.gather(*tasks)


@both
async def test_what_is_no_coroutine_is_refused(make: Make) -> None:
    with pytest.raises(TypeError, match="a coroutine was expected, got 17"):
        make(17)  # type: ignore[arg-type]


@both
async def test_tasks_let_go_of_what_they_were_made_of(make: Make) -> None:
    context = contextvars.copy_context()
    name = "".join(["a", " name"])
    before = sys.getrefcount(context), sys.getrefcount(name), sys.getrefcount(asyncio.get_running_loop())
    for _ in range(20):
        assert await make(one(), name=name, context=context) == 1
    await asyncio.sleep(0)
    gc.collect()
    after = sys.getrefcount(context), sys.getrefcount(name), sys.getrefcount(asyncio.get_running_loop())
    assert after == before


async def test_futures_let_go_of_their_loop() -> None:
    loop = asyncio.get_running_loop()
    before = sys.getrefcount(loop)
    futures = [loop.create_future() for _ in range(20)]
    assert sys.getrefcount(loop) >= before + 20
    for future in futures:
        assert future.get_loop() is loop
        assert not future.done()
        assert not future._callbacks
    del futures, future
    assert sys.getrefcount(loop) == before


async def test_the_source_of_a_task_is_known_in_debug_mode_only() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    task, future = loop.create_task(one()), loop.create_future()
    loop.set_debug(False)
    plain = loop.create_task(one())
    assert task._source_traceback
    assert future._source_traceback
    assert plain._source_traceback is None
    await asyncio.gather(task, plain)


def test_importing_uses_up_no_name() -> None:
    program = """
import asyncio, {module}
async def main():
    print(asyncio.current_task().get_name())
{module}.run(main())
"""
    names = [
        subprocess.run(
            [sys.executable, "-c", program.format(module=module)], check=True, capture_output=True, text=True
        ).stdout
        for module in ("asyncio", "sabio")
    ]
    assert names == ["Task-1\n", "Task-1\n"]
