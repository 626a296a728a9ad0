"""Handle and TimerHandle (asyncio docs, "Callback handles")."""

import asyncio
import contextvars
import decimal
import fractions
import functools
import gc
import operator
import weakref

import pytest

from tests.support.versions import SINCE_3_12, SINCE_3_14

before_3_12 = pytest.mark.asyncio_lacks("Handle.get_context() is new in 3.12", "<3.12")


def callback(*args):
    pass


def test_call_soon_gives_a_handle(loop):
    handle = loop.call_soon(callback)
    assert isinstance(handle, asyncio.Handle)
    assert not handle.cancelled()


def test_timers_give_timer_handles(loop):
    for handle in (loop.call_later(60, callback), loop.call_at(loop.time() + 60, callback)):
        assert isinstance(handle, asyncio.TimerHandle)
        assert isinstance(handle, asyncio.Handle)
        handle.cancel()


@pytest.mark.skipif(not SINCE_3_14, reason="the class is new in 3.14")
def test_call_soon_threadsafe_gives_a_thread_safe_handle(loop):
    from asyncio.events import _ThreadSafeHandle

    assert isinstance(loop.call_soon_threadsafe(callback), _ThreadSafeHandle)


def test_cancel_is_final(loop):
    handle = loop.call_soon(callback)
    handle.cancel()
    assert handle.cancelled()
    handle.cancel()
    assert handle.cancelled()


def test_handle_shows_what_it_will_call(loop):
    handle = loop.call_soon(callback, 1, "two")
    assert handle._callback is callback
    assert handle._args == (1, "two")
    assert handle._cancelled is False
    assert handle._loop is loop
    assert handle._source_traceback is None


def test_cancelled_handle_forgets_what_it_would_have_called(loop):
    handle = loop.call_soon(callback, 1)
    handle.cancel()
    assert handle._callback is None
    assert handle._args is None
    assert handle._cancelled is True


def test_handle_that_ran_is_not_cancelled(loop):
    handle = loop.call_soon(callback)
    loop.stop()
    loop.run_forever()
    assert not handle.cancelled()


def test_repr_names_the_callback_and_where_it_is_defined(loop):
    handle = loop.call_soon(callback, 1, "two")
    line = callback.__code__.co_firstlineno
    text = repr(handle)
    assert text.startswith("<Handle callback(")
    assert text.endswith(f"test_handle.py:{line}>")


def test_repr_shows_the_arguments_according_to_the_version(loop):
    # Since 3.14 (and late patch releases of 3.13) the arguments are left out unless in debug mode.
    handle = loop.call_soon(callback, "argument")
    assert ("callback('argument')" in repr(handle)) or ("callback()" in repr(handle))
    loop.set_debug(True)
    assert "callback('argument')" in repr(loop.call_soon(callback, "argument"))


def test_repr_of_a_cancelled_handle_says_so(loop):
    handle = loop.call_soon(callback)
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"


def test_repr_of_a_timer_tells_when(loop):
    timer = loop.call_later(60, callback)
    assert repr(timer).startswith(f"<TimerHandle when={timer.when()} callback(")
    timer.cancel()
    assert repr(timer) == f"<TimerHandle cancelled when={timer.when()}>"


def test_repr_in_debug_mode_tells_who_scheduled(loop):
    loop.set_debug(True)
    handle = loop.call_soon(callback)
    assert "created at" in repr(handle)
    assert "test_handle.py" in repr(handle).partition("created at")[2]
    handle.cancel()
    assert repr(handle).startswith("<Handle cancelled")
    assert "created at" in repr(handle)


def test_repr_shows_partial_functions(loop):
    handle = loop.call_soon(functools.partial(callback, 1))
    assert "callback(" in repr(handle)


def test_source_traceback_in_debug_mode_ends_at_the_caller(loop):
    loop.set_debug(True)
    for handle in (
        loop.call_soon(callback),
        loop.call_later(60, callback),
        loop.call_at(loop.time() + 60, callback),
        loop.call_soon_threadsafe(callback),
    ):
        last = handle._source_traceback[-1]
        assert last.filename == __file__
        assert last.name == "test_source_traceback_in_debug_mode_ends_at_the_caller"


def test_when_is_the_deadline_in_seconds_of_the_loop(loop):
    before = loop.time()
    timer = loop.call_later(60, callback)
    after = loop.time()
    assert before + 60 <= timer.when() <= after + 60
    assert timer._when == timer.when()
    assert loop.call_at(12345.678, callback).when() == 12345.678


@pytest.mark.parametrize(
    "when",
    [10**6, True, -5, 10**30, 1e6, fractions.Fraction(2_000_001, 2), decimal.Decimal("1000000.5")],
    ids=repr,
)
def test_when_is_what_call_at_was_given(loop, when):
    timer = loop.call_at(when, callback)
    for seen in (timer.when(), timer._when):
        assert type(seen) is type(when)
        assert seen == when
    assert f"when={when}" in repr(timer)
    assert hash(timer) == hash(when)
    timer.cancel()
    assert timer.when() == when
    assert type(loop.call_later(5, callback).when()) is float


def test_timers_compare_by_deadline(loop):
    now = loop.time()
    early, late = loop.call_at(now + 1, callback), loop.call_at(now + 2, callback)
    assert early < late
    assert early <= late
    assert late > early
    assert late >= early
    assert early != late
    assert sorted([late, early]) == [early, late]


def test_timers_are_equal_when_all_they_hold_is(loop):
    when = loop.time() + 1
    first, second = loop.call_at(when, callback, 1), loop.call_at(when, callback, 1)
    assert first == second
    assert first <= second
    assert first >= second
    assert hash(first) == hash(second)
    third = loop.call_at(when, callback, 2)
    assert first != third
    # Equal deadlines alone make neither smaller.
    assert not first < third
    assert not first <= third


def test_cancelled_timer_differs_from_one_that_is_not(loop):
    when = loop.time() + 1
    first, second = loop.call_at(when, callback), loop.call_at(when, callback)
    first.cancel()
    assert first != second


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_timers_do_not_compare_with_anything_else(loop, compare):
    timer = loop.call_later(60, callback)
    with pytest.raises(TypeError):
        compare(timer, 1.0)
    with pytest.raises(TypeError):
        compare(timer, loop.call_soon(callback))
    assert timer != 1.0
    assert (timer == object()) is False


def test_handles_compare_by_identity(loop):
    first, second = loop.call_soon(callback), loop.call_soon(callback)
    assert first != second
    assert first == first
    assert len({first, second}) == 2


def test_handles_can_be_weakly_referenced(loop):
    handle, timer = loop.call_soon(callback), loop.call_later(60, callback)
    assert weakref.ref(handle)() is handle
    assert weakref.ref(timer)() is timer


@before_3_12
def test_get_context_is_the_context_of_the_callback(loop):
    given = contextvars.copy_context()
    assert loop.call_soon(callback, context=given).get_context() is given
    assert loop.call_later(60, callback, context=given).get_context() is given
    assert isinstance(loop.call_soon(callback).get_context(), contextvars.Context)


def test_handle_is_not_made_of_its_arguments(loop):
    # The arguments may be anything, even what cannot be compared, hashed or printed.
    class Awkward:
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("compared")

        def __repr__(self):
            raise AssertionError("printed")

    ran = []
    loop.call_soon(lambda argument: ran.append(type(argument)), Awkward())
    loop.stop()
    loop.run_forever()
    assert ran == [Awkward]


def test_asyncio_handles_made_by_hand_run_on_the_loop(loop):
    # Debuggers and other loops' helpers make their own.
    ran = []
    handle = asyncio.Handle(ran.append, (1,), loop)
    loop.call_soon(handle._run)
    loop.stop()
    loop.run_forever()
    assert ran == [1]


def test_handle_of_sabio_has_no_other_attributes(sabio, loop):
    handle = loop.call_soon(callback)
    with pytest.raises(AttributeError):
        handle.when  # noqa: B018
    with pytest.raises(AttributeError):
        handle.unknown = 1


def test_classes_of_sabio_are_what_its_loop_gives(sabio, loop):
    assert isinstance(loop.call_soon(callback), sabio.Handle)
    assert isinstance(loop.call_later(60, callback), sabio.TimerHandle)


def test_handle_keeps_its_loop_alive_only_as_long_as_needed(loop_factory):
    loop = loop_factory()
    alive = weakref.ref(loop)
    handle = loop.call_soon(callback)
    loop.close()
    del loop, handle
    gc.collect()
    assert alive() is None


# ---------------------------------------------------------------- cycles


class Request:
    """Names itself in a context variable, and keeps what the loop gives for its calls."""

    current = contextvars.ContextVar("current")

    def __init__(self):
        self.current.set(self)
        self.handle = None


def cancelled_timer(loop):
    handle = loop.call_later(60, callback)
    loop.call_soon(handle.cancel)
    return handle


KEPT = {
    "cancelled timer": cancelled_timer,
    "timer": lambda loop: loop.call_later(0, callback),
    "soon": lambda loop: loop.call_soon(callback),
    "threadsafe": lambda loop: loop.call_soon_threadsafe(callback),
}


@pytest.mark.parametrize("call", KEPT.values(), ids=KEPT)
def test_who_keeps_a_handle_is_not_kept_by_its_context(loop, call):
    async def serve():
        request = Request()
        request.handle = call(asyncio.get_running_loop())
        await asyncio.sleep(0.002)
        return weakref.ref(request)

    async def main():
        return await asyncio.create_task(serve())

    request = loop.run_until_complete(main())
    gc.collect()
    assert request() is None


@pytest.mark.parametrize("call", KEPT.values(), ids=KEPT)
def test_who_keeps_a_handle_is_not_kept_by_its_loop(loop_factory, call):
    class App:
        def on_error(self, loop, context):
            pass

    app = App()
    loop = loop_factory()
    loop.set_exception_handler(app.on_error)
    app.handle = call(loop)
    loop.run_until_complete(asyncio.sleep(0.002))
    loop.close()
    kept = weakref.ref(app)
    del app, loop
    gc.collect()
    assert kept() is None


def test_error_of_a_callback_that_cancels_itself_is_told_in_its_context(loop, loop_name):
    variable, seen = contextvars.ContextVar("variable", default="none"), []
    loop.set_exception_handler(lambda loop, context: seen.append((variable.get(), context["handle"])))
    context = contextvars.copy_context()
    context.run(variable.set, "own")

    def fail():
        handle.cancel()
        raise LookupError

    handle = loop.call_soon(fail, context=context)
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == [("own" if SINCE_3_12 or loop_name == "sabio" else "none", handle)]
