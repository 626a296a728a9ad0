"""Timing bodies: one body on one loop, in a fresh process that stays on one core.

Each body carries out the number of operations it is given and returns how many it counted, so that work which a
loop did not do cannot pass for speed. A process first checks that the loop does the work at all, then finds how
many operations last long enough, then times that many a few times and keeps the best: within one process, whatever
is not the loop only slows it down.

Called by the scripts whose rows are bodies; each starts itself again with `--child` for every measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import loops
from loops import Sleep
from rounds import Row, Sample, run_script

BodyFunction = Callable[[AbstractEventLoop, int, Sleep], Awaitable[int]]

CHILD = "--child"
REPEATS = 3


@dataclass(frozen=True)
class Body:
    """A body under the name of its row. Its counts are multiples of `step`.

    One that waits for the kernel between its operations is measured `by_processor_time`.
    """

    name: str
    question: str
    run: BodyFunction
    step: int = 1000
    own_sleep: bool = False
    unit: str = "op/s"
    by_processor_time: bool = False


#: Raises AssertionError unless the loop does what the body's figure relies on.
Check = Callable[[AbstractEventLoop, Body, Sleep], None]


def batches(count: int, size: int) -> Iterator[int]:
    """The sizes of consecutive batches that make up `count`."""
    while count > 0:
        yield min(count, size)
        count -= size


def expect(what: str, seen: list[str], wanted: str | list[str]) -> None:
    """Raises AssertionError unless `seen` is what was wanted."""
    if seen != list(wanted):
        raise AssertionError(f"{what}: {seen}, not {list(wanted)}")


def rows(
    script: str,
    bodies: Mapping[str, Body],
    goals: Mapping[str, float],
    seconds: float,
    beside: tuple[str, ...] = (),
) -> list[Row]:
    """A row for each body, each timed for at least `seconds` at a time by the given script's children."""
    return [
        Row(
            name=body.name,
            question=body.question,
            unit=body.unit,
            higher_is_better=True,
            measure=partial(_in_fresh_process, script, body.name, seconds),
            goal=goals.get(body.name),
            beside=beside,
        )
        for body in bodies.values()
    ]


def _in_fresh_process(script: str, row: str, seconds: float, loop: str) -> Sample:
    limit = 60 + 30 * seconds * REPEATS
    printed = run_script([str(Path(script)), CHILD, row, loop, "--seconds", str(seconds)], limit)
    return Sample(printed.pop("value"), printed)


def main(
    arguments: Sequence[str], bodies: Mapping[str, Body], check: Check, *, install: bool = False
) -> None:
    """What a child does: prints the figures of one body on one loop.

    With `install`, the loop's package first puts its own objects in the place of asyncio's, if it has any.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=bodies)
    parser.add_argument("loop", choices=loops.NAMES)
    parser.add_argument("--seconds", type=float, required=True)
    child = parser.parse_args(arguments)
    if install:
        loops.install(child.loop)
    print(json.dumps(_in_this_process(bodies[child.row], check, child.loop, child.seconds)))


def _in_this_process(body: Body, check: Check, name: str, seconds: float) -> dict[str, float]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    loop = loops.factory(name)()
    try:
        sleep = loops.best_sleep(name) if body.own_sleep else asyncio.sleep
        check(loop, body, sleep)
        count = body.step
        while (took := _timed(loop, body, sleep, count)[0]) < seconds:
            # Aim a little past the wanted length, but never trust a short timing too far.
            factor = min(10.0, 1.2 * seconds / max(took, 1e-6))
            count = max(count + body.step, int(count * factor) // body.step * body.step)
        timings = [_timed(loop, body, sleep, count) for _ in range(REPEATS)]
    finally:
        loop.close()
    if body.by_processor_time:
        timings = [(processor, processor) for _, processor in timings]
    best, processor = min(timings)
    return {"value": count / best, "operations": count, "seconds": best, "processor_share": processor / best}


def _timed(loop: AbstractEventLoop, body: Body, sleep: Sleep, count: int) -> tuple[float, float]:
    """Seconds by the clock and of processor time that `count` operations take."""
    gc.collect()
    began, processor = time.perf_counter(), time.process_time()
    done = loop.run_until_complete(body.run(loop, count, sleep))
    took = time.perf_counter() - began, time.process_time() - processor
    if done != count:
        raise AssertionError(f"{body.name}: {done} of {count} operations were carried out")
    return took
