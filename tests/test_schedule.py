"""call_soon: order, arguments, context, cancellation (asyncio docs, "Scheduling callbacks")."""

import asyncio
import contextvars
import gc
import weakref

import pytest

variable = contextvars.ContextVar("variable", default="unset")


def run_once(loop):
    loop.stop()
    loop.run_forever()


def test_call_soon_keeps_the_order(loop):
    order = []
    for number in range(1000):
        loop.call_soon(order.append, number)
    run_once(loop)
    assert order == list(range(1000))


def test_call_soon_passes_any_number_of_arguments(loop):
    seen = []
    for count in range(10):
        loop.call_soon(lambda *args: seen.append(args), *range(count))
    run_once(loop)
    assert seen == [tuple(range(count)) for count in range(10)]


def test_call_soon_does_not_take_keywords_for_the_callback(loop):
    with pytest.raises(TypeError):
        loop.call_soon(print, sep="")


def test_call_soon_inside_a_callback_runs_in_the_next_turn(loop):
    order = []

    def first():
        loop.call_soon(order.append, "next")
        order.append("first")

    loop.call_soon(first)
    loop.call_soon(order.append, "second")
    run_once(loop)
    assert order == ["first", "second"]
    run_once(loop)
    assert order == ["first", "second", "next"]


def test_call_soon_runs_in_a_copy_of_the_current_context(loop):
    seen = []

    def schedule():
        variable.set("at scheduling")
        loop.call_soon(lambda: seen.append(variable.get()))
        variable.set("after scheduling")

    contextvars.copy_context().run(schedule)
    run_once(loop)
    assert seen == ["at scheduling"]


def test_call_soon_runs_in_the_given_context(loop):
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    seen = []

    def callback():
        seen.append(variable.get())
        variable.set("changed")

    loop.call_soon(callback, context=context)
    run_once(loop)
    assert seen == ["given"]
    assert context[variable] == "changed"
    assert variable.get() == "unset"


def test_context_must_be_a_context(loop, reports):
    # asyncio finds out when the callback runs; refusing at once is as good.
    try:
        loop.call_soon(print, context="no context")
    except TypeError:
        return
    run_once(loop)
    reports.take_logged()
    reports.take_unraisable()


def test_cancelled_callback_does_not_run(loop):
    order = []
    handles = [loop.call_soon(order.append, number) for number in range(10)]
    for handle in handles[::2]:
        handle.cancel()
    run_once(loop)
    assert order == [1, 3, 5, 7, 9]


def test_callback_can_cancel_a_later_one_of_the_same_turn(loop):
    order = []

    def first():
        order.append("first")
        second.cancel()

    loop.call_soon(first)
    second = loop.call_soon(order.append, "second")
    run_once(loop)
    assert order == ["first"]


def test_cancel_after_the_callback_ran_does_nothing(loop):
    order = []
    handle = loop.call_soon(order.append, 1)
    run_once(loop)
    handle.cancel()
    handle.cancel()
    assert order == [1]


def test_callback_that_raises_does_not_stop_the_others(loop, reports):
    order = []

    def fail():
        raise ValueError("of a callback")

    loop.call_soon(fail)
    loop.call_soon(order.append, "after")
    run_once(loop)
    assert order == ["after"]
    [error] = reports.take_exceptions()
    assert str(error) == "of a callback"


def test_callback_is_released_after_it_ran(loop):
    class Callback:
        def __call__(self, argument):
            pass

    callback, argument = Callback(), Callback()
    alive = [weakref.ref(callback), weakref.ref(argument)]
    loop.call_soon(callback, argument)
    del callback, argument
    run_once(loop)
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_callback_of_a_cancelled_handle_is_released_at_once(loop):
    class Callback:
        def __call__(self):
            pass

    callback = Callback()
    alive = weakref.ref(callback)
    handle = loop.call_soon(callback)
    del callback
    handle.cancel()
    gc.collect()
    assert alive() is None


def test_finalizer_of_a_callback_may_schedule(loop):
    order = []

    class Callback:
        def __call__(self):
            order.append("called")

        def __del__(self):
            loop.call_soon(order.append, "from the finalizer")

    loop.call_soon(Callback())
    run_once(loop)
    run_once(loop)
    assert order == ["called", "from the finalizer"]


def test_finalizer_may_schedule_while_the_loop_is_closing(loop, reports):
    class Callback:
        def __call__(self):
            pass

        def __del__(self):
            loop.call_soon(print)

    loop.call_soon(Callback())
    loop.call_later(60, Callback())
    loop.close()
    unraisable = reports.take_unraisable()
    assert unraisable
    assert all("Event loop is closed" in message for message in unraisable)


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
@pytest.mark.debug_mode
async def test_debug_mode_refuses_what_is_not_callable(method):
    loop = asyncio.get_running_loop()
    schedule = getattr(loop, method)
    when = {"call_later": (0,), "call_at": (loop.time(),)}.get(method, ())
    # asyncio's call_later() names call_at(), through which it goes.
    named = {"call_later": "call_(later|at)"}.get(method, method)
    with pytest.raises(TypeError, match=rf"a callable object was expected by {named}\(\), got 'text'"):
        schedule(*when, "text")


@pytest.mark.debug_mode
async def test_debug_mode_refuses_coroutines_and_coroutine_functions():
    async def coroutine_function():
        pass

    loop = asyncio.get_running_loop()
    coroutine = coroutine_function()
    for method, when in (
        (loop.call_soon, ()),
        (loop.call_soon_threadsafe, ()),
        (loop.call_later, (0,)),
        (loop.call_at, (0,)),
    ):
        for what in (coroutine, coroutine_function):
            with pytest.raises(TypeError, match=r"coroutines cannot be used with call_\w+\(\)"):
                method(*when, what)
    coroutine.close()


@pytest.mark.parametrize("delay", [[], "1", object(), b"1"], ids=["list", "str", "object", "bytes"])
def test_a_delay_that_is_no_number_is_refused_as_what_cannot_be_added(loop, delay):
    message = rf"^unsupported operand type\(s\) for \+: 'float' and '{type(delay).__name__}'$"
    with pytest.raises(TypeError, match=message):
        loop.call_later(delay, print)
