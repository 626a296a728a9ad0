"""sleep: its coroutine, its clock, its errors (asyncio docs, "Sleeping")."""

import asyncio
import collections.abc
import decimal
import fractions
import gc
import inspect
import time
import weakref

import pytest

from tests.support.combinations import everywhere, natively, since
from tests.support.waiting import turns

DELAYS = (
    0,
    0.0,
    -0.0,
    -1,
    -1.5,
    False,
    fractions.Fraction(0),
    decimal.Decimal(-1),
    float("-inf"),
    -(10**400),
)


@everywhere
async def test_sleeps_no_less_and_gives_its_result(aio):
    before = time.monotonic()
    assert await aio.sleep(0.01, "result") == "result"
    assert await aio.sleep(delay=0.01, result=None) is None
    assert await aio.sleep(fractions.Fraction(1, 1000)) is None
    assert await aio.sleep(True / 1000) is None
    assert time.monotonic() - before >= 0.02


@everywhere
async def test_zero_and_less_is_one_turn(aio):
    loop = asyncio.get_running_loop()
    for delay in DELAYS:
        order = []
        loop.call_soon(order.append, "turn")
        loop.call_soon(lambda order=order: loop.call_soon(order.append, "second turn"))
        assert await aio.sleep(delay, delay) is delay
        assert order == ["turn"]
        await turns(2)


@everywhere
async def test_result_of_a_turn(aio):
    for result in (None, 0, "text", (1, 2), ValueError("no error")):
        assert await aio.sleep(0, result) is result
        assert await aio.sleep(0, result=result) is result


@everywhere
async def test_what_is_refused(aio):
    for wrong in ("text", None, [], 1j):
        with pytest.raises(TypeError):
            await aio.sleep(wrong)
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            aio.sleep(*wrong)
    with pytest.raises(TypeError):
        aio.sleep(0, loop=None)


@since(3, 13)
async def test_a_time_that_is_no_number_is_refused(aio):
    with pytest.raises(ValueError, match=r"^Invalid delay: NaN \(not a number\)$"):
        await aio.sleep(float("nan"))


@everywhere
async def test_it_can_be_cancelled(aio):
    for delay in (60, float("inf")):
        task = asyncio.ensure_future(aio.sleep(delay))
        await turns(2)
        assert not task.done()
        task.cancel("message")
        with pytest.raises(asyncio.CancelledError, match=r"message"):
            await task
    task = asyncio.ensure_future(aio.sleep(0))
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@everywhere
async def test_sleepers_wake_in_the_order_of_their_times(aio):
    order = []

    async def work(number):
        await aio.sleep(number / 20)
        order.append(number)

    await asyncio.gather(*map(work, (3, 1, 2)))
    assert order == [1, 2, 3]


@pytest.mark.parametrize("delay", [0, 60])
@everywhere
async def test_the_coroutine_of_a_sleep(aio, delay):
    coroutine = aio.sleep(delay)
    assert asyncio.iscoroutine(coroutine)
    assert inspect.isawaitable(coroutine)
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert not asyncio.isfuture(coroutine)
    assert (coroutine.__name__, coroutine.__qualname__) == ("sleep", "sleep")
    assert repr(coroutine).startswith("<coroutine object sleep at 0x")
    assert coroutine.cr_running is False
    assert coroutine.cr_await is None
    assert weakref.ref(coroutine)() is coroutine
    with pytest.raises(TypeError, match=r"^can't send non-None value to a just-started coroutine$"):
        coroutine.send(1)
    coroutine.close()
    coroutine.close()
    for again in (lambda: coroutine.send(None), lambda: coroutine.throw(KeyError())):
        with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
            again()


@everywhere
async def test_a_turn_driven_by_hand(aio):
    coroutine = aio.sleep(0)
    assert coroutine.send(None) is None
    assert coroutine.cr_suspended
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value is None
    coroutine = aio.sleep(0)
    coroutine.send(None)
    with pytest.raises(KeyError, match=r"thrown"):
        coroutine.throw(KeyError("thrown"))
    coroutine = aio.sleep(0)
    with pytest.raises(KeyError):
        coroutine.throw(KeyError)
    with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
        await coroutine


@everywhere
async def test_a_coroutine_that_is_awaited_already(aio):
    coroutine = aio.sleep(0)

    async def work():
        await coroutine

    first, second = asyncio.ensure_future(work()), asyncio.ensure_future(work())
    await first
    with pytest.raises(RuntimeError, match=r"^coroutine is being awaited already$"):
        await second


@pytest.mark.parametrize("delay", [0, 60])
@everywhere
async def test_never_awaited(aio, delay):
    held = [aio.sleep(delay)]
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'sleep' was never awaited$"):
        held.clear()


@pytest.mark.parametrize("delay", [0, 60])
@natively
async def test_result_in_a_cycle_is_collected(aio, delay):
    class Witness:
        coroutine = None

    witness = Witness()
    witness.coroutine = aio.sleep(delay, witness)
    seen = weakref.ref(witness)
    del witness
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'sleep' was never awaited$"):
        gc.collect()
    # The warning had the coroutine for its source.
    gc.collect()
    assert seen() is None


@everywhere
async def test_many_turns(aio):
    for _ in range(2000):
        await aio.sleep(0)


def test_sleep_needs_a_running_loop_unless_it_is_a_turn(sabio):
    coroutine = sabio.sleep(1)
    with pytest.raises(RuntimeError, match=r"^no running event loop$"):
        coroutine.send(None)
    coroutine.close()
    assert sabio.sleep(0).send(None) is None


@natively
async def test_turns_that_are_held_stay_what_they_are(aio):
    held = [aio.sleep(0) for _ in range(3)]
    for coroutine in held:
        await coroutine
    last = aio.sleep(0)
    assert last not in held
    await last
    seen = weakref.ref(last)
    del last
    fresh = aio.sleep(0)
    assert seen() is not fresh
    await fresh
    for coroutine in held:
        with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
            await coroutine
