"""The bodies of the scheduling rows: plain asyncio, the same lines for every loop.

`check` asks before any timing whether turns, timers and callbacks come in the order that asyncio's documentation
promises.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from asyncio import AbstractEventLoop
from collections.abc import Sequence

from body import Body, batches, expect
from loops import Sleep

TASKS = 1000
GATHERED = 100
CALLS_A_BATCH = 1000
TIMERS_A_BATCH = 20_000
CANCELLED_A_BATCH = 100
NUMERIC = ("127.0.0.1", 80)


async def call_soon_chain(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    done = loop.create_future()
    called = 0

    def step() -> None:
        nonlocal called
        called += 1
        if called < count:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done
    return called


async def sleep_zero(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    slept = 0
    for _ in range(count):
        await sleep(0)
        slept += 1
    return slept


async def switch_tasks(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    async def one() -> int:
        slept = 0
        for _ in range(count // TASKS):
            await sleep(0)
            slept += 1
        return slept

    return sum(await asyncio.gather(*[one() for _ in range(TASKS)]))


async def spawn(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    async def one() -> int:
        return 1

    total = 0
    for _ in range(count):
        total += await loop.create_task(one())
    return total


async def timer_cancel(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    fired = 0
    cancelled = 0

    def fire() -> None:
        nonlocal fired
        fired += 1

    for batch in batches(count, CANCELLED_A_BATCH):
        for _ in range(batch):
            handle = loop.call_later(3600, fire)
            handle.cancel()
        cancelled += batch if handle.cancelled() else 0
        # Gives the loop its chance to forget what was cancelled, as a program's own awaits would.
        await asyncio.sleep(0)
    return cancelled - fired


async def timer_at_once(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return await timers(loop, count, 0, CALLS_A_BATCH)


async def timer_soon(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return await timers(loop, count, 0.001, TIMERS_A_BATCH)


async def timers(loop: AbstractEventLoop, count: int, delay: float, size: int) -> int:
    fired = 0
    for batch in batches(count, size):
        done = loop.create_future()
        last = fired + batch

        def fire(done: asyncio.Future[None] = done, last: int = last) -> None:
            nonlocal fired
            fired += 1
            if fired == last:
                done.set_result(None)

        for _ in range(batch):
            loop.call_later(delay, fire)
        await done
    return fired


async def threadsafe(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    called = 0
    for batch in batches(count, CALLS_A_BATCH):
        done = loop.create_future()
        last = called + batch

        def call(done: asyncio.Future[None] = done, last: int = last) -> None:
            nonlocal called
            called += 1
            if called == last:
                done.set_result(None)

        for _ in range(batch):
            loop.call_soon_threadsafe(call)
        await done
    return called


async def threadsafe_from_thread(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    called = 0
    done = loop.create_future()

    def call() -> None:
        nonlocal called
        called += 1
        if called == count:
            done.set_result(None)

    def feed() -> None:
        for _ in range(count):
            loop.call_soon_threadsafe(call)

    feeder = threading.Thread(target=feed)
    feeder.start()
    await done
    feeder.join()
    return called


async def gather(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    async def one() -> int:
        return 1

    total = 0
    for batch in batches(count, GATHERED):
        total += sum(await asyncio.gather(*[one() for _ in range(batch)]))
    return total


async def resolve(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return sum([_is_numeric(await loop.getaddrinfo(*NUMERIC)) for _ in range(count)])


async def resolve_stream(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    kind = socket.SOCK_STREAM
    return sum([_is_numeric(await loop.getaddrinfo(*NUMERIC, type=kind)) for _ in range(count)])


def _is_numeric(infos: Sequence[tuple[int, int, int, str, tuple[object, ...]]]) -> bool:
    return infos[0][4] == NUMERIC


BODIES = {
    body.name: body
    for body in (
        Body("call_soon", "a callback that schedules itself again with call_soon", call_soon_chain),
        Body("sleep(0)", "one task in a loop of `await asyncio.sleep(0)`", sleep_zero),
        Body(
            "sleep(0), own",
            "the same with the quickest sleep the loop's package has: sabio.sleep, asyncio.sleep elsewhere",
            sleep_zero,
            own_sleep=True,
        ),
        Body(
            "switch 1,000 tasks",
            "1,000 tasks that take turns through `await asyncio.sleep(0)`",
            switch_tasks,
            TASKS,
        ),
        Body(
            "switch 1,000, own",
            "the same with the quickest sleep the loop's package has",
            switch_tasks,
            TASKS,
            own_sleep=True,
        ),
        Body("spawn", "make a task that returns at once, and await it", spawn),
        Body("gather of 100", "asyncio.gather of 100 coroutines that return at once, per coroutine", gather),
        Body(
            "timer, cancel", "call_later in an hour, cancelled at once, 100 between two turns", timer_cancel
        ),
        Body("timer, at once", "call_later(0) that fires, 1,000 waiting at a time", timer_at_once),
        Body(
            "timer, 1 ms",
            "call_later(0.001) that fires, 20,000 waiting at a time",
            timer_soon,
            TIMERS_A_BATCH,
        ),
        Body("threadsafe", "call_soon_threadsafe from the loop's own thread, 1,000 at a time", threadsafe),
        Body("threadsafe, thread", "call_soon_threadsafe from one other thread", threadsafe_from_thread),
        Body("getaddrinfo", "loop.getaddrinfo of a numeric host and a port", resolve),
        Body("getaddrinfo, type", "the same with type=SOCK_STREAM", resolve_stream),
    )
}


def check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    """Raises AssertionError unless the loop keeps the order that the body's figure relies on."""
    loop.run_until_complete(_check(loop, body, sleep))


async def _check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    seen: list[str] = []

    async def turns(name: str) -> None:
        for _ in range(3):
            seen.append(name)
            await sleep(0)

    await asyncio.gather(turns("a"), turns("b"))
    expect("tasks that take turns", seen, "ababab")
    seen.clear()

    for call in (loop.call_soon, loop.call_soon_threadsafe):
        for name in "abc":
            call(seen.append, name)
        await asyncio.sleep(0.001)
        expect(f"callbacks of {call.__name__}", seen, "abc")
        seen.clear()

    loop.call_later(0.015, seen.append, "b")
    loop.call_later(0.001, seen.append, "a")
    loop.call_later(0.010, seen.append, "x").cancel()
    await asyncio.sleep(0.03)
    expect("timers", seen, "ab")

    counted = await body.run(loop, body.step, sleep)
    expect("operations counted", [str(counted)], [str(body.step)])
