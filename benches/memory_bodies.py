"""What the rows about the memory of objects make many of: timers, tasks, futures, locks, queues.

Each maker fills a list with what is to be weighed, and the growth of the process's memory tells the rest: it knows
native memory too, which `sys.getsizeof` does not. The first lot of them only fills what was free before and makes
tables as large as so many need; the second one is weighed. Called by `bench_memory.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import loops
import memory
from rounds import Row, Sample, run_script

CHILD = "--weigh"
COUNT = 10_000
#: A timer that never fires while it is weighed, in seconds.
LATE = 3600.0
TIME_LIMIT = 120.0

Maker = Callable[[list[object]], Awaitable[None]]


@dataclass(frozen=True)
class Weight:
    """What is weighed, under the name of its row: `make` replaces every entry of the list it gets."""

    name: str
    question: str
    make: Maker


async def timers(places: list[object]) -> None:
    loop = asyncio.get_running_loop()
    for place in range(len(places)):
        places[place] = loop.call_later(LATE, _nothing)


def _nothing() -> None:
    """What the timers would call."""


async def waiting_tasks(places: list[object]) -> None:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def wait() -> None:
        await queue.get()

    for place in range(len(places)):
        places[place] = loop.create_task(wait())
    for _ in range(3):
        await asyncio.sleep(0)
    if any(task.done() for task in asyncio.all_tasks()) or len(asyncio.all_tasks()) <= len(places):
        raise AssertionError("the tasks do not wait")


async def futures(places: list[object]) -> None:
    loop = asyncio.get_running_loop()
    for place in range(len(places)):
        places[place] = loop.create_future()


def made_by(make: Callable[[], object]) -> Maker:
    """What needs nothing but to be made."""

    async def fill(places: list[object]) -> None:
        for place in range(len(places)):
            places[place] = make()

    return fill


WEIGHTS = {
    weight.name: weight
    for weight in (
        Weight("pending timer", "a timer of call_later, with a function without arguments", timers),
        Weight(
            "waiting task", "a task that waits in `await queue.get()`, its coroutine included", waiting_tasks
        ),
        Weight("Future", "a future of create_future() that is not done", futures),
        Weight("Lock", "a lock that nobody holds", made_by(lambda: asyncio.Lock())),
        Weight("Event", "an event that is not set", made_by(lambda: asyncio.Event())),
        Weight("Semaphore", "a semaphore that nobody holds", made_by(lambda: asyncio.Semaphore(5))),
        Weight("Condition", "a condition with a lock of its own", made_by(lambda: asyncio.Condition())),
        Weight("Queue", "a queue that nobody uses yet", made_by(lambda: asyncio.Queue())),
    )
}


def rows(script: str) -> list[Row]:
    """A row for each weight, weighed by the given script's children."""
    return [
        Row(
            name=weight.name,
            question=weight.question,
            unit="bytes",
            higher_is_better=False,
            measure=partial(_in_fresh_process, script, weight.name),
        )
        for weight in WEIGHTS.values()
    ]


def _in_fresh_process(script: str, row: str, loop: str) -> Sample:
    printed = run_script([str(Path(script)), CHILD, row, loop], TIME_LIMIT)
    return Sample(printed.pop("value"), printed)


def main(arguments: Sequence[str], weights: Mapping[str, Weight] = WEIGHTS) -> None:
    """What a child does: prints the bytes that one of them takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=weights)
    parser.add_argument("loop", choices=loops.FACTORIES)
    child = parser.parse_args(arguments)
    loops.install(child.loop)
    print(json.dumps(_weigh(weights[child.row], child.loop)))


def _weigh(weight: Weight, name: str) -> dict[str, float]:
    async def weigh() -> int:
        lots: list[list[object]] = [[None] * COUNT for _ in range(2)]
        filling = memory.fill()
        await weight.make(lots[0])
        before = memory.anonymous_bytes()
        await weight.make(lots[1])
        after = memory.anonymous_bytes()
        del filling
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return after - before

    with asyncio.Runner(loop_factory=loops.factory(name)) as runner:
        grown = runner.run(weigh())
    return {"value": grown / COUNT, "count": COUNT, "grown_bytes": grown}
