"""One coroutine in the hands of two tasks, in every world: both hear of it, and nobody waits for ever."""

import asyncio
import sys

import pytest

from tests.support.queues import run
from tests.support.waiting import turns

__all__ = ["run"]

AWAITED = "coroutine is being awaited already"
REUSED = "cannot reuse already awaited coroutine"


def awaits_in_place(world):
    """Whether `wait_for` makes no task of a coroutine."""
    return world.is_ours or sys.version_info >= (3, 12)


class Waiting:
    """A coroutine of each kind that waits, and what ends its wait."""

    def __init__(self, kind, world):
        queue, event, semaphore = world.Queue(1), world.Event(), world.Semaphore(0)
        lock, condition, reader = world.Lock(), world.Condition(), world.StreamReader()
        event_loop = asyncio.get_running_loop()
        if kind == "lock":
            lock._locked = True
        if kind in ("put", "join"):
            queue.put_nowait(1)
        make, self.end, self.result = {
            "get": (queue.get, lambda: queue.put_nowait(1), 1),
            "put": (lambda: queue.put(2), queue.get_nowait, None),
            "join": (queue.join, queue.task_done, None),
            "event": (event.wait, event.set, True),
            "lock": (lock.acquire, lock.release, True),
            "semaphore": (semaphore.acquire, semaphore.release, True),
            "condition": (condition.wait, condition.notify_all, True),
            "read": (lambda: reader.read(5), lambda: reader.feed_data(b"data"), b"data"),
            "readline": (reader.readline, lambda: reader.feed_data(b"a\n"), b"a\n"),
            "sleep": (lambda: world.sleep(0.01, "slept"), lambda: None, "slept"),
            "wait_for": (lambda: world.wait_for(queue.get(), 60), lambda: queue.put_nowait(1), 1),
        }[kind]
        if kind == "condition":
            condition._lock._locked = True

            def notify():
                condition._lock._locked = True
                condition.notify_all()
                condition.release()

            self.end = notify
        self.coroutine = make()
        self.first = event_loop.create_task(self.coroutine)


KINDS = (
    "get",
    "put",
    "join",
    "event",
    "lock",
    "semaphore",
    "condition",
    "read",
    "readline",
    "sleep",
    "wait_for",
)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_second_task_of_a_coroutine_hears_of_the_first(world, kind):
    waiting = Waiting(kind, world)
    await turns(1)
    second = asyncio.get_running_loop().create_task(waiting.coroutine)
    await turns(2)
    assert not waiting.first.done()
    assert not second.done()
    waiting.end()
    assert await waiting.first == waiting.result
    with pytest.raises(RuntimeError, match=f"^{REUSED}$"):
        await second


@pytest.mark.parametrize("kind", KINDS)
async def test_the_third_task_hears_of_it_as_well(world, kind):
    waiting = Waiting(kind, world)
    await turns(1)
    others = [asyncio.get_running_loop().create_task(waiting.coroutine) for _ in range(2)]
    await turns(2)
    waiting.end()
    assert await waiting.first == waiting.result
    for other in others:
        with pytest.raises(RuntimeError, match=f"^{REUSED}$"):
            await other


@pytest.mark.parametrize("kind", KINDS)
async def test_awaiting_what_a_task_waits_in_is_an_error(world, kind):
    waiting = Waiting(kind, world)

    async def wait():
        return await waiting.coroutine

    await turns(1)
    with pytest.raises(RuntimeError, match=f"^{AWAITED}$"):
        await wait()
    if awaits_in_place(world):
        with pytest.raises(RuntimeError, match=f"^{AWAITED}$"):
            await world.wait_for(waiting.coroutine, 60)
    waiting.end()
    assert await waiting.first == waiting.result


@pytest.mark.parametrize("timeout", [None, 60])
async def test_wait_for_does_not_join_in_a_coroutine_that_a_task_waits_in(world, timeout):
    if not awaits_in_place(world):
        pytest.skip("asyncio's wait_for makes a task before 3.12")
    event = world.Event()

    async def wait():
        await event.wait()
        return "waited"

    coroutine = wait()
    first = asyncio.get_running_loop().create_task(coroutine)
    await turns(1)
    with pytest.raises(RuntimeError, match=f"^{AWAITED}$"):
        await world.wait_for(coroutine, timeout)
    event.set()
    assert await first == "waited"


@pytest.mark.parametrize("kind", KINDS)
async def test_when_the_first_task_is_cancelled_the_second_hears_of_it(world, kind):
    if kind == "wait_for" and not awaits_in_place(world):
        pytest.skip("asyncio's wait_for waits for a task of its own before 3.12")
    waiting = Waiting(kind, world)
    await turns(1)
    second = asyncio.get_running_loop().create_task(waiting.coroutine)
    await turns(2)
    waiting.first.cancel("message")
    with pytest.raises(asyncio.CancelledError, match=r"^message$"):
        await waiting.first
    with pytest.raises(RuntimeError, match=f"^{REUSED}$"):
        await second


@pytest.mark.parametrize("kind", KINDS)
async def test_when_the_second_task_is_cancelled_both_end(world, kind):
    if kind == "wait_for" and not awaits_in_place(world):
        pytest.skip("asyncio's wait_for waits for a task of its own before 3.12")
    waiting = Waiting(kind, world)
    await turns(1)
    second = asyncio.get_running_loop().create_task(waiting.coroutine)
    await turns(2)
    second.cancel()
    outcomes = await asyncio.gather(waiting.first, second, return_exceptions=True)
    # Whoever is cancelled, asyncio tells the first of it: the future that both wait for is cancelled.
    if world.is_ours:
        outcomes.reverse()
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, RuntimeError]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_whose_coroutine_is_closed_hears_of_it(world, kind):
    if not world.is_ours:
        pytest.skip("asyncio's task mostly waits for ever")
    waiting = Waiting(kind, world)
    await turns(1)
    waiting.coroutine.close()
    with pytest.raises(RuntimeError, match=f"^{REUSED}$"):
        await waiting.first


async def test_a_coroutine_that_was_started_by_hand_goes_on_under_a_task(world):
    queue = world.Queue()

    class Steps:
        """Awaits a coroutine that somebody else has begun."""

        def __init__(self, coroutine):
            self.coroutine = coroutine

        def __await__(self):
            yielded = self.coroutine.send(None)
            while True:
                if hasattr(yielded, "_asyncio_future_blocking"):
                    yielded._asyncio_future_blocking = True
                yield yielded
                try:
                    yielded = self.coroutine.send(None)
                except StopIteration as stop:
                    return stop.value

    async def begin(coroutine):
        yielded = coroutine.send(None)
        if hasattr(yielded, "_asyncio_future_blocking"):
            yielded._asyncio_future_blocking = False

    async def go_on(coroutine):
        return await Steps(coroutine)

    coroutine = queue.get()
    await asyncio.create_task(begin(coroutine))
    going_on = asyncio.create_task(go_on(coroutine))
    await turns(2)
    queue.put_nowait("item")
    assert await going_on == "item"
