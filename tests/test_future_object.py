"""Future as an object: repr, attributes that libraries read, subclasses, collection, exceptions nobody saw."""

import asyncio
import contextvars
import gc
import weakref

import pytest

from tests.support.versions import SINCE_3_15


def run_once(loop):
    loop.stop()
    loop.run_forever()


def test_repr_of_each_state(loop):
    future = loop.create_future()
    assert repr(future) == "<Future pending>"
    future.set_result(42)
    assert repr(future) == "<Future finished result=42>"
    failed = loop.create_future()
    failed.set_exception(ValueError("x"))
    assert repr(failed) == "<Future finished exception=ValueError('x')>"
    failed.exception()
    cancelled = loop.create_future()
    cancelled.cancel()
    assert repr(cancelled) == "<Future cancelled>"


def test_repr_shows_the_callbacks(loop):
    future = loop.create_future()

    def first(_):
        pass

    future.add_done_callback(first)
    assert "cb=[" in repr(future)
    assert "first()" in repr(future)
    future.add_done_callback(first)
    assert repr(future).count("first()") == 2
    for _ in range(5):
        future.add_done_callback(first)
    assert "<5 more>" in repr(future)


def test_repr_of_a_future_that_holds_itself_ends(loop):
    future = loop.create_future()
    future.set_result([future])
    assert "..." in repr(future)


def test_repr_in_debug_mode_tells_where_it_was_made(loop):
    loop.set_debug(True)
    future = loop.create_future()
    assert "created at" in repr(future)
    names = [frame.name for frame in future._source_traceback]
    assert "test_repr_in_debug_mode_tells_where_it_was_made" in names[-2:]


def test_attributes_that_libraries_read(loop):
    future = loop.create_future()
    assert future._source_traceback is None
    assert future._asyncio_future_blocking is False
    assert future._exception is None
    assert future._result is None
    assert future._log_traceback is False
    assert not future._callbacks
    future.add_done_callback(print)
    [(callback, context)] = future._callbacks
    assert callback is print
    assert isinstance(context, contextvars.Context)


def test_waiting_task_shows_among_the_callbacks_or_not_at_all(loop):
    # A library that looks at the callbacks must not trip over what a waiting task leaves there.
    future = loop.create_future()

    async def wait():
        await future

    task = loop.create_task(wait())
    run_once(loop)
    for entry in future._callbacks or ():
        assert callable(entry[0])
    repr(future)
    future.set_result(None)
    loop.run_until_complete(task)


def test_log_traceback_can_only_be_turned_off(loop):
    future = loop.create_future()
    future.set_exception(ValueError())
    assert future._log_traceback is True
    with pytest.raises(ValueError, match=r"_log_traceback can only be set to False"):
        future._log_traceback = True
    future._log_traceback = False
    del future
    gc.collect()


def test_future_class_can_be_parametrised_and_made_by_hand(loop):
    kind = type(loop.create_future())
    assert kind[int]
    future = kind(loop=loop)
    future.set_result(3)
    assert loop.run_until_complete(future) == 3


async def test_future_made_by_hand_takes_the_running_loop(loop_name):
    kind = type(asyncio.get_running_loop().create_future())
    assert kind().get_loop() is asyncio.get_running_loop()


def test_future_takes_nothing_but_the_loop(loop):
    kind = type(loop.create_future())
    with pytest.raises(TypeError):
        kind(loop)
    with pytest.raises(TypeError):
        kind(loop=loop, name="no")


def test_init_can_be_called_again_before_3_15(loop):
    # Odd, but subclasses do; what it held before is let go.
    future = loop.create_future()
    future.set_result(1)
    if SINCE_3_15:
        with pytest.raises(RuntimeError, match=r"already initialized"):
            future.__init__(loop=loop)
        return
    future.__init__(loop=loop)
    assert not future.done()
    future.set_result(2)
    assert future.result() == 2


def test_future_without_init_is_an_error_and_no_crash(loop):
    kind = type(loop.create_future())
    future = kind.__new__(kind)
    with pytest.raises(RuntimeError, match=r"Future object is not initialized\."):
        future.get_loop()
    with pytest.raises(RuntimeError, match=r"initialized"):
        future.set_result(1)
    with pytest.raises(RuntimeError, match=r"initialized"):
        future.add_done_callback(print)
    with pytest.raises(RuntimeError, match=r"initialized"):
        iter(future)


def test_subclass_in_python(loop):
    kind = type(loop.create_future())

    class Named(kind):
        def __init__(self, name, *, loop):
            super().__init__(loop=loop)
            self.name = name
            self.calls = []

        def set_result(self, result):
            self.calls.append(result)
            super().set_result(result)

        def add_done_callback(self, callback, *, context=None):
            self.calls.append("callback")
            super().add_done_callback(callback, context=context)

    async def main():
        future = Named("mine", loop=loop)
        loop.call_soon(future.set_result, "value")
        assert await future == "value"
        return future

    future = loop.run_until_complete(main())
    assert future.name == "mine"
    assert "value" in future.calls
    assert repr(future).startswith("<Named finished")


def test_future_can_be_weakly_referenced_and_collected(loop):
    future = loop.create_future()
    alive = weakref.ref(future)
    assert alive() is future
    del future
    gc.collect()
    assert alive() is None


def test_cycle_through_a_callback_is_collected(loop):
    future = loop.create_future()
    future.add_done_callback(lambda _, future=future: None)
    alive = weakref.ref(future)
    del future
    gc.collect()
    assert alive() is None


def test_cycle_through_the_result_is_collected(loop):
    future = loop.create_future()
    future.set_result(future)
    alive = weakref.ref(future)
    del future
    gc.collect()
    assert alive() is None


# ---------------------------------------------------------------- exceptions nobody looked at


def test_exception_that_is_never_retrieved_is_reported(loop, reports):
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    future = loop.create_future()
    future.set_exception(ValueError("unseen"))
    del future
    gc.collect()
    [context] = contexts
    assert context["message"] == "Future exception was never retrieved"
    assert str(context["exception"]) == "unseen"
    assert "future" in context
    del context
    contexts.clear()


@pytest.mark.parametrize("look", ["result", "exception", "await", "gather"])
def test_exception_that_was_retrieved_is_not_reported(loop, look):
    async def see(future):
        if look == "result":
            future.result()
        elif look == "exception":
            raise future.exception()
        elif look == "await":
            await future
        else:
            [error] = await asyncio.gather(future, return_exceptions=True)
            raise error

    future = loop.create_future()
    future.set_exception(ValueError("seen"))
    with pytest.raises(ValueError, match=r"seen"):
        loop.run_until_complete(see(future))
    alive = weakref.ref(future)
    del future
    gc.collect()
    assert alive() is None
