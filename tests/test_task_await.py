"""What a task may wait for: futures of every make; and what it says to anything else (PEP 3156, PEP 492)."""

import asyncio
import types

import pytest

from tests.support.waiting import turns


@types.coroutine
def give_to_the_loop(value):
    """Yield `value` straight to whoever steps the task."""
    return (yield value)


async def hang():
    await asyncio.get_running_loop().create_future()


# ---------------------------------------------------------------- junk


@pytest.mark.parametrize("junk", [1, "text", (), object(), print, 0, False])
async def test_yielding_junk_is_an_error_in_the_coroutine(junk):
    with pytest.raises(RuntimeError, match=r"^Task got bad yield: "):
        await give_to_the_loop(junk)


async def test_yielding_none_gives_up_the_turn():
    order = []
    asyncio.get_running_loop().call_soon(order.append, "turn")
    assert await give_to_the_loop(None) is None
    assert order == ["turn"]


async def test_coroutine_may_go_on_after_yielding_junk():
    async def work():
        try:
            await give_to_the_loop("junk")
        except RuntimeError:
            await asyncio.sleep(0)
            return "went on"

    assert await asyncio.create_task(work()) == "went on"


async def test_error_about_junk_comes_in_a_later_turn():
    order = []

    async def work():
        try:
            await give_to_the_loop("junk")
        except RuntimeError:
            order.append("error")

    task = asyncio.create_task(work())
    await turns(1)
    assert order == []
    await task
    assert order == ["error"]


async def test_yielding_a_future_instead_of_awaiting_it_is_an_error():
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(RuntimeError, match=r"^yield was used instead of yield from in task .* with "):
        await give_to_the_loop(future)
    future.cancel()


async def test_yielding_a_generator_is_an_error():
    def generator():
        yield

    with pytest.raises(
        RuntimeError, match=r"^yield was used instead of yield from for generator in task .* with "
    ):
        await give_to_the_loop(generator())


async def test_task_cannot_await_itself():
    async def work():
        await asyncio.current_task()

    task = asyncio.create_task(work())
    with pytest.raises(RuntimeError, match=r"^Task cannot await on itself: <Task pending"):
        await task


async def test_future_of_another_loop_is_refused(loop_factory):
    other = loop_factory()
    future = other.create_future()

    async def wait():
        await future

    with pytest.raises(
        RuntimeError, match=r"^Task <Task .*> got Future <Future .*> attached to a different loop$"
    ):
        await asyncio.create_task(wait())
    assert not future.done()
    other.close()


def test_task_of_another_loop_is_refused(loop, loop_factory):
    other = loop_factory()
    foreign = other.create_task(asyncio.sleep(0))

    async def wait():
        await foreign

    with pytest.raises(RuntimeError, match=r"attached to a different loop$"):
        loop.run_until_complete(wait())
    other.run_until_complete(foreign)
    other.close()


async def test_awaiting_what_is_not_awaitable_is_a_type_error():
    for wrong in (None, 1, "text", [], hang):
        with pytest.raises(TypeError, match=r"await"):
            await wrong


# ---------------------------------------------------------------- futures of every make


class DuckFuture:
    """The least that a future must have: what a task asks for and no more."""

    def __init__(self, loop):
        self._loop = loop
        self._asyncio_future_blocking = False
        self.callbacks = []
        self.value = None
        self.cancelled_with = None

    def get_loop(self):
        return self._loop

    def add_done_callback(self, callback, *, context=None):
        self.callbacks.append((callback, context))

    def cancel(self, msg=None):
        self.cancelled_with = msg
        return False

    def result(self):
        return self.value

    def finish(self, value):
        self.value = value
        for callback, context in self.callbacks:
            self._loop.call_soon(callback, self, context=context)

    def __await__(self):
        if self.value is None:
            self._asyncio_future_blocking = True
            yield self
        return self.value


async def test_duck_typed_future_can_be_awaited():
    loop = asyncio.get_running_loop()
    duck = DuckFuture(loop)
    loop.call_later(0.001, duck.finish, "quack")
    assert await duck == "quack"
    assert len(duck.callbacks) == 1


async def test_duck_typed_future_is_asked_to_cancel():
    loop = asyncio.get_running_loop()
    duck = DuckFuture(loop)

    async def wait():
        await duck

    task = asyncio.create_task(wait())
    await turns(1)
    assert task._fut_waiter is duck
    task.cancel("stop it")
    assert duck.cancelled_with == "stop it"
    assert not task.done()
    duck.finish("over")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_duck_typed_future_of_another_loop_is_refused(loop_factory):
    other = loop_factory()
    with pytest.raises(RuntimeError, match=r"attached to a different loop"):
        await DuckFuture(other)
    other.close()


async def test_error_out_of_the_cancel_of_a_foreign_future_comes_out_of_cancel():
    loop = asyncio.get_running_loop()
    duck = DuckFuture(loop)

    def fail(msg=None):
        raise ValueError("broken future")

    duck.cancel = fail

    async def wait():
        return await duck

    task = asyncio.create_task(wait())
    await turns(1)
    with pytest.raises(ValueError, match=r"broken future"):
        task.cancel()
    duck.finish("over")
    assert await task == "over"


def test_error_out_of_the_registration_with_a_foreign_future_is_not_lost(loop, reports):
    duck = DuckFuture(loop)

    def fail(callback, *, context=None):
        raise ValueError("broken future")

    duck.add_done_callback = fail

    async def wait():
        await duck

    task = loop.create_task(wait())
    for _ in range(3):
        loop.stop()
        loop.run_forever()
    # asyncio reports it and leaves the task for dead; giving it to the task is as good.
    errors = [task.exception()] if task.done() else reports.take_exceptions()
    assert [str(error) for error in errors] == ["broken future"]
    task._log_destroy_pending = False


@pytest.mark.parametrize("name", ["C", "Python"])
async def test_futures_of_asyncio_can_be_awaited(name):
    kind = asyncio.Future if name == "C" else asyncio.futures._PyFuture
    loop = asyncio.get_running_loop()
    future, failed = kind(loop=loop), kind(loop=loop)
    loop.call_soon(future.set_result, "value")
    loop.call_soon(failed.set_exception, ValueError("error"))
    assert await future == "value"
    with pytest.raises(ValueError, match=r"error"):
        await failed


@pytest.mark.parametrize("name", ["C", "Python"])
async def test_cancel_while_waiting_for_a_future_of_asyncio(name):
    kind = asyncio.Future if name == "C" else asyncio.futures._PyFuture
    future = kind(loop=asyncio.get_running_loop())

    async def wait():
        await future

    task = asyncio.create_task(wait())
    await turns(1)
    task.cancel()
    assert future.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await task


def task_class(name):
    return asyncio.tasks._CTask if name == "C" else asyncio.tasks._PyTask


@pytest.mark.parametrize("name", ["C", "Python"])
async def test_tasks_of_asyncio_run_on_the_loop(name):
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def work():
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return await future

    task = task_class(name)(work(), loop=loop)
    loop.call_later(0.005, future.set_result, "value")
    assert await task == "value"


@pytest.mark.parametrize("name", ["C", "Python"])
async def test_tasks_of_asyncio_can_be_cancelled(name):
    task = task_class(name)(hang(), loop=asyncio.get_running_loop())
    await turns(1)
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError, match=r"message"):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("name", ["C", "Python"])
async def test_tasks_of_asyncio_and_of_the_loop_wait_for_each_other(name):
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def wait(inner):
        return 1 + await inner

    chain = future
    for _ in range(10):
        chain = loop.create_task(wait(chain))
        chain = task_class(name)(wait(chain), loop=loop)
    await turns(20)
    future.set_result(0)
    assert await chain == 20


@pytest.mark.parametrize("name", ["C", "Python"])
async def test_tasks_of_every_make_share_the_order_of_one_future(name):
    loop = asyncio.get_running_loop()
    future, order = loop.create_future(), []

    async def wait(label):
        await future
        order.append(label)

    tasks = []
    for number in range(6):
        make = loop.create_task if number % 2 else lambda coro: task_class(name)(coro, loop=loop)
        tasks.append(make(wait(number)))
        await turns(1)
    future.set_result(None)
    await asyncio.gather(*tasks)
    assert order == list(range(6))


async def test_current_task_is_right_under_c_tasks():
    async def work():
        first = asyncio.current_task()
        await asyncio.sleep(0)
        return first, asyncio.current_task()

    task = asyncio.tasks._CTask(work(), loop=asyncio.get_running_loop())
    assert await task == (task, task)


async def test_deep_chain_of_coroutines():
    async def dive(depth):
        if depth:
            return 1 + await dive(depth - 1)
        await asyncio.sleep(0)
        return 0

    assert await asyncio.create_task(dive(200)) == 200


async def test_long_chain_of_tasks_finishes_without_recursion():
    async def wait(inner):
        return await inner

    task = asyncio.create_task(asyncio.sleep(0.001, "bottom"))
    for _ in range(5000):
        task = asyncio.create_task(wait(task))
    assert await task == "bottom"


async def test_exception_goes_through_a_chain_of_tasks():
    async def fail():
        raise ValueError("bottom")

    async def wait(inner):
        await inner

    task = asyncio.create_task(fail())
    for _ in range(20):
        task = asyncio.create_task(wait(task))
    with pytest.raises(ValueError, match=r"bottom"):
        await task


async def test_future_that_is_done_between_yield_and_registration():
    # `__await__` looks, the task looks again: the wake-up in between must not get lost.
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    @types.coroutine
    def wait():
        iterator = future.__await__()
        blocked = next(iterator)
        future.set_result("between")
        yield blocked
        return future.result()

    async def work():
        return await wait()

    assert await asyncio.create_task(work()) == "between"
