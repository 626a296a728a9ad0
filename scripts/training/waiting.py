"""Queues, locks and the other things that tasks wait for each other with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

ROUNDS = 400


async def main(folder: Path) -> None:
    """All of it, many times over."""
    for _ in range(ROUNDS):
        await workers(asyncio.Queue(maxsize=4))
        await workers(asyncio.PriorityQueue())
        await workers(asyncio.LifoQueue(maxsize=1))
        await relay()
        await accounts()
        await limited()
        await signals()
        await phases()
        await cancelled()


async def workers(queue: asyncio.Queue[int]) -> None:
    """Three workers that share a queue, whose end they are told by cancelling."""
    done: list[int] = []

    async def work() -> None:
        while True:
            job = await queue.get()
            if job % 10 == 0:
                await asyncio.sleep(0)
            done.append(job)
            queue.task_done()

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    for job in range(200):
        await queue.put(job)
    await queue.join()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(done) == list(range(200))


async def relay() -> None:
    """A pipeline of stages, each with a queue before it; None ends it."""
    stages: list[asyncio.Queue[int | None]] = [asyncio.Queue(1) for _ in range(4)]

    async def stage(number: int) -> None:
        while (item := await stages[number].get()) is not None:
            await stages[number + 1].put(item + 1)
        await stages[number + 1].put(None)

    async def source() -> None:
        for item in range(100):
            await stages[0].put(item)
        await stages[0].put(None)

    async with asyncio.TaskGroup() as group:
        group.create_task(source())
        for number in range(3):
            group.create_task(stage(number))
        got = [item async for item in drained(stages[3])]
    assert got == list(range(3, 103))
    free: asyncio.Queue[int] = asyncio.Queue()
    for item in range(100):
        free.put_nowait(item)
        assert free.qsize() == 1
        assert await free.get() == item
        assert free.empty()


async def drained(queue: asyncio.Queue[int | None]) -> AsyncIterator[int]:
    """What comes before None."""
    while (item := await queue.get()) is not None:
        yield item


async def accounts() -> None:
    """Money goes round; a lock for each account, taken in their order."""
    balances = [100] * 5
    locks = [asyncio.Lock() for _ in balances]

    async def transfer(start: int) -> None:
        for turn in range(20):
            low, high = sorted(((start + turn) % 5, (start + 2 * turn + 1) % 5))
            if low == high:
                continue
            async with locks[low], locks[high]:
                balances[low] -= 1
                if turn % 3 == 0:
                    await asyncio.sleep(0)
                balances[high] += 1

    await asyncio.gather(*(transfer(start) for start in range(10)))
    assert sum(balances) == 500
    assert not any(lock.locked() for lock in locks)


async def limited() -> None:
    """At most three at a time."""
    gate = asyncio.Semaphore(3)
    bounded = asyncio.BoundedSemaphore(2)
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with gate:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            async with bounded:
                await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(40)))
    assert most == 3
    assert inside == 0


async def signals() -> None:
    """Who waits for an event, and for a condition to come true."""
    started, heard = asyncio.Event(), 0
    condition, stock = asyncio.Condition(), 0

    async def listen() -> None:
        nonlocal heard
        await started.wait()
        heard += 1

    async def take() -> None:
        nonlocal stock
        async with condition:
            await condition.wait_for(lambda: stock > 0)
            stock -= 1

    takers = [asyncio.create_task(take()) for _ in range(20)]
    listeners = [asyncio.create_task(listen()) for _ in range(20)]
    await asyncio.sleep(0)
    started.set()
    await started.wait()
    for amount in (1, 4, 15):
        async with condition:
            stock += amount
            condition.notify(amount) if amount < 10 else condition.notify_all()
        await asyncio.sleep(0)
    await asyncio.gather(*takers, *listeners)
    assert heard == 20
    assert stock == 0
    ping, pong = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        for _ in range(50):
            await ping.wait()
            ping.clear()
            pong.set()

    answering = asyncio.create_task(other())
    for _ in range(50):
        ping.set()
        await pong.wait()
        pong.clear()
    await answering


async def phases() -> None:
    """Four that go on together."""
    barrier, order = asyncio.Barrier(4), []

    async def go() -> None:
        for phase in range(5):
            order.append(phase)
            await barrier.wait()

    await asyncio.gather(*(go() for _ in range(4)))
    assert order == sorted(order)


async def cancelled() -> None:
    """Waiters that give up at each of these, and those after them that get what they waited for."""
    lock, gate, event = asyncio.Lock(), asyncio.Semaphore(0), asyncio.Event()
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    await lock.acquire()
    for _ in range(5):
        first = [asyncio.create_task(wait()) for wait in (lock.acquire, gate.acquire, event.wait, queue.get)]
        second = [asyncio.create_task(wait()) for wait in (lock.acquire, gate.acquire, event.wait, queue.get)]
        await asyncio.sleep(0)
        for task in first:
            task.cancel()
        lock.release()
        gate.release()
        event.set()
        await queue.put(7)
        assert await asyncio.gather(*second) == [True, True, True, 7]
        assert all(isinstance(error, asyncio.CancelledError) for error in await ended(first))
        event.clear()


async def ended(tasks: Sequence[asyncio.Task[Any]]) -> list[object]:
    """How tasks ended."""
    return list(await asyncio.gather(*tasks, return_exceptions=True))
