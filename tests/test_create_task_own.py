"""A program's own `create_task()` in the place of the loop's, as in tests that look at what is started: all that makes
tasks calls it, also where ours has a shorter way.
"""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest

from tests.support.worlds import World


async def job() -> str:
    return "done"


def ways(world: World):
    """Each way to a task, by its name."""

    async def in_a_group(**kwargs):
        async with world.TaskGroup() as group:
            task = group.create_task(job(), **kwargs)
        return task.result()

    async def gathered():
        return (await world.gather(job()))[0]

    return {
        "create_task": lambda: world.create_task(job()),
        "create_task, named": lambda: world.create_task(job(), name="job"),
        "TaskGroup": in_a_group,
        "TaskGroup, named": lambda: in_a_group(name="job"),
        "ensure_future": lambda: world.ensure_future(job()),
        "gather": gathered,
        "wait_for": lambda: world.wait_for(world.ensure_future(job()), 5),
    }


WAYS = sorted(ways(World("asyncio")))


@pytest.mark.parametrize("way", WAYS)
def test_one_that_is_set_on_the_loop_is_called(world, way):
    async def main():
        loop = asyncio.get_running_loop()
        # The way has been gone before, and is gone again afterwards.
        assert await ways(world)[way]() == "done"
        with mock.patch.object(loop, "create_task", wraps=loop.create_task) as replaced:
            assert await ways(world)[way]() == "done"
        assert replaced.call_count == 1
        assert await ways(world)[way]() == "done"
        assert replaced.call_count == 1

    world.run(main)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_was_set_before_the_run_is_called(world, way):
    loop = world.new_event_loop()
    made = []
    original = loop.create_task

    def create_task(coro, **kwargs):
        made.append(coro)
        return original(coro, **kwargs)

    loop.create_task = create_task  # type: ignore[method-assign]

    async def main():
        made.clear()
        assert await ways(world)[way]() == "done"
        assert len(made) == 1

    try:
        loop.run_until_complete(main())
    finally:
        del loop.create_task
        loop.close()


@pytest.mark.parametrize("way", WAYS)
def test_one_that_was_put_into_the_class_before_the_run_is_called(world, way):
    loop = world.new_event_loop()
    original = type(loop).create_task
    made = []

    def create_task(self, coro, **kwargs):
        made.append(coro)
        return original(self, coro, **kwargs)

    async def main():
        made.clear()
        assert await ways(world)[way]() == "done"
        assert len(made) == 1

    try:
        with mock.patch.object(type(loop), "create_task", create_task):
            loop.run_until_complete(main())
    finally:
        loop.close()


def test_what_it_raises_comes_out(world):
    async def main():
        loop = asyncio.get_running_loop()
        coroutine = job()
        with (
            mock.patch.object(loop, "create_task", side_effect=ZeroDivisionError),
            pytest.raises(ZeroDivisionError),
        ):
            world.create_task(coroutine)
        coroutine.close()

    world.run(main)
