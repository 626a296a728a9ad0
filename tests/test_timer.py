"""call_later and call_at: deadlines, ties, precision, cancellation (asyncio docs, "Scheduling delayed callbacks")."""

import asyncio
import contextvars
import decimal
import fractions
import gc
import itertools
import math
import random

import pytest

variable = contextvars.ContextVar("variable", default="unset")


def run_once(loop):
    loop.stop()
    loop.run_forever()


def run_for(loop, seconds):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


def test_call_later_runs_in_order_of_the_deadlines(loop):
    order = []
    delays = [0.03, 0.01, 0.02, 0.0, 0.015]
    for delay in delays:
        loop.call_later(delay, order.append, delay)
    run_for(loop, 0.04)
    assert order == sorted(delays)


@pytest.mark.asyncio_lacks("asyncio's heap is not stable")
def test_equal_deadlines_run_in_the_order_of_scheduling(loop):
    order = []
    when = loop.time() + 0.01
    for number in range(500):
        loop.call_at(when, order.append, number)
    run_for(loop, 0.03)
    assert order == list(range(500))


def test_call_at_takes_the_time_of_the_loop(loop):
    when = loop.time() + 0.01
    ran = []
    handle = loop.call_at(when, lambda: ran.append(loop.time()))
    assert handle.when() == when
    run_for(loop, 0.03)
    assert ran[0] >= when


def test_timers_never_run_early_and_hardly_late(loop, loop_name):
    # asyncio allows itself one resolution of the clock, which is a nanosecond.
    allowed = 1.5e-9 if loop_name == "asyncio" else 0.0
    early, late = [], []

    def check(when):
        now = loop.time()
        (early if now < when - allowed else late).append(now - when)

    start = loop.time()
    for number in range(200):
        when = start + 0.01 + number * 0.00037
        loop.call_at(when, check, when)
    run_for(loop, 0.11)
    assert early == []
    assert len(late) == 200
    assert sorted(late)[100] < 0.002


def test_timer_shorter_than_a_millisecond_does_not_wait_for_one(sabio, loop):
    taken = []
    for _ in range(50):
        before = loop.time()
        loop.call_later(0.0001, loop.stop)
        loop.run_forever()
        taken.append(loop.time() - before)
    assert min(taken) >= 0.0001
    assert sorted(taken)[25] < 0.0008


@pytest.mark.parametrize("delay", [0, 0.0, -0.0, -1, -1e300])
def test_delay_that_is_not_positive_runs_at_once(loop, delay):
    order = []
    loop.call_later(delay, order.append, "ran")
    before = loop.time()
    while not order and loop.time() < before + 5:
        run_once(loop)
    assert order == ["ran"]
    assert loop.time() - before < 1


def test_call_later_with_zero_gives_a_timer_handle(loop):
    before = loop.time()
    handle = loop.call_later(0, print)
    assert isinstance(handle, asyncio.TimerHandle)
    assert before <= handle.when() <= loop.time()
    handle.cancel()


def test_infinite_delay_never_runs_and_disturbs_nobody(loop):
    handle = loop.call_later(math.inf, pytest.fail)
    other = loop.call_at(math.inf, pytest.fail)
    assert handle.when() == other.when() == math.inf
    run_for(loop, 0.01)
    handle.cancel()
    other.cancel()


def test_huge_delay_never_runs_and_disturbs_nobody(loop):
    handles = [loop.call_later(delay, pytest.fail) for delay in (1e9, 1e18, 1e300)]
    run_for(loop, 0.01)
    for handle in handles:
        handle.cancel()


@pytest.mark.asyncio_lacks("NaN spoils the heap of timers and ends the run with a ValueError", ">=3.13")
@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_nan_is_refused_or_harmless(loop, method):
    order = []
    try:
        handle = getattr(loop, method)(math.nan, order.append, "nan")
    except ValueError:
        handle = None
    loop.call_later(0.01, order.append, "second")
    loop.call_later(0.005, order.append, "first")
    run_for(loop, 0.02)
    assert [entry for entry in order if entry != "nan"] == ["first", "second"]
    if handle is not None:
        handle.cancel()


def test_delay_that_cannot_be_added_to_the_time_is_a_type_error(loop):
    for delay in ("1", decimal.Decimal(1)):
        with pytest.raises(TypeError):
            loop.call_later(delay, print)


def test_deadline_may_be_any_number(loop):
    order = []
    loop.call_later(fractions.Fraction(1, 1000), order.append, "fraction")
    loop.call_later(True, order.append, "one second").cancel()
    loop.call_at(int(loop.time()) - 1, order.append, "integer")
    run_for(loop, 0.02)
    assert order == ["integer", "fraction"]


@pytest.mark.parametrize("when", [None, "soon", object()])
def test_deadline_must_be_a_number(loop, when):
    with pytest.raises(TypeError):
        loop.call_later(when, print)


def test_deadline_of_none_is_explained(loop):
    with pytest.raises(TypeError, match=r"delay must not be None"):
        loop.call_later(None, print)
    with pytest.raises(TypeError, match=r"when cannot be None"):
        loop.call_at(None, print)


def test_cancelled_timer_does_not_run(loop):
    order = []
    kept = loop.call_later(0.01, order.append, "kept")
    loop.call_later(0.005, order.append, "cancelled").cancel()
    run_for(loop, 0.02)
    assert order == ["kept"]
    assert not kept.cancelled()


def test_timer_can_cancel_one_that_is_due_in_the_same_turn(loop):
    order = []
    now = loop.time()

    def first():
        order.append("first")
        second.cancel()

    loop.call_at(now - 2, first)
    second = loop.call_at(now - 1, order.append, "second")
    run_for(loop, 0.01)
    assert order == ["first"]


def test_timer_scheduled_by_a_timer_runs_in_a_later_turn(loop):
    order = []

    def first():
        loop.call_later(0, order.append, "nested")
        loop.call_soon(order.append, "soon")
        order.append("first")

    loop.call_later(0, first)
    run_for(loop, 0.01)
    assert order[0] == "first"
    assert sorted(order[1:]) == ["nested", "soon"]


def test_callbacks_do_not_wait_for_timers(loop):
    order = []
    loop.call_later(0.02, order.append, "timer")
    loop.call_soon(order.append, "soon")
    run_for(loop, 0.03)
    assert order == ["soon", "timer"]


def test_thousands_of_timers_all_run_in_order(loop):
    generator = random.Random(4)
    order = []
    start = loop.time() + 0.01
    deadlines = [start + generator.random() * 0.1 for _ in range(5000)]
    for when in deadlines:
        loop.call_at(when, order.append, when)
    loop.call_at(max(deadlines), loop.stop)
    loop.run_forever()
    assert order == sorted(deadlines)


def test_storm_of_cancelled_timers_leaves_the_others_alone(loop):
    generator = random.Random(5)
    order, expected = [], []
    start = loop.time() + 0.05
    handles = []
    for number in range(20000):
        when = start + generator.random() * 0.05
        handles.append((loop.call_at(when, order.append, number), when, number))
    for handle, when, number in handles:
        if generator.random() < 0.95:
            handle.cancel()
        else:
            expected.append((when, number))
    loop.call_at(start + 0.05, loop.stop)
    loop.run_forever()
    assert order == [number for _, number in sorted(expected)]


def test_timers_cancelled_over_and_over_do_not_pile_up(loop):
    class Callback:
        alive = 0

        def __init__(self):
            Callback.alive += 1

        def __call__(self):
            pytest.fail("was cancelled")

        def __del__(self):
            Callback.alive -= 1

    for _ in range(5000):
        loop.call_later(3600, Callback()).cancel()
    gc.collect()
    assert Callback.alive <= 1


def test_timers_interleaved_with_cancellation_in_callbacks(loop):
    ran = []
    pending = {}
    numbers = itertools.count()

    def fire(number):
        ran.append(number)
        del pending[number]
        if pending and number % 3 == 0:
            victim = next(iter(pending))
            pending.pop(victim).cancel()
            ran.append(-victim)

    for number in itertools.islice(numbers, 300):
        pending[number] = loop.call_later(0.001 + (number * 7919 % 300) / 50_000, fire, number)
    run_for(loop, 0.05)
    assert not pending
    assert len(ran) == 300
    assert len({abs(number) for number in ran}) == 300


async def test_sleep_never_returns_early():
    loop = asyncio.get_running_loop()
    for delay in (0.0003, 0.001, 0.0047, 0.01):
        before = loop.time()
        await asyncio.sleep(delay)
        # asyncio itself may wake up one resolution of the clock early.
        assert loop.time() - before >= delay - 1e-6


def test_call_later_uses_the_context_it_was_scheduled_in(loop):
    seen = []

    def schedule():
        variable.set("scheduled")
        loop.call_later(0.001, lambda: seen.append(variable.get()))
        loop.call_at(loop.time(), lambda: seen.append(variable.get()))

    contextvars.copy_context().run(schedule)
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    loop.call_later(0.002, lambda: seen.append(variable.get()), context=given)
    run_for(loop, 0.01)
    assert seen == ["scheduled", "scheduled", "given"]


@pytest.mark.parametrize("delay", ["1", [], decimal.Decimal(1)], ids=repr)
def test_a_delay_that_cannot_be_added_to_the_time_is_a_type_error(loop, delay):
    with pytest.raises(TypeError) as refused:
        loop.call_later(delay, print)
    name = f"{type(delay).__module__}.{type(delay).__qualname__}".removeprefix("builtins.")
    assert str(refused.value) == f"unsupported operand type(s) for +: 'float' and '{name}'"
