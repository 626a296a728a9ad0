"""Runs a set of jobs on a cluster of processes: a Dask scheduler, its workers, and this program as their client.

    python examples/cluster.py                              # asyncio's own event loop in every process
    python -m sabio examples/cluster.py --through sabio     # the same on sabio: each process is `python -m sabio ...`

asyncio is for one process. What needs more processes, or more machines, needs an engine that places the work, moves
the data and survives the loss of a worker. Dask is one, and its scheduler, workers and clients are asyncio programs
themselves. The jobs are always the same, so the program knows what must come out and exits with 1 if anything else
does, or if a process of the cluster runs on another kind of event loop than this one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import dask.bag
from distributed import Client, Worker

#: Seconds that the cluster may take to start, and each of its processes to end.
PATIENCE = 30.0


def kind_of_loop() -> str:
    """The kind of event loop that runs, as `module.Class`."""
    kind = type(asyncio.get_running_loop())
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


async def end(process: asyncio.subprocess.Process) -> None:
    """Asks a process to end, and kills it if it takes too long."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class Cluster:
    """The processes of a cluster on this machine: a scheduler and `workers` workers of one thread each."""

    def __init__(self, workers: int, through: str | None, directory: Path) -> None:
        self.workers = workers
        self.directory = directory
        #: By which a client finds the scheduler: here the file that it writes its address into.
        self.contact = {"scheduler_file": str(directory / "scheduler.json")}
        self._launcher = [sys.executable, *(["-m", through] if through else [])]
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    def launcher(self, name: str) -> list[str]:
        """What starts Python for a process."""
        return self._launcher

    def scheduler_options(self) -> list[str]:
        """Where the scheduler listens, and whom it tells."""
        return ["--scheduler-file", self.contact["scheduler_file"], "--host", "127.0.0.1", "--port", "0"]

    def worker_options(self) -> list[str]:
        """By which a worker finds the scheduler."""
        return ["--scheduler-file", self.contact["scheduler_file"]]

    async def start(self) -> None:
        """Starts all processes; the workers wait for the scheduler, and a client waits for both."""
        await self._launch("scheduler", *self.scheduler_options())
        for number in range(self.workers):
            await self.add_worker(f"worker-{number}")

    async def add_worker(self, name: str) -> None:
        """Starts one more worker."""
        threads = ["--nthreads", "1", "--local-directory", str(self.directory)]
        # A nanny would start the worker by multiprocessing, on a loop of its own choice.
        await self._launch(name, *self.worker_options(), "--name", name, "--no-nanny", *threads)

    async def _launch(self, name: str, *options: str) -> None:
        module = f"distributed.cli.dask_{name.partition('-')[0]}"
        command = [*self.launcher(name), "-m", module, "--no-dashboard", *options]
        with (self.directory / f"{name}.log").open("wb") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)

    async def kill(self, name: str) -> int:
        """Ends a process at once, as a power failure would; its exit code."""
        process = self._processes.pop(name)
        process.kill()
        return await process.wait()

    async def stop(self) -> None:
        """Asks the workers to end, then the scheduler; what does not obey is killed."""
        scheduler = self._processes.pop("scheduler", None)
        await asyncio.gather(*(end(process) for process in self._processes.values()))
        if scheduler is not None:
            await end(scheduler)

    def logs(self) -> str:
        """What the processes said so far."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))


@contextlib.asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[Client]:
    """A client of a cluster whose workers have all come."""
    try:
        await cluster.start()
        async with Client(**cluster.contact, asynchronous=True, timeout=PATIENCE) as client:
            await client.wait_for_workers(cluster.workers, timeout=PATIENCE)
            yield client
    except BaseException:
        print(cluster.logs(), file=sys.stderr)
        raise
    finally:
        await cluster.stop()


def square(number: int) -> int:
    """A task that costs nothing but its journey."""
    return number * number


def square_slowly(number: int) -> int:
    """The same with some work, so that a worker can be lost in the middle of many."""
    time.sleep(0.01)
    return number * number


def sleep_long(number: int) -> int:
    """A task that nobody waits for."""
    time.sleep(0.05)
    return number


class Counter:
    """An actor: a state that lives on one worker and is changed by messages."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, number: int) -> None:
        """Adds to the sum."""
        self.value += number

    def total(self) -> int:
        """The sum."""
        return self.value


async def map_job(cluster: Cluster, client: Client) -> int:
    """Many small tasks."""
    return sum(await client.gather(client.map(square, range(1_000))))


async def shuffle_job(cluster: Cluster, client: Client) -> list[tuple[int, int]]:
    """Data that has to move between all workers: numbers grouped by their remainder."""
    numbers = dask.bag.from_sequence(range(5_000), npartitions=10)
    groups = numbers.groupby(lambda number: number % 7, shuffle="tasks")
    sums = groups.map(lambda group: (group[0], sum(group[1])))
    return sorted(await client.compute(sums))


async def actors_job(cluster: Cluster, client: Client) -> list[int]:
    """State on the workers: three counters, each told the same hundred numbers."""
    counters = await asyncio.gather(*(client.submit(Counter, actor=True, pure=False) for _ in range(3)))
    for number in range(100):
        await asyncio.gather(*(counter.add(number) for counter in counters))
    return list(await asyncio.gather(*(counter.total() for counter in counters)))


async def chain_job(cluster: Cluster, client: Client) -> int:
    """Futures that depend on futures: sums of pairs until one is left."""
    layer = client.map(square, range(256))
    while len(layer) > 1:
        layer = [
            client.submit(lambda left, right: left + right, *layer[i : i + 2])
            for i in range(0, len(layer), 2)
        ]
    return int(await layer[0])


async def cancel_job(cluster: Cluster, client: Client) -> tuple[int, int]:
    """Half of the tasks are given up: how many ended, and how many were cancelled."""
    futures = client.map(sleep_long, range(20), pure=False)
    await client.cancel(futures[10:])
    ended = await client.gather(futures[:10])
    return len(ended), sum(future.cancelled() for future in futures)


async def loss_job(cluster: Cluster, client: Client) -> tuple[int, int, int]:
    """A worker is killed with work in its hands: its exit code, the result all the same, and who is left."""
    futures = client.map(square_slowly, range(300), pure=False)
    await futures[0]
    code = await cluster.kill("worker-0")
    total = sum(await client.gather(futures))
    async with asyncio.timeout(PATIENCE):
        while len(await client.nthreads()) > cluster.workers - 1:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.05)
    return code, total, len(await client.nthreads())


async def executor_job(cluster: Cluster, client: Client) -> tuple[int, int]:
    """The cluster in the place of a pool of threads: `run_in_executor` and `wrap_future`."""
    loop = asyncio.get_running_loop()
    with await asyncio.to_thread(Client, **cluster.contact) as blocking:
        executor = blocking.get_executor()
        ran = await loop.run_in_executor(executor, square, 12)
        wrapped = await asyncio.wrap_future(executor.submit(square, 13))
    return ran, wrapped


Job = Callable[[Any, Client], Awaitable[Any]]

#: The jobs in their order, and what must come out.
JOBS: dict[str, tuple[Job, Any]] = {
    "map": (map_job, sum(n * n for n in range(1_000))),
    "shuffle": (shuffle_job, [(rest, sum(range(rest, 5_000, 7))) for rest in range(7)]),
    "actors": (actors_job, [4_950] * 3),
    "chain": (chain_job, sum(n * n for n in range(256))),
    "cancel": (cancel_job, (10, 10)),
    "executor": (executor_job, (144, 169)),
}

#: The last job: it costs a worker.
LOSS = sum(n * n for n in range(300))


async def loops_of(client: Client) -> dict[str, str]:
    """The kind of event loop in each process of the cluster, by the process's name."""

    async def of_worker(dask_worker: Worker) -> tuple[str, str]:
        return str(dask_worker.name), kind_of_loop()

    async def of_scheduler() -> str:
        return kind_of_loop()

    workers = await client.run(of_worker)
    return {"client": kind_of_loop(), "scheduler": await client.run_on_scheduler(of_scheduler)} | dict(
        sorted(workers.values())
    )


async def run(cluster: Cluster, more: Mapping[str, tuple[Job, Any]] = MappingProxyType({})) -> bool:
    """Runs all jobs, and `more`, on a cluster and prints what came out; whether all of it was right."""
    jobs = JOBS | dict(more) | {"loss": (loss_job, (-signal.SIGKILL, LOSS, cluster.workers - 1))}
    good = True
    async with running(cluster) as client:
        loops = await loops_of(client)
        for name, kind in loops.items():
            print(f"{name} runs on {kind}")
        if len(set(loops.values())) > 1:
            print("these are different kinds of event loops (see --through)", file=sys.stderr)
            good = False
        for name, (job, expected) in jobs.items():
            result = await job(cluster, client)
            print(f"{name}: {result}")
            if result != expected:
                print(f"{name}: {expected} was expected", file=sys.stderr)
                good = False
    return good


def main() -> NoReturn:
    """Reads the command line and runs the jobs."""
    parser = argparse.ArgumentParser(description="run a set of jobs on a cluster of processes")
    parser.add_argument("--workers", type=int, default=3, help="worker processes, at least 2 (3)")
    parser.add_argument("--through", metavar="MODULE", help="start each process as `python -m MODULE ...`")
    options = parser.parse_args()
    if options.workers < 2:
        parser.error("--workers: one worker is killed, so at least 2 are needed")
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(options.workers, options.through, Path(directory))
        sys.exit(0 if asyncio.run(run(cluster)) else 1)


if __name__ == "__main__":
    main()
