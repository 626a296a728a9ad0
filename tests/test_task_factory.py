"""Task factories and eager start (asyncio docs, "Eager task factory", `loop.set_task_factory`)."""

import asyncio
import contextvars

import pytest

from tests.support.versions import SINCE_3_12, SINCE_3_14
from tests.support.waiting import turns

needs_eager_factory = pytest.mark.skipif(not SINCE_3_12, reason="asyncio.eager_task_factory is new in 3.12")
eager_keyword = pytest.mark.asyncio_lacks("create_task(eager_start=) is new in 3.14", "<3.14", run=False)

variable = contextvars.ContextVar("variable", default="unset")


async def nothing():
    return "nothing"


async def hang():
    await asyncio.get_running_loop().create_future()


def eagerly(coroutine, **kwargs):
    return asyncio.get_running_loop().create_task(coroutine, eager_start=True, **kwargs)


# ---------------------------------------------------------------- factories


def test_factory_is_none_by_default_and_can_be_read_back(loop):
    def factory(loop, coro, **kwargs):
        return asyncio.Task(coro, loop=loop, **kwargs)

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None


def test_factory_must_be_callable(loop):
    with pytest.raises(TypeError, match=r"task factory must be a callable or None"):
        loop.set_task_factory("no factory")


async def test_factory_makes_the_tasks():
    loop = asyncio.get_running_loop()
    made = []

    def factory(loop, coro, **kwargs):
        task = asyncio.Task(coro, loop=loop, **kwargs)
        made.append((loop, task))
        return task

    loop.set_task_factory(factory)
    task = asyncio.create_task(nothing())
    assert made == [(loop, task)]
    assert await task == "nothing"
    assert await asyncio.gather(nothing(), nothing()) == ["nothing"] * 2
    assert len(made) == 3


async def test_factory_that_knows_no_keywords_works_as_long_as_none_are_given():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
    # gather() and ensure_future() give no keywords, which must not turn into some on the way.
    assert await asyncio.ensure_future(nothing()) == "nothing"
    assert await asyncio.gather(nothing()) == ["nothing"]
    assert await loop.create_task(nothing()) == "nothing"


async def test_factory_gets_the_keywords_that_were_given():
    loop = asyncio.get_running_loop()
    seen = []

    def factory(loop, coro, **kwargs):
        seen.append(set(kwargs))
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    context = contextvars.copy_context()
    await loop.create_task(nothing())
    task = loop.create_task(nothing(), name="named", context=context)
    await task
    assert task.get_name() == "named"
    assert seen[0] == set()
    assert seen[1] - {"name"} == {"context"}


async def test_factory_may_give_a_task_of_asyncio():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.tasks._PyTask(coro, loop=loop, **kwargs))

    async def work():
        await asyncio.sleep(0.001)
        return "from a Python task"

    task = loop.create_task(work())
    assert type(task) is asyncio.tasks._PyTask
    assert await task == "from a Python task"


def test_error_out_of_a_factory_reaches_the_caller(loop):
    def factory(loop, coro, **kwargs):
        raise ValueError("no task today")

    loop.set_task_factory(factory)
    coroutine = nothing()
    with pytest.raises(ValueError, match=r"no task today"):
        loop.create_task(coroutine)
    coroutine.close()


# ---------------------------------------------------------------- eager_start=


@eager_keyword
async def test_eager_task_runs_up_to_its_first_wait_inside_create_task():
    order = []

    async def work():
        order.append("started")
        await asyncio.sleep(0)
        order.append("ended")

    task = eagerly(work())
    assert order == ["started"]
    assert not task.done()
    await task
    assert order == ["started", "ended"]


@eager_keyword
async def test_eager_task_that_never_waits_is_done_at_once():
    task = eagerly(nothing())
    assert task.done()
    assert task.result() == "nothing"
    assert await task == "nothing"


@eager_keyword
async def test_eager_task_keeps_its_exception():
    async def fail():
        raise ValueError("at once")

    task = eagerly(fail())
    assert task.done()
    with pytest.raises(ValueError, match=r"at once"):
        await task


@eager_keyword
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_exit_exceptions_come_out_of_an_eager_start(kind, reports):
    async def leave():
        raise kind("eagerly")

    with pytest.raises(kind, match=r"eagerly"):
        eagerly(leave())
    # The task, which nobody ever saw, has it as well.
    [message] = reports.take_logged()
    assert message.startswith("Task exception was never retrieved")


@eager_keyword
async def test_eager_task_is_current_while_it_runs():
    seen = []

    async def work():
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    me = asyncio.current_task()
    task = eagerly(work())
    assert asyncio.current_task() is me
    await task
    assert seen == [task, task]


@eager_keyword
async def test_eager_tasks_may_start_eager_tasks():
    depth = []

    async def work(level):
        depth.append((level, asyncio.current_task().get_name()))
        if level:
            inner = eagerly(work(level - 1), name=f"level {level - 1}")
            assert inner.done()
        assert asyncio.current_task().get_name() == f"level {level}"

    task = eagerly(work(5), name="level 5")
    assert task.done()
    assert depth == [(level, f"level {level}") for level in (5, 4, 3, 2, 1, 0)]
    await task


@eager_keyword
async def test_eager_task_runs_in_its_own_context():
    async def work():
        variable.set("inside")
        await asyncio.sleep(0)
        return variable.get()

    task = eagerly(work())
    assert variable.get() == "unset"
    assert await task == "inside"
    context = contextvars.copy_context()
    await eagerly(work(), context=context)
    assert context[variable] == "inside"


@eager_keyword
async def test_eager_task_is_listed_while_it_runs_and_while_it_waits():
    listed = []

    async def work():
        listed.append(asyncio.current_task() in asyncio.all_tasks())
        await hang()

    task = eagerly(work())
    listed.append(task in asyncio.all_tasks())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    listed.append(task in asyncio.all_tasks())
    assert listed == [True, True, False]


@eager_keyword
async def test_eager_task_can_be_cancelled_while_it_waits():
    task = eagerly(hang(), name="eager")
    assert task.get_name() == "eager"
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError, match=r"message"):
        await task


@eager_keyword
async def test_eager_task_may_wait_for_a_future_that_is_done_later():
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def wait():
        return await future

    task = eagerly(wait())
    assert task._fut_waiter is future
    future.set_result("value")
    assert await task == "value"


@eager_keyword
async def test_eager_start_of_junk_is_an_error_in_the_coroutine():
    class Junk:
        def __await__(self):
            yield "junk"

    async def work():
        await Junk()

    task = eagerly(work())
    with pytest.raises(RuntimeError, match=r"Task got bad yield"):
        await task


@eager_keyword
async def test_eager_start_can_be_declined():
    order = []

    async def work():
        order.append("ran")

    task = asyncio.get_running_loop().create_task(work(), eager_start=False)
    assert order == []
    await task


@eager_keyword
def test_eager_start_on_a_loop_that_does_not_run_is_an_ordinary_start(loop):
    order = []

    async def work():
        order.append("ran")

    task = loop.create_task(work(), eager_start=True)
    assert order == []
    loop.run_until_complete(task)
    assert order == ["ran"]


@eager_keyword
async def test_callbacks_of_a_task_that_ended_eagerly_run_in_a_later_turn():
    order = []
    task = eagerly(nothing())
    task.add_done_callback(order.append)
    assert order == []
    await turns(1)
    assert order == [task]


@pytest.mark.skipif(not SINCE_3_14, reason="asyncio.create_task() passes keywords on since 3.14")
async def test_create_task_of_asyncio_passes_eager_start_on():
    assert asyncio.create_task(nothing(), eager_start=True).done()
    async with asyncio.TaskGroup() as group:
        assert group.create_task(nothing(), eager_start=True).done()


# ---------------------------------------------------------------- eager_task_factory


@needs_eager_factory
async def test_eager_task_factory_starts_tasks_at_once():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    order = []

    async def work():
        order.append("started")
        await asyncio.sleep(0)
        order.append("ended")
        return "result"

    task = asyncio.create_task(work(), name="eager")
    assert order == ["started"]
    assert task.get_name() == "eager"
    assert await task == "result"
    assert asyncio.create_task(nothing()).done()


@needs_eager_factory
async def test_eager_task_factory_makes_gather_and_groups_eager():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    assert await asyncio.gather(nothing(), nothing()) == ["nothing", "nothing"]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(nothing()) for _ in range(3)]
        assert all(task.done() for task in tasks)
    async with asyncio.timeout(10):
        await asyncio.create_task(asyncio.sleep(0.001))


@needs_eager_factory
async def test_create_eager_task_factory_takes_a_class_of_ones_own():
    kind = type(asyncio.current_task())

    class Mine(kind):
        pass

    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.create_eager_task_factory(Mine))
    done, waiting = asyncio.create_task(nothing()), asyncio.create_task(asyncio.sleep(0, "slept"))
    assert type(done) is type(waiting) is Mine
    assert done.done()
    assert not waiting.done()
    assert await waiting == "slept"


@needs_eager_factory
def test_eager_task_factory_runs_the_main_task(loop):
    loop.set_task_factory(asyncio.eager_task_factory)

    async def main():
        assert asyncio.current_task() is not None
        return await asyncio.gather(*(asyncio.sleep(0.001, number) for number in range(5)))

    assert loop.run_until_complete(main()) == [0, 1, 2, 3, 4]


@eager_keyword
@pytest.mark.parametrize("count", [1000])
async def test_many_eager_tasks(count):
    async def work(number):
        if number % 2:
            await asyncio.sleep(0)
        return number

    tasks = [eagerly(work(number)) for number in range(count)]
    assert [task.done() for task in tasks] == [number % 2 == 0 for number in range(count)]
    assert await asyncio.gather(*tasks) == list(range(count))
