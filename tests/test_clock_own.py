"""A program's own `time()` in the place of the loop's, as in tests that have hours pass: timers follow it."""

from __future__ import annotations

import asyncio
import time
from unittest import mock

import pytest

HOUR = 3600.0
#: Real seconds in which hours must have passed.
SOON = 5.0


class Hours:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def hours():
    """The clock; nothing may have taken its hours in earnest."""
    began = time.monotonic()
    yield Hours()
    assert time.monotonic() - began < SOON


async def in_an_hour(clock):
    """What is to happen within an hour has happened when the clock is put forward."""
    loop = asyncio.get_running_loop()
    due: list[str] = []
    loop.call_later(HOUR, due.append, "call_later")
    loop.call_at(loop.time() + HOUR, due.append, "call_at")
    loop.call_later(2 * HOUR, due.append, "too late").cancel()
    later = loop.call_later(3 * HOUR, due.append, "later")
    sleeping = asyncio.create_task(asyncio.sleep(HOUR, "slept"))
    limited = asyncio.create_task(limit_of(HOUR))
    waited = asyncio.create_task(asyncio.wait_for(loop.create_future(), HOUR))
    some = asyncio.create_task(asyncio.wait([loop.create_future()], timeout=HOUR))
    await asyncio.sleep(0)
    assert due == []
    clock.ahead += HOUR
    assert await sleeping == "slept"
    assert await limited
    with pytest.raises(TimeoutError):
        await waited
    assert len((await some)[1]) == 1
    assert due == ["call_later", "call_at"]
    later.cancel()


async def limit_of(seconds):
    """Whether a timeout has ended the wait."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_future()
    return True


async def test_timers_follow_a_clock_that_was_put_in_its_place(hours):
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop, "time", hours.time):
        await in_an_hour(hours)
        ahead = loop.time()
    assert ahead - loop.time() > HOUR - 60
    # From here on it is the system's again.
    began = time.monotonic()
    await asyncio.sleep(0.02)
    assert time.monotonic() - began >= 0.02


def test_timers_follow_a_clock_that_was_put_there_before_the_run(loop, hours):
    loop.time = hours.time
    due = []
    loop.call_later(HOUR, due.append, "due")
    loop.run_until_complete(in_an_hour(hours))
    assert due == ["due"]
    del loop.time
    assert abs(loop.time() - time.monotonic()) < 60


def test_timers_follow_the_clock_of_a_subclass(loop_factory, hours):
    made = loop_factory()
    kind = type(made)
    made.close()
    subclass = type("Ahead", (kind,), {"time": lambda self: hours.time()})
    loop = subclass()
    try:
        due = []
        loop.call_later(HOUR, due.append, "due")
        loop.run_until_complete(in_an_hour(hours))
        assert due == ["due"]
    finally:
        loop.close()


def test_timers_follow_a_clock_that_was_put_into_the_class(loop, hours):
    with mock.patch.object(type(loop), "time", hours.time):
        loop.run_until_complete(in_an_hour(hours))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert abs(loop.time() - time.monotonic()) < 60


def test_timer_of_a_clock_that_stands_still_does_not_run(loop):
    with mock.patch.object(loop, "time", return_value=1000.0):
        due = []
        loop.call_later(0.001, due.append, "due")
        loop.call_at(1000.0, loop.call_later, 0.0, due.append, "at once")

        async def turns():
            for _ in range(10):
                await asyncio.sleep(0)

        loop.run_until_complete(turns())
        assert due == ["at once"]


def test_what_a_clock_raises_leaves_the_loop(loop):
    def broken() -> float:
        raise ZeroDivisionError

    loop.call_later(0.001, loop.stop)
    with mock.patch.object(loop, "time", broken):
        with pytest.raises(ZeroDivisionError):
            loop.call_later(1, print)
        with pytest.raises(ZeroDivisionError):
            loop.run_forever()
    loop.run_forever()


def test_other_attributes_of_a_loop_are_as_ever(loop):
    loop.colour = "green"
    setattr(loop, "\udc80", "no text that UTF-8 has")
    assert vars(loop)["colour"] == "green"
    del loop.colour
    with pytest.raises(AttributeError):
        del loop.colour
    with pytest.raises(AttributeError):
        del loop.time
    assert loop.time() <= loop.time()
