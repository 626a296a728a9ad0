"""Tasks and the garbage collector: what is kept alive, what is reported, finalizers that call back."""

import asyncio
import contextlib
import gc
import warnings
import weakref

import pytest

from tests.support.waiting import turns


def run_once(loop):
    loop.stop()
    loop.run_forever()


def collect_contexts(loop):
    """The contexts that the exception handler of the loop gets, without what would keep a task alive."""
    contexts = []
    loop.set_exception_handler(
        lambda _, context: contexts.append({**context, "task": None, "future": None, "keys": set(context)})
    )
    return contexts


async def test_task_can_be_weakly_referenced():
    task = asyncio.create_task(asyncio.sleep(0))
    assert weakref.ref(task)() is task
    await task


async def test_finished_task_is_released_without_a_collection():
    gc.disable()
    try:
        task = asyncio.create_task(asyncio.sleep(0))
        alive = weakref.ref(task)
        await task
        del task
        await turns(1)
        assert alive() is None
    finally:
        gc.enable()


async def test_coroutine_is_released_when_the_task_is_done():
    class Local:
        pass

    refs = []

    async def work():
        local = Local()
        refs.append(weakref.ref(local))
        await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await task
    await turns(1)
    assert refs[0]() is None
    assert task.done()


async def test_scheduled_task_is_kept_alive_by_the_loop():
    ended = []

    async def work():
        for _ in range(5):
            await asyncio.sleep(0)
            gc.collect()
        ended.append(True)

    asyncio.create_task(work())  # noqa: RUF006
    await turns(8)
    assert ended == [True]


async def test_sleeping_task_is_kept_alive_by_its_timer():
    ended = []

    async def work():
        await asyncio.sleep(0.005)
        ended.append(True)

    asyncio.create_task(work())  # noqa: RUF006
    await turns(2)
    gc.collect()
    await asyncio.sleep(0.02)
    assert ended == [True]


async def test_waiting_task_is_kept_alive_by_its_future():
    loop = asyncio.get_running_loop()
    future, ended = loop.create_future(), []

    async def work():
        ended.append(await future)

    alive = weakref.ref(asyncio.create_task(work()))
    await turns(2)
    gc.collect()
    assert alive() is not None
    future.set_result("woken")
    await turns(2)
    assert ended == ["woken"]
    gc.collect()
    assert alive() is None


async def test_task_that_waits_for_what_nobody_holds_is_destroyed_and_reported():
    loop = asyncio.get_running_loop()
    contexts = collect_contexts(loop)

    async def work():
        await loop.create_future()

    alive = weakref.ref(asyncio.create_task(work()))
    await turns(2)
    gc.collect()
    assert alive() is None
    assert [context["message"] for context in contexts] == ["Task was destroyed but it is pending!"]
    assert "task" in contexts[0]["keys"]


async def test_destroyed_task_closes_its_coroutine():
    loop = asyncio.get_running_loop()
    collect_contexts(loop)
    order = []

    async def work():
        try:
            await loop.create_future()
        finally:
            order.append("finally")

    asyncio.create_task(work())  # noqa: RUF006
    await turns(2)
    gc.collect()
    assert order == ["finally"]


def test_task_pending_at_the_end_of_the_loop_is_reported(loop_factory, reports):
    loop = loop_factory()
    task = loop.create_task(asyncio.sleep(60), name="forgotten")
    run_once(loop)
    loop.close()
    del task
    [message] = reports.take_logged()
    assert message.startswith("Task was destroyed but it is pending!\ntask: <Task pending name='forgotten'")


def test_task_that_never_started_is_reported_and_its_coroutine_warns(loop_factory, reports):
    loop = loop_factory()
    task = loop.create_task(asyncio.sleep(60))
    loop.close()
    del task
    [message] = reports.take_logged()
    assert message.startswith("Task was destroyed but it is pending!")
    [warning] = reports.take_unraisable()
    assert "coroutine 'sleep' was never awaited" in warning


async def test_exception_that_nobody_retrieves_is_reported_once_the_task_is_gone():
    loop = asyncio.get_running_loop()
    contexts = collect_contexts(loop)

    async def fail():
        raise ValueError("unseen")

    task = asyncio.create_task(fail())
    await turns(2)
    assert task.done()
    assert contexts == []
    del task
    gc.collect()
    [context] = contexts
    assert context["message"] == "Task exception was never retrieved"
    assert str(context["exception"]) == "unseen"
    assert "future" in context["keys"]
    del context
    contexts.clear()


async def test_cancelled_task_is_not_reported():
    contexts = collect_contexts(asyncio.get_running_loop())
    task = asyncio.create_task(asyncio.sleep(60))
    await turns(1)
    task.cancel()
    await turns(2)
    assert task.cancelled()
    del task
    gc.collect()
    assert contexts == []


@pytest.mark.parametrize("kind", [GeneratorExit, BaseException])
async def test_exceptions_that_are_no_exception_stay_in_the_task(kind):
    async def work():
        raise kind("kept")

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    assert type(task.exception()) is kind
    with pytest.raises(kind):
        task.result()


async def test_stop_iteration_out_of_a_coroutine_is_a_runtime_error():
    async def work():
        raise StopIteration("inner")

    with pytest.raises(RuntimeError, match=r"coroutine raised StopIteration"):
        await asyncio.create_task(work())


async def test_cycle_between_a_task_and_its_coroutine_is_collected():
    refs = []

    async def work():
        me = asyncio.current_task()
        refs.append(weakref.ref(me))
        await asyncio.sleep(0)
        return me

    await asyncio.create_task(work())
    await turns(1)
    gc.collect()
    assert refs[0]() is None


async def test_cycle_between_a_task_and_its_exception_is_collected():
    async def work():
        me = asyncio.current_task()
        raise ValueError(me)

    task = asyncio.create_task(work())
    with contextlib.suppress(ValueError):
        await task
    alive = weakref.ref(task)
    del task
    await turns(1)
    gc.collect()
    assert alive() is None


async def test_cycle_of_tasks_that_wait_for_each_other_is_collected():
    loop = asyncio.get_running_loop()
    contexts = collect_contexts(loop)
    tasks = []

    async def wait(index):
        await turns(1)
        await tasks[index]

    tasks.extend(asyncio.create_task(wait(1 - index)) for index in range(2))
    alive = [weakref.ref(task) for task in tasks]
    await turns(4)
    tasks.clear()
    gc.collect()
    assert [ref() for ref in alive] == [None, None]
    assert len(contexts) == 2


async def test_collection_while_tasks_run_does_no_harm():
    async def work(number):
        junk = [junk_list] = [[]]
        junk_list.append(junk)
        for _ in range(5):
            await asyncio.sleep(0)
            if number % 10 == 0:
                gc.collect(0)
        return number

    assert await asyncio.gather(*(work(number) for number in range(200))) == list(range(200))


async def test_referrers_and_referents_of_tasks_can_be_listed():
    # The collector's view of an object must hold in every state of it.
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def wait():
        await future

    task = asyncio.create_task(wait())
    for _ in range(3):
        assert task.get_coro() in gc.get_referents(task)
        gc.get_referrers(task)
        gc.get_referents(future)
        await turns(1)
    future.set_result(None)
    await task
    gc.get_referents(task, future)


# ---------------------------------------------------------------- finalizers that call back


class Restless:
    """Calls back into the loop when it dies."""

    def __init__(self, loop, order):
        self.loop = loop
        self.order = order

    def __del__(self):
        self.loop.call_soon(self.order.append, "callback")
        self.loop.create_task(self.work())
        self.loop.call_later(0, self.order.append, "timer")

    async def work(self):
        self.order.append("task")


async def settled(order):
    await turns(2)
    await asyncio.sleep(0.002)
    return sorted(order)


async def test_finalizer_of_a_local_may_call_back():
    loop, order = asyncio.get_running_loop(), []

    async def work():
        local = Restless(loop, order)
        await asyncio.sleep(0)
        del local

    await asyncio.create_task(work())
    assert await settled(order) == ["callback", "task", "timer"]


async def test_finalizer_of_a_result_may_call_back():
    loop, order = asyncio.get_running_loop(), []

    async def work():
        return Restless(loop, order)

    task = asyncio.create_task(work())
    await turns(2)
    del task
    assert await settled(order) == ["callback", "task", "timer"]


async def test_finalizer_of_an_exception_may_call_back():
    loop, order = asyncio.get_running_loop(), []

    class Error(Exception):
        pass

    async def work():
        error = Error()
        error.payload = Restless(loop, order)
        raise error

    task = asyncio.create_task(work())
    with contextlib.suppress(Error):
        await task
    del task
    await turns(1)
    gc.collect()
    assert await settled(order) == ["callback", "task", "timer"]


async def test_finalizer_of_a_callback_may_call_back():
    loop, order = asyncio.get_running_loop(), []
    future = loop.create_future()
    restless = Restless(loop, order)
    future.add_done_callback(lambda _, restless=restless: None)
    del restless
    future.set_result(None)
    assert await settled(order) == ["callback", "task", "timer"]


async def test_finalizer_of_a_cancelled_timer_may_call_back():
    loop, order = asyncio.get_running_loop(), []
    loop.call_later(60, lambda restless: None, Restless(loop, order)).cancel()
    assert await settled(order) == ["callback", "task", "timer"]


async def test_finalizer_may_cancel_the_task_that_is_running():
    class Canceller:
        def __del__(self):
            asyncio.current_task().cancel("from a finalizer")

    async def work():
        local = Canceller()
        del local
        await asyncio.sleep(0)

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError, match=r"from a finalizer"):
        await task


async def test_finalizer_may_finish_the_future_that_dies_with_it():
    loop = asyncio.get_running_loop()
    other = loop.create_future()

    class Finisher:
        def __del__(self):
            other.set_result("finished")

    future = loop.create_future()
    future.set_result(Finisher())
    del future
    assert await other == "finished"


def test_tasks_that_sleep_are_collected_with_their_loop(sabio):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop = sabio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        task = loop.create_task(sabio.sleep(1000))
        run_once(loop)
        refs = [weakref.ref(task), weakref.ref(loop)]
        del task, loop
        gc.collect()
        assert [ref() for ref in refs] == [None, None]
