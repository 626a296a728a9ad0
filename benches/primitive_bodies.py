"""The bodies of the primitives' rows: plain asyncio, the same lines for every loop.

Each looks its functions up in asyncio when it runs, as programs do, so that it takes what a package has put there.
`check` asks before any timing whether locks and queues serve those first who came first, and whether timeouts end
what they should.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Iterator

from body import Body, batches, expect
from loops import Sleep

CONTENDERS = 20
PERMITS = 5
TOGETHER = 100
BUFFERED = 1000
#: Seconds that never pass.
LONG = 3600.0


async def one() -> int:
    return 1


async def hand_off(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(count):
            await queue.put(number)

    task = loop.create_task(produce())
    received = 0
    for number in range(count):
        received += await queue.get() == number
    await task
    return received


async def unbounded_queue(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue()
    received = 0
    for batch in batches(count, BUFFERED):
        for number in range(batch):
            await queue.put(number)
        for number in range(batch):
            received += await queue.get() == number
            queue.task_done()
        await queue.join()
    return received


def shares(count: int) -> Iterator[int]:
    """`count` in as many parts as there are contenders."""
    return (count * (place + 1) // CONTENDERS - count * place // CONTENDERS for place in range(CONTENDERS))


async def contended_lock(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    lock = asyncio.Lock()
    inside = entered = 0

    async def contend(turns: int) -> None:
        nonlocal inside, entered
        for _ in range(turns):
            async with lock:
                inside += 1
                await asyncio.sleep(0)
                entered += inside == 1
                inside -= 1

    await asyncio.gather(*[contend(share) for share in shares(count)])
    return entered


async def uncontended_lock(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    lock = asyncio.Lock()
    entered = 0
    for _ in range(count):
        async with lock:
            entered += lock.locked()
    return entered


async def semaphore(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    permits = asyncio.Semaphore(PERMITS)
    inside = entered = 0

    async def contend(turns: int) -> None:
        nonlocal inside, entered
        for _ in range(turns):
            async with permits:
                inside += 1
                await asyncio.sleep(0)
                entered += 1 <= inside <= PERMITS
                inside -= 1

    await asyncio.gather(*[contend(share) for share in shares(count)])
    return entered


async def event(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    ball, back = asyncio.Event(), asyncio.Event()
    hits = 0

    async def answer() -> None:
        nonlocal hits
        for _ in range(count // 2):
            await ball.wait()
            ball.clear()
            hits += 1
            back.set()

    task = loop.create_task(answer())
    for _ in range(count // 2):
        ball.set()
        await back.wait()
        back.clear()
        hits += 1
    await task
    return hits


async def timeout(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    ended = 0
    for _ in range(count):
        async with asyncio.timeout(LONG) as limit:
            await asyncio.sleep(0)
        ended += not limit.expired()
    return ended


async def wait_for(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    async def work() -> int:
        await asyncio.sleep(0)
        return 1

    return sum([await asyncio.wait_for(work(), LONG) for _ in range(count)])


async def shield_future(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    total = 0
    for _ in range(count):
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        total += await asyncio.shield(future)
    return total


async def shield_coroutine(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return sum([await asyncio.shield(one()) for _ in range(count)])


async def sleep_zero(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    slept = 0
    for _ in range(count):
        await asyncio.sleep(0)
        slept += 1
    return slept


async def gather(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return sum([sum(await asyncio.gather(*[one() for _ in range(n)])) for n in batches(count, TOGETHER)])


async def as_completed(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    total = 0
    for batch in batches(count, TOGETHER):
        for first in asyncio.as_completed([one() for _ in range(batch)]):
            total += await first
    return total


async def task_group(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    total = 0
    for batch in batches(count, TOGETHER):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one()) for _ in range(batch)]
        total += sum([task.result() for task in tasks])
    return total


async def to_thread(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return sum([await asyncio.to_thread(int, "1") for _ in range(count)])


BODIES = {
    body.name: body
    for body in (
        Body(
            "Queue(1) hand-off", "an item from a task to another through a queue with room for one", hand_off
        ),
        Body(
            "Lock, 20 contenders",
            "a lock held for one turn each by 20 tasks that all want it",
            contended_lock,
        ),
        Body("Semaphore, 20 for 5", "the same with a semaphore of 5", semaphore),
        Body("Event", "two tasks that wake each other through two events, per wake-up", event),
        Body("Lock nobody holds", "`async with` of a free lock", uncontended_lock),
        Body(
            "Queue, unbounded",
            "put of 1,000 items, then get and task_done of each, then join",
            unbounded_queue,
        ),
        Body("timeout", "`async with asyncio.timeout` around one `sleep(0)`", timeout),
        Body("wait_for", "wait_for with a timeout of a coroutine that sleeps for one turn", wait_for),
        Body("shield", "shield of a future that is done in the next turn", shield_future),
        Body("shield, coroutine", "shield of a coroutine that returns at once", shield_coroutine),
        Body("sleep(0)", "one task in a loop of `await asyncio.sleep(0)`", sleep_zero),
        Body("gather of 100", "gather of 100 coroutines that return at once, per coroutine", gather),
        Body("as_completed of 100", "as_completed of 100 such coroutines, per coroutine", as_completed),
        Body("TaskGroup of 100", "a task group with 100 such tasks, per task", task_group),
        Body(
            "to_thread", "to_thread of a function that returns at once, one after the other", to_thread, 100
        ),
    )
}


def check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    """Raises AssertionError unless the primitives keep the promises that the figures rely on."""
    loop.run_until_complete(_check(loop, body, sleep))


async def _check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    seen: list[str] = []
    lock, queue = asyncio.Lock(), asyncio.Queue[str](1)

    async def through_the_lock(name: str) -> None:
        async with lock:
            seen.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*[through_the_lock(name) for name in "abc"])
    expect("who gets the lock", seen, "abc")

    putting = asyncio.gather(*[queue.put(name) for name in "abc"])
    await asyncio.sleep(0)
    expect("items that fit", [str(queue.qsize())], "1")
    expect("items of a queue", [await queue.get() for _ in "abc"], "abc")
    await putting

    never = loop.create_future()
    for ended in (asyncio.wait_for(never, 0.001), asyncio.wait_for(asyncio.Event().wait(), 0.001)):
        try:
            await ended
        except TimeoutError:
            seen.append("timeout")
    expect("what was ended in time", seen[3:], ["timeout", "timeout"])
    expect("the future that was waited for", [str(never.cancelled())], ["True"])

    counted = await body.run(loop, body.step, sleep)
    expect("operations counted", [str(counted)], [str(body.step)])
