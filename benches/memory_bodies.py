"""What the rows about memory make many of: waiting tasks, queues, locks.

Each maker fills a list with what is to be weighed, and the process's resident memory tells the rest: it knows native
memory too, which `sys.getsizeof` does not. Called by `bench_primitives.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import loops
from rounds import Row, Sample, run_script

CHILD = "--weigh"
COUNT = 20_000
#: Made and kept before anything is weighed, so that what is set up once is there.
BEFORE = 500
TIME_LIMIT = 120.0

Maker = Callable[[list[object]], Awaitable[None]]


@dataclass(frozen=True)
class Weight:
    """What is weighed, under the name of its row: `make` replaces every entry of the list it gets."""

    name: str
    question: str
    make: Maker


async def waiting_tasks(places: list[object]) -> None:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[int] = asyncio.Queue()
    waiting = len(places)

    async def wait() -> None:
        await queue.get()

    for place in range(waiting):
        places[place] = loop.create_task(wait())
    for _ in range(3):
        await asyncio.sleep(0)
    if any(task.done() for task in asyncio.all_tasks()) or len(asyncio.all_tasks()) <= waiting:
        raise AssertionError("the tasks do not wait")


async def queues(places: list[object]) -> None:
    for place in range(len(places)):
        places[place] = asyncio.Queue()


async def locks(places: list[object]) -> None:
    for place in range(len(places)):
        places[place] = asyncio.Lock()


WEIGHTS = {
    weight.name: weight
    for weight in (
        Weight(
            "waiting task", "a task that waits in `await queue.get()`, its coroutine included", waiting_tasks
        ),
        Weight("Queue", "a queue that nobody uses yet", queues),
        Weight("Lock", "a lock that nobody holds", locks),
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
        first: list[object] = [None] * BEFORE
        await weight.make(first)
        places: list[object] = [None] * COUNT
        gc.collect()
        before = _resident_bytes()
        await weight.make(places)
        gc.collect()
        after = _resident_bytes()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return after - before

    with asyncio.Runner(loop_factory=loops.factory(name)) as runner:
        grown = runner.run(weigh())
    return {"value": grown / COUNT, "count": COUNT, "grown_bytes": grown}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
