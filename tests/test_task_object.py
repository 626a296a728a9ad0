"""Task as an object: attributes that libraries read, repr, stacks, subclasses (asyncio docs, "Task object")."""

import asyncio
import gc
import inspect
import io

import pytest

from tests.support.waiting import turns


async def nothing():
    pass


async def hang():
    await asyncio.get_running_loop().create_future()


async def stop(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# ---------------------------------------------------------------- what libraries read


async def test_get_coro_is_the_coroutine():
    coroutine = hang()
    task = asyncio.create_task(coroutine)
    assert task.get_coro() is coroutine
    await stop(task)


async def test_task_tells_what_it_waits_for():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        await future

    task = asyncio.create_task(wait())
    assert task._fut_waiter is None
    await turns(1)
    assert task._fut_waiter is future
    future.set_result(None)
    await task
    assert task._fut_waiter is None


async def test_task_tells_which_task_it_waits_for():
    inner = asyncio.create_task(hang())

    async def wait():
        await inner

    outer = asyncio.create_task(wait())
    await turns(2)
    assert outer._fut_waiter is inner
    inner.cancel()
    await asyncio.gather(outer, return_exceptions=True)


async def test_must_cancel_is_set_between_cancel_and_delivery():
    task = asyncio.create_task(hang())
    assert task._must_cancel is False
    task.cancel()
    assert task._must_cancel is True
    await asyncio.gather(task, return_exceptions=True)
    assert task._must_cancel is False


async def test_attributes_that_libraries_read():
    task = asyncio.create_task(hang())
    assert task._coro is task.get_coro()
    assert task._loop is asyncio.get_running_loop()
    assert task._state == "PENDING"
    assert task._source_traceback is None
    assert task._log_destroy_pending is True
    assert task._asyncio_future_blocking is False
    await stop(task)
    assert task._state == "CANCELLED"


async def test_log_destroy_pending_can_be_turned_off():
    task = asyncio.create_task(hang())
    await turns(1)
    task._log_destroy_pending = False
    del task
    gc.collect()


async def test_task_can_be_parametrised_as_a_type():
    assert type(asyncio.current_task())[int]


# ---------------------------------------------------------------- repr and stacks


async def test_repr_of_a_pending_task_names_the_coroutine_and_the_line():
    task = asyncio.create_task(hang(), name="one")
    await turns(1)
    line = hang.__code__.co_firstlineno + 1
    text = repr(task)
    assert text.startswith("<Task pending name='one' coro=<hang() running at ")
    assert f"test_task_object.py:{line}>" in text
    assert "wait_for=<Future pending" in text
    await stop(task)


async def test_repr_of_finished_tasks():
    async def give(value):
        if isinstance(value, Exception):
            raise value
        return value

    first, second = asyncio.create_task(give(1)), asyncio.create_task(give(ValueError("x")))
    third = asyncio.create_task(hang())
    third.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert repr(first).startswith(f"<Task finished name='{first.get_name()}' coro=<")
    assert repr(first).endswith(" result=1>")
    assert repr(second).endswith(" exception=ValueError('x')>")
    assert repr(third).startswith("<Task cancelled name=")
    assert "done, defined at" in repr(first)


async def test_repr_of_a_task_that_is_being_cancelled_says_so():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        await future

    task = asyncio.create_task(wait())
    await turns(1)
    task.cancel()
    assert "<Task cancelling name=" in repr(task)
    await asyncio.gather(task, return_exceptions=True)


async def test_repr_shows_who_waits_for_the_task():
    inner = asyncio.create_task(hang())

    async def wait():
        await inner

    outer = asyncio.create_task(wait())
    await turns(2)
    assert "cb=[" in repr(inner)
    assert "wait_for=<Task pending" in repr(outer)
    inner.cancel()
    await asyncio.gather(outer, return_exceptions=True)


async def inner_frame():
    await asyncio.get_running_loop().create_future()


async def outer_frame():
    await inner_frame()


async def test_get_stack_of_a_waiting_task():
    task = asyncio.create_task(outer_frame())
    await turns(1)
    [frame] = task.get_stack()
    assert frame.f_code is outer_frame.__code__
    assert task.get_stack(limit=1) == [frame]
    del frame
    await stop(task)


async def test_get_stack_of_a_failed_task_follows_the_traceback():
    def raising():
        raise ValueError

    async def work():
        raising()

    task = asyncio.create_task(work())
    await asyncio.gather(task, return_exceptions=True)
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["work", "raising"]
    assert [frame.f_code.co_name for frame in task.get_stack(limit=1)] == ["work"]


async def test_get_stack_of_a_finished_task_is_empty():
    task = asyncio.create_task(nothing())
    await task
    assert task.get_stack() == []


async def test_print_stack_writes_like_a_traceback():
    task = asyncio.create_task(outer_frame())
    await turns(1)
    out = io.StringIO()
    task.print_stack(file=out)
    assert out.getvalue().startswith("Stack for <Task pending")
    assert "in outer_frame" in out.getvalue()
    assert "await inner_frame()" in out.getvalue()
    await stop(task)


async def test_coroutine_of_a_waiting_task_can_be_inspected():
    task = asyncio.create_task(outer_frame())
    await turns(1)
    coroutine = task.get_coro()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_SUSPENDED
    assert coroutine.cr_await.__name__ == "inner_frame"
    await stop(task)


@pytest.mark.debug_mode
async def test_debug_mode_keeps_where_the_task_was_made():
    task = asyncio.create_task(hang())
    names = [frame.name for frame in task._source_traceback]
    assert "test_debug_mode_keeps_where_the_task_was_made" in names[-2:]
    assert "created at" in repr(task)
    await stop(task)


# ---------------------------------------------------------------- subclasses


async def test_subclass_in_python():
    kind = type(asyncio.current_task())

    class Counting(kind):
        def __init__(self, coro, *, loop, **kwargs):
            super().__init__(coro, loop=loop, **kwargs)
            self.cancels = 0

        def cancel(self, msg=None):
            self.cancels += 1
            return super().cancel(msg)

    loop = asyncio.get_running_loop()
    task = Counting(hang(), loop=loop, name="counted")
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancels == 1
    assert task.get_name() == "counted"
    assert repr(task).startswith("<Counting cancelled name='counted'")
    assert await Counting(asyncio.sleep(0, "result"), loop=loop) == "result"


async def test_uninitialised_task_is_an_error_and_no_crash():
    kind = type(asyncio.current_task())
    task = kind.__new__(kind)
    assert task.done() is False
    with pytest.raises(asyncio.InvalidStateError):
        task.result()
    with pytest.raises(RuntimeError, match=r"initialized"):
        task.add_done_callback(print)
