"""Task factories that start tasks at once, on every version (asyncio docs, "Eager Task Factory")."""

# What is tested is how a block ends.
# ruff: noqa: PT012

import asyncio
import weakref

import pytest

from tests.support.versions import SINCE_3_12
from tests.support.waiting import turns


def factories(sabio):
    """Each eager factory there is, for a loop of sabio's."""
    found = [sabio.eager_task_factory, sabio.create_eager_task_factory(sabio.Task)]
    if SINCE_3_12:
        found += [asyncio.eager_task_factory, sabio.create_eager_task_factory(asyncio.Task)]
    return found


def each_factory(sabio, main):
    for factory in factories(sabio):
        with sabio.Runner() as runner:
            runner.get_loop().set_task_factory(factory)
            runner.run(main())


def test_tasks_begin_to_run_at_once(sabio):
    async def main():
        began = []

        async def work(name):
            began.append(asyncio.current_task())
            await asyncio.sleep(0)
            return name

        task = sabio.create_task(work("one"), name="mine")
        assert began == [task]
        assert task.get_name() == "mine"
        assert not task.done()
        assert await task == "one"
        other = asyncio.create_task(work("two"))
        assert len(began) == 2
        assert await other == "two"

    each_factory(sabio, main)


@pytest.mark.skipif(not SINCE_3_12, reason="asyncio's tasks start eagerly from 3.12 on")
@pytest.mark.asyncio_lacks("get_coro() of a task that ended at once crashes", where="==3.12.*", run=False)
@pytest.mark.parametrize("world", ["asyncio", "sabio"])
def test_a_task_that_ended_at_once_has_no_coroutine_any_more(sabio, world):
    objects = {"asyncio": asyncio, "sabio": sabio}[world]
    loops = {"asyncio": asyncio.SelectorEventLoop, "sabio": sabio.new_event_loop}

    async def work(pauses):
        for _ in range(pauses):
            await asyncio.sleep(0)

    async def main():
        asyncio.get_running_loop().set_task_factory(objects.eager_task_factory)
        coro = work(0)
        gone = weakref.ref(coro)
        task = asyncio.create_task(coro)
        del coro
        assert (task.done(), task.get_coro(), gone()) == (True, None, None)
        assert "coro=" not in repr(task)
        later = asyncio.create_task(work(1))
        await later
        assert later.get_coro() is not None

    with asyncio.Runner(loop_factory=loops[world]) as runner:
        runner.run(main())


def test_a_task_that_never_waits_is_done_at_once(sabio):
    async def main():
        async def work():
            return 7

        outer = asyncio.current_task()
        task = sabio.create_task(work())
        assert task.done()
        assert task.result() == 7
        assert asyncio.current_task() is outer
        await turns(1)

    each_factory(sabio, main)


def test_eager_start_can_be_refused_for_one_task(sabio):
    async def main():
        began = []

        async def work():
            began.append(1)

        loop = asyncio.get_running_loop()
        await loop.get_task_factory()(loop, work(), eager_start=False)
        task = sabio.eager_task_factory(loop, work(), eager_start=False)
        assert began == [1]
        await task
        assert began == [1, 1]

    for factory in (sabio.eager_task_factory, sabio.create_eager_task_factory(sabio.Task)):
        with sabio.Runner() as runner:
            runner.get_loop().set_task_factory(factory)
            runner.run(main())


def test_the_group_hears_of_tasks_that_failed_at_once(sabio):
    async def main():
        async def fail():
            raise ValueError("at once")

        with pytest.raises(ExceptionGroup) as caught:
            async with sabio.TaskGroup() as group:
                group.create_task(fail())
                reached = True
        assert reached
        assert [type(error) for error in caught.value.exceptions] == [ValueError]

    each_factory(sabio, main)


def test_an_eager_task_that_cancels_its_group_is_cancelled_as_well(sabio):
    async def main():
        async def stop():
            group.cancel()
            await asyncio.sleep(10)

        async with sabio.TaskGroup() as group:
            task = group.create_task(stop())
        assert task.cancelled()

    each_factory(sabio, main)


def test_create_task_asks_the_factory_and_passes_the_keywords_on(sabio):
    seen = []

    def factory(loop, coro, **kwargs):
        seen.append(kwargs)
        return sabio.Task(coro, loop=loop)

    async def main():
        async def work():
            return 1

        seen.clear()
        assert await sabio.create_task(work()) == 1
        assert await sabio.create_task(coro=work(), other="keyword") == 1
        assert seen == [{}, {"other": "keyword"}]

    with sabio.Runner() as runner:
        runner.get_loop().set_task_factory(factory)
        runner.run(main())


def test_create_task_needs_a_running_loop_and_a_coroutine(sabio):
    async def work():
        pass

    coro = work()
    for aio in (asyncio, sabio):
        with pytest.raises(RuntimeError, match="no running event loop"):
            aio.create_task(coro)
    coro.close()

    async def main():
        for aio in (asyncio, sabio):
            with pytest.raises(TypeError, match="a coroutine was expected, got 42"):
                aio.create_task(42)
            with pytest.raises(TypeError):
                aio.create_task()

    sabio.run(main())


def test_the_registry_of_tasks_is_asyncio_s(sabio):
    async def main():
        assert sabio.current_task() is asyncio.current_task()
        assert sabio.all_tasks() == asyncio.all_tasks() == {sabio.current_task()}

    sabio.run(main())


def test_the_factory_is_a_python_function_as_asyncios_is(sabio):
    # Libraries tell eager factories by this.
    assert sabio.eager_task_factory.__code__ is sabio.create_eager_task_factory(asyncio.Task).__code__
