"""Tasks, futures, timers and what combines them."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from pathlib import Path

ROUNDS = 600
REQUEST: contextvars.ContextVar[int] = contextvars.ContextVar("request", default=-1)


async def main(folder: Path) -> None:
    """All of it, many times over."""
    for number in range(ROUNDS):
        await crawl(number)
        await scatter()
        await deadlines()
        await replies()
        await watch()
    await ticks()
    await from_threads()


async def fetch(page: int) -> list[int]:
    """A page's links: the children of a node in a heap, after a turn of the loop or two."""
    REQUEST.set(page)
    await asyncio.sleep(0)
    if page % 5 == 0:
        await asyncio.sleep(0.0001)
    assert REQUEST.get() == page
    return [2 * page + 1, 2 * page + 2] if page < 30 else []


async def crawl(number: int) -> None:
    """A group whose tasks start further ones."""
    seen: list[int] = []

    async def visit(page: int) -> None:
        seen.append(page)
        for link in await fetch(page):
            group.create_task(visit(link), name=f"page {link} of {number}" if link % 3 else None)

    async with asyncio.TaskGroup() as group:
        group.create_task(visit(0))
    assert len(seen) == 61


async def half(number: int) -> int:
    """Some work in several steps, each of which another coroutine does."""
    total = 0
    for _ in range(3):
        total += await step(number)
    return total


async def step(number: int) -> int:
    """A step that only at times has to wait."""
    if number % 2:
        await asyncio.sleep(0)
    return number


async def broken(number: int) -> int:
    """Fails, at times late."""
    if number % 2:
        await asyncio.sleep(0)
    raise LookupError(number)


async def scatter() -> None:
    """Results by gather, wait and as_completed, with failures among them."""
    assert await asyncio.gather(*(half(number) for number in range(40))) == [
        3 * number for number in range(40)
    ]
    mixed = await asyncio.gather(half(1), broken(1), half(2), broken(2), return_exceptions=True)
    assert [type(answer) for answer in mixed] == [int, LookupError, int, LookupError]
    tasks = [asyncio.create_task(half(number)) for number in range(20)]
    done, pending = await asyncio.wait(tasks)
    assert sum(task.result() for task in done) == 570
    assert not pending
    total = 0
    for each in asyncio.as_completed([half(number) for number in range(20)]):
        total += await each
    assert total == 570
    first, others = await asyncio.wait(
        [asyncio.create_task(asyncio.sleep(delay, delay)) for delay in (0, 60, 60)],
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert [task.result() for task in first] == [0]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert all(task.cancelled() for task in others)


async def deadlines() -> None:
    """Time limits that are kept, some that are not, and work that a limit does not reach."""
    for number in range(20):
        async with asyncio.timeout(60):
            assert await half(number) == 3 * number
        assert await asyncio.wait_for(half(number), 60) == 3 * number
        assert await asyncio.shield(half(number)) == 3 * number
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
    except TimeoutError:
        pass
    else:
        raise AssertionError("no TimeoutError")
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.0001)
    except TimeoutError:
        pass
    else:
        raise AssertionError("no TimeoutError")


async def replies() -> None:
    """Futures as protocols use them: made here, completed by callbacks, awaited by several."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[int]] = {}

    async def ask(number: int) -> int:
        future: asyncio.Future[int] = loop.create_future()
        waiting[number] = future
        loop.call_soon(answer, number)
        return await future

    def answer(number: int) -> None:
        future = waiting.pop(number)
        if not future.done():
            if number % 7:
                future.set_result(number)
            else:
                future.set_exception(LookupError(number))

    for number in range(30):
        try:
            assert await ask(number) == number
        except LookupError:
            assert number % 7 == 0
    shared: asyncio.Future[str] = loop.create_future()
    told: list[str] = []
    shared.add_done_callback(lambda done: told.append(done.result()))

    async def follow() -> str:
        return await asyncio.shield(shared)

    followers = [asyncio.create_task(follow()) for _ in range(10)]
    await asyncio.sleep(0)
    followers[0].cancel()
    shared.set_result("news")
    answers = await asyncio.gather(*followers, return_exceptions=True)
    assert answers[1:] == ["news"] * 9
    assert isinstance(answers[0], asyncio.CancelledError)
    assert told == ["news"]


async def watch() -> None:
    """A task that runs on until it is cancelled, and cleans up."""
    ended: list[str] = []

    async def beat() -> None:
        try:
            for number in itertools.count():
                await asyncio.sleep(0 if number < 10 else 60)
        finally:
            await asyncio.sleep(0)
            ended.append("clean")

    task = asyncio.create_task(beat())
    for _ in range(15):
        await asyncio.sleep(0)
    assert asyncio.current_task() in asyncio.all_tasks()
    assert task in asyncio.all_tasks()
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError:
        pass
    assert task.cancelled()
    assert ended == ["clean"]


async def ticks() -> None:
    """Callbacks at once and later; most of those later are cancelled, as limits of idle connections are."""
    loop = asyncio.get_running_loop()
    count = 0
    limit: asyncio.TimerHandle | None = None

    def received(left: int) -> None:
        nonlocal count, limit
        count += 1
        if limit is not None:
            limit.cancel()
        limit = loop.call_later(5 + left % 3, received, -1)
        if left > 0:
            loop.call_soon(received, left - 1)
        elif not finished.done():
            limit.cancel()
            finished.set_result(None)

    finished: asyncio.Future[None] = loop.create_future()
    loop.call_soon(received, 20_000)
    await finished
    assert count == 20_001
    late, all_late = 0, asyncio.Event()

    def called(last: int) -> None:
        nonlocal late
        late += 1
        if late == last:
            all_late.set()

    for number in range(2_000):
        loop.call_at(loop.time() + number % 10 / 1000, called, 2_000)
    await asyncio.gather(*(asyncio.sleep(number % 7 / 1000) for number in range(2_000)))
    await all_late.wait()


async def from_threads() -> None:
    """What other threads ask for."""
    loop = asyncio.get_running_loop()
    got: list[int] = []

    ended = asyncio.Event()

    def produce() -> None:
        for number in range(5_000):
            loop.call_soon_threadsafe(got.append, number)
        assert asyncio.run_coroutine_threadsafe(half(5), loop).result(60) == 15
        loop.call_soon_threadsafe(ended.set)

    thread = threading.Thread(target=produce)
    thread.start()
    await ended.wait()
    thread.join()
    assert got == list(range(5_000))
    for number in range(300):
        assert await asyncio.to_thread(abs, -number) == number
        assert await loop.run_in_executor(None, abs, -number) == number
