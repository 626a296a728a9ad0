"""What a task costs a Dask cluster: scheduler, worker and client on one loop, the loop being the only difference.

All three live in one process and talk over TCP on loopback, so that nothing but their own work is counted. The tasks
do nothing. The figure is the process's user and system time per task.

    python benches/bench_cluster.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import loops
import options
from rounds import Row, Sample, run_script

if TYPE_CHECKING:
    from distributed import Client

TITLE = "Dask: microseconds of processor time per task"

CHILD = "--child"
#: Tasks of one batch; batches follow each other until the time is over.
BATCH = 500


def nothing(number: int) -> int:
    """A task."""
    return number


async def at_once(client: Client) -> None:
    """A batch of tasks that know nothing of each other."""
    got = await client.gather(client.map(nothing, range(BATCH), pure=False))
    if got != list(range(BATCH)):
        raise AssertionError(f"{len(got)} results came, or the wrong ones")


async def in_turn(client: Client) -> None:
    """A tenth of a batch, each task begun when the one before it has ended."""
    for number in range(BATCH // 10):
        if await client.submit(nothing, number, pure=False) != number:
            raise AssertionError(f"task {number} had another result")


#: Row -> what it runs, and of how many tasks that consists.
BODIES: dict[str, tuple[Callable[[Client], Awaitable[None]], int]] = {
    "500 tasks at once": (at_once, BATCH),
    "one task after the other": (in_turn, BATCH // 10),
}


def rows(seconds: float) -> list[Row]:
    """The rows, each measured for at least `seconds` at a time."""
    questions = {
        "500 tasks at once": "client.map over tasks that do nothing, and the gathering of their results",
        "one task after the other": "client.submit of a task that does nothing, and waiting for its result",
    }
    return [
        Row(
            name=name,
            question=question,
            unit="us/task",
            higher_is_better=False,
            measure=partial(in_fresh_process, name, seconds),
        )
        for name, question in questions.items()
    ]


def in_fresh_process(row: str, seconds: float, loop: str) -> Sample:
    """One sample of a row on a loop."""
    printed = run_script([__file__, CHILD, row, loop, "--seconds", str(seconds)], 60 + 10 * seconds)
    return Sample(printed.pop("value"), printed)


async def measured(row: str, seconds: float) -> dict[str, float]:
    """The processor time of a task in microseconds, and how many tasks there were."""
    from distributed import Client, LocalCluster

    run, tasks = BODIES[row]
    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        asynchronous=True,
        dashboard_address=None,
    )
    async with cluster, Client(cluster, asynchronous=True) as client:
        await run(client)
        done, began, processor = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            await run(client)
            done += tasks
        return {"value": (time.process_time() - processor) / done * 1e6, "tasks": done}


def in_this_process(arguments: list[str]) -> None:
    """What a child does: prints the figures of one row on one loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=BODIES)
    parser.add_argument("loop", choices=loops.NAMES)
    parser.add_argument("--seconds", type=float, required=True)
    child = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=loops.factory(child.loop)) as runner:
        print(json.dumps(runner.run(measured(child.row, child.seconds))))


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        in_this_process(sys.argv[2:])
    else:
        options.run_alone(TITLE, rows, default_seconds=2.0, description=__doc__ or "")
