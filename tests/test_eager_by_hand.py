"""Tasks of asyncio's own classes that are started eagerly inside of a step, by calling the class (aiohttp does)."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.support.combinations import without

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")

everywhere = without("sabio-python-tasks")


class Derived(asyncio.Task):
    """A class of a user's."""


@pytest.fixture(params=[asyncio.Task, Derived])
def start(request):
    """Starts a task of this class eagerly."""
    return lambda coro: request.param(coro, loop=asyncio.get_running_loop(), eager_start=True)


@everywhere
async def test_it_waits_for_itself_and_the_outer_task_for_itself(aio, start):
    outer, event, lock, queue = asyncio.current_task(), aio.Event(), aio.Lock(), aio.Queue()
    steps = []

    async def work(name):
        me = asyncio.current_task()
        assert me is not outer
        await event.wait()
        async with lock:
            await aio.sleep(0.001)
            steps.append(name)
        await queue.put(name)
        assert asyncio.current_task() is me
        return name

    await lock.acquire()
    tasks = [start(work(name)) for name in "abc"]
    assert asyncio.current_task() is outer
    await aio.sleep(0)
    event.set()
    await aio.sleep(0)
    assert steps == []
    lock.release()
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert await aio.gather(*tasks) == ["a", "b", "c"]
    assert steps == ["a", "b", "c"]


@everywhere
async def test_coroutines_of_the_loop_wait_in_it(aio, start):
    async def resolve():
        infos = await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        return bool(infos)

    first, second = start(resolve()), start(resolve())
    assert await aio.wait_for(first, 10)
    assert await second


@everywhere
async def test_a_timeout_in_it_cancels_it_and_not_the_outer_task(aio, start):
    async def work():
        try:
            async with aio.timeout(0.001):
                await aio.sleep(60)
        except TimeoutError:
            return "timeout"

    task = start(work())
    assert await task == "timeout"
    assert asyncio.current_task().cancelling() == 0


@everywhere
async def test_a_group_in_it_belongs_to_it(aio, start):
    async def fail():
        raise ZeroDivisionError

    async def work():
        try:
            async with aio.TaskGroup() as group:
                group.create_task(fail())
                await aio.sleep(60)
        except* ZeroDivisionError:
            pass
        return asyncio.current_task()

    task = start(work())
    assert await task is task


@everywhere
async def test_one_inside_another(aio, start):
    async def inner():
        await aio.sleep(0.001)
        return "inner"

    async def work():
        task = start(inner())
        own = asyncio.ensure_future(aio.sleep(0.001, "own"))
        await aio.sleep(0.001)
        return await task, await own

    assert await start(work()) == ("inner", "own")
    assert await aio.sleep(0.001, "outer") == "outer"


@everywhere
async def test_who_only_asks_whether_the_loop_runs_waits_as_ever(aio):
    assert asyncio.get_running_loop().is_running()
    event = aio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    async with aio.timeout(10):
        await aio.sleep(0.001)
