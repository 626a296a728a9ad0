"""What the loop itself costs: callbacks, switches between tasks, timers, wake-ups from threads.

Every row runs the same body on every loop, in a fresh process that stays on one core, and counts operations
per second. A process first checks that the loop does the work at all (turns taken in order, cancelled
timers silent), then finds how many operations last long enough, then times that many a few times and keeps
the best: within one process, whatever is not the loop only slows it down.

    python benches/bench_scheduling.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import loops
import options
import scheduling_bodies
from rounds import Row, Sample, run_script

TITLE = "Scheduling and tasks: operations per second on one core"
REPEATS = 3

#: Row -> what sabio means to reach against the best peer.
GOALS = {
    "call_soon": 1.3,
    "sleep(0)": 1.8,
    "sleep(0), own": 1.8,
    "switch 1,000 tasks": 1.5,
    "switch 1,000, own": 1.5,
    "spawn": 1.1,
    "timer, cancel": 1.0,
    "timer, at once": 1.0,
    "timer, 1 ms": 1.0,
    "threadsafe": 1.0,
}


def rows(seconds: float) -> list[Row]:
    """The rows, each timed for at least `seconds` at a time."""
    return [
        Row(
            name=body.name,
            question=body.question,
            unit="op/s",
            higher_is_better=True,
            measure=partial(in_fresh_process, body.name, seconds=seconds),
            goal=GOALS.get(body.name),
        )
        for body in scheduling_bodies.BODIES.values()
    ]


def in_fresh_process(row: str, loop: str, *, seconds: float) -> Sample:
    """Runs one body on one loop in a process of its own."""
    limit = 60 + 30 * seconds * REPEATS
    printed = run_script([str(Path(__file__)), "--child", row, loop, "--seconds", str(seconds)], limit)
    return Sample(printed.pop("value"), printed)


def in_this_process(row: str, name: str, seconds: float) -> dict[str, float]:
    """Checks and times one body on one loop, here and now."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    body = scheduling_bodies.BODIES[row]
    loop = loops.factory(name)()
    try:
        sleep = loops.best_sleep(name) if body.own_sleep else asyncio.sleep
        scheduling_bodies.check(loop, body, sleep)
        count = body.step
        while (took := timed(loop, body, sleep, count)[0]) < seconds:
            # Aim a little past the wanted length, but never trust a short timing too far.
            factor = min(10.0, 1.2 * seconds / max(took, 1e-6))
            count = max(count + body.step, int(count * factor) // body.step * body.step)
        timings = [timed(loop, body, sleep, count) for _ in range(REPEATS)]
    finally:
        loop.close()
    best, processor = min(timings)
    return {"value": count / best, "operations": count, "seconds": best, "processor_share": processor / best}


def timed(
    loop: asyncio.AbstractEventLoop, body: scheduling_bodies.Body, sleep: loops.Sleep, count: int
) -> tuple[float, float]:
    """Seconds by the clock and of processor time that `count` operations take."""
    gc.collect()
    began, processor = time.perf_counter(), time.process_time()
    done = loop.run_until_complete(body.run(loop, count, sleep))
    took = time.perf_counter() - began, time.process_time() - processor
    if done != count:
        raise AssertionError(f"{body.name}: {done} of {count} operations were carried out")
    return took


def main() -> None:
    """Prints the table, or as a child the figures of one body on one loop."""
    if sys.argv[1:2] == ["--child"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("row", choices=scheduling_bodies.BODIES)
        parser.add_argument("loop", choices=loops.FACTORIES)
        parser.add_argument("--seconds", type=float, required=True)
        child = parser.parse_args(sys.argv[2:])
        print(json.dumps(in_this_process(child.row, child.loop, child.seconds)))
    else:
        options.run_alone(TITLE, rows, default_seconds=0.3, description=__doc__ or "")


if __name__ == "__main__":
    main()
