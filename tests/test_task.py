"""Task: making one, results, names, contexts, who is current (asyncio docs, "Task object")."""

import asyncio
import collections.abc
import contextvars
import types

import pytest

from tests.support.versions import SINCE_3_12
from tests.support.waiting import turns

variable = contextvars.ContextVar("variable", default="unset")


async def nothing():
    pass


async def hang():
    await asyncio.get_running_loop().create_future()


async def stop(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run_once(loop):
    loop.stop()
    loop.run_forever()


# ---------------------------------------------------------------- making one


async def test_create_task_gives_an_asyncio_task():
    task = asyncio.create_task(nothing())
    assert isinstance(task, asyncio.Task)
    assert isinstance(task, asyncio.Future)
    assert asyncio.isfuture(task)
    assert task.get_loop() is asyncio.get_running_loop()
    await task


def test_class_of_sabio_is_what_its_loop_gives(sabio, loop):
    task = loop.create_task(nothing())
    assert type(task) is sabio.Task
    assert issubclass(sabio.Task, asyncio.Task)
    loop.run_until_complete(task)


async def test_task_starts_in_the_next_turn_and_in_order():
    order = []

    async def work(number):
        order.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(100)]
    assert order == []
    await turns(1)
    assert order == list(range(100))
    assert all(task.done() for task in tasks)


async def test_tasks_and_callbacks_take_turns_in_the_order_of_scheduling():
    loop = asyncio.get_running_loop()
    order = []

    async def work(name):
        order.append(name)
        await asyncio.sleep(0)
        order.append(name + " again")

    first = asyncio.create_task(work("first"))
    loop.call_soon(order.append, "callback")
    second = asyncio.create_task(work("second"))
    await asyncio.gather(first, second)
    assert order == ["first", "callback", "second", "first again", "second again"]


async def test_task_gives_the_result_of_its_coroutine():
    async def work():
        await asyncio.sleep(0)
        return "result"

    task = asyncio.create_task(work())
    assert not task.done()
    assert await task == "result"
    assert task.done()
    assert task.result() == "result"
    assert task.exception() is None


async def test_task_gives_the_exception_of_its_coroutine():
    error = ValueError("of the task")

    async def work():
        raise error

    task = asyncio.create_task(work())
    with pytest.raises(ValueError, match=r"of the task") as caught:
        await task
    assert caught.value is error
    assert task.exception() is error


async def test_generator_based_coroutines_make_tasks_before_3_12():
    @types.coroutine
    def work():
        yield
        return "from a generator"

    if SINCE_3_12:
        with pytest.raises(TypeError, match=r"a coroutine was expected, got"):
            asyncio.get_running_loop().create_task(work())
    else:
        assert await asyncio.create_task(work()) == "from a generator"
    assert await work() == "from a generator"


async def test_task_takes_anything_registered_as_a_coroutine():
    class Countdown(collections.abc.Coroutine):
        steps = 3

        def send(self, value):
            self.steps -= 1
            if not self.steps:
                raise StopIteration("liftoff")

        def throw(self, *args):
            raise args[0]

        def close(self):
            pass

        def __await__(self):
            return self

        def __next__(self):
            return self.send(None)

        def __iter__(self):
            return self

    assert await asyncio.create_task(Countdown()) == "liftoff"


@pytest.mark.parametrize("wrong", [None, 1, "text", nothing, [], object()])
async def test_task_refuses_what_is_no_coroutine(wrong):
    with pytest.raises(TypeError, match=r"a coroutine was expected, got"):
        asyncio.get_running_loop().create_task(wrong)


async def test_task_refuses_a_plain_future():
    loop = asyncio.get_running_loop()
    with pytest.raises(TypeError, match=r"a coroutine was expected, got"):
        loop.create_task(loop.create_future())  # noqa: RUF006


async def test_coroutine_that_is_used_up_is_an_error():
    coroutine = nothing()
    await coroutine
    task = asyncio.create_task(coroutine)
    with pytest.raises(RuntimeError, match=r"cannot reuse already awaited coroutine"):
        await task


async def test_coroutine_in_two_tasks_is_an_error():
    async def work():
        await asyncio.sleep(0.001)

    coroutine = work()
    first, second = asyncio.create_task(coroutine), asyncio.create_task(coroutine)
    first_result, second_result = await asyncio.gather(first, second, return_exceptions=True)
    assert first_result is None
    assert isinstance(second_result, RuntimeError)


async def test_task_cannot_be_finished_from_outside():
    task = asyncio.create_task(hang())
    with pytest.raises(RuntimeError, match=r"Task does not support set_result operation"):
        task.set_result(1)
    with pytest.raises(RuntimeError, match=r"Task does not support set_exception operation"):
        task.set_exception(ValueError())
    await stop(task)


async def test_task_made_by_hand_runs():
    loop = asyncio.get_running_loop()
    kind = type(asyncio.current_task())
    task = kind(nothing(), loop=loop, name="by hand")
    assert task.get_name() == "by hand"
    await task
    other = kind(nothing())
    assert other.get_loop() is loop
    await other


# ---------------------------------------------------------------- names


async def test_tasks_have_names_of_their_own():
    first, second = asyncio.create_task(nothing()), asyncio.create_task(nothing())
    assert first.get_name().startswith("Task-")
    assert first.get_name() != second.get_name()
    await asyncio.gather(first, second)


async def test_default_names_count_up_together_with_those_of_asyncio():
    first = asyncio.create_task(nothing())
    second = asyncio.tasks.Task(nothing(), loop=asyncio.get_running_loop())
    third = asyncio.create_task(nothing())
    numbers = [int(task.get_name().removeprefix("Task-")) for task in (first, second, third)]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    await asyncio.gather(first, second, third)


async def test_name_can_be_given_and_changed():
    task = asyncio.create_task(nothing(), name="given")
    assert task.get_name() == "given"
    task.set_name(["any", 1])
    assert task.get_name() == "['any', 1]"
    await task


async def test_name_is_made_a_string():
    task = asyncio.create_task(nothing(), name=42)
    assert task.get_name() == "42"
    await task


# ---------------------------------------------------------------- contexts


async def test_task_runs_in_a_copy_of_the_context():
    variable.set("outside")

    async def work():
        assert variable.get() == "outside"
        variable.set("inside")
        await asyncio.sleep(0)
        assert variable.get() == "inside"

    task = asyncio.create_task(work())
    variable.set("changed after create_task")
    await task
    assert variable.get() == "changed after create_task"


async def test_task_runs_in_the_given_context():
    context = contextvars.copy_context()

    async def work():
        variable.set("in the given context")
        await asyncio.sleep(0)
        assert variable.get() == "in the given context"

    await asyncio.create_task(work(), context=context)
    assert context[variable] == "in the given context"
    assert variable.get() == "unset"


@pytest.mark.asyncio_lacks("Task.get_context() is new in 3.12", "<3.12")
async def test_get_context_is_the_context_of_the_task():
    context = contextvars.copy_context()
    task = asyncio.create_task(nothing(), context=context)
    assert task.get_context() is context
    assert isinstance(asyncio.current_task().get_context(), contextvars.Context)
    await task


async def test_two_tasks_may_share_a_context():
    context = contextvars.copy_context()

    async def count():
        for _ in range(10):
            variable.set(0 if variable.get() == "unset" else variable.get() + 1)
            await asyncio.sleep(0)

    await asyncio.gather(
        asyncio.create_task(count(), context=context),
        asyncio.create_task(count(), context=context),
    )
    assert context[variable] == 19


# ---------------------------------------------------------------- the current task


async def test_current_task_is_the_one_that_runs():
    async def work():
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before, asyncio.current_task()

    task = asyncio.create_task(work())
    assert await task == (task, task)
    assert asyncio.current_task() is not task


def test_no_task_is_current_in_a_callback(loop):
    seen = []
    loop.call_soon(lambda: seen.append(asyncio.current_task()))
    run_once(loop)
    assert seen == [None]
    assert asyncio.current_task(loop) is None


async def test_all_tasks_lists_those_that_are_not_done():
    tasks = [asyncio.create_task(hang()) for _ in range(10)]
    done = asyncio.create_task(nothing())
    await turns(2)
    assert done.done()
    assert asyncio.all_tasks() == {*tasks, asyncio.current_task()}
    for task in tasks:
        await stop(task)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_task_for_a_loop_that_does_not_run_waits_for_it(loop):
    order = []

    async def work():
        order.append("ran")

    task = loop.create_task(work())
    assert not task.done()
    assert order == []
    loop.run_until_complete(task)
    assert order == ["ran"]


async def test_create_task_of_asyncio_goes_through_the_method_of_the_loop():
    loop = asyncio.get_running_loop()
    seen = []
    original = loop.create_task

    def create_task(coro, **kwargs):
        seen.append(coro)
        return original(coro, **kwargs)

    loop.create_task = create_task
    await asyncio.create_task(nothing(), name="x")
    async with asyncio.TaskGroup() as group:
        group.create_task(nothing())
    await asyncio.ensure_future(nothing())
    assert len(seen) == 3


async def test_unknown_keywords_of_create_task_are_refused():
    coroutine = nothing()
    with pytest.raises(TypeError):
        asyncio.get_running_loop().create_task(coroutine, colour="red")
    coroutine.close()
