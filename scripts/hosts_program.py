"""The jobs of `examples/cluster.py` with each process of the cluster on a host of its own.

It is started by `hosts.py`, on the host of the client, and starts the scheduler and the workers on theirs. Beside the
jobs of the example it pulls the cable of a worker that has work in its hands, and lets another host join. It also fails
if two processes are on the same host.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import cluster
from distributed import Client
from hosts_network import Network

PORT = 8786


class Hosts(cluster.Cluster):
    """A cluster whose scheduler and workers are each on the host of their name."""

    def __init__(self, workers: int, through: str | None, directory: Path, network: Network) -> None:
        super().__init__(workers, through, directory)
        self.network = network
        self.contact = {"address": f"tcp://{network.address('scheduler')}:{PORT}"}

    def launcher(self, name: str) -> list[str]:
        """Python on the host of a process."""
        return [*self.network.on(name), *super().launcher(name)]

    def scheduler_options(self) -> list[str]:
        """The scheduler listens where all hosts reach it."""
        return ["--host", self.contact["address"]]

    def worker_options(self) -> list[str]:
        """The scheduler's address. A worker listens where it reaches the scheduler from."""
        return [self.contact["address"]]


async def places_job(hosts: Hosts, client: Client) -> list[str]:
    """On which host each process is, by what the process itself says; the networks must all be different ones."""

    def place(dask_worker: Any = None, dask_scheduler: Any = None) -> tuple[str, str, str]:
        process = dask_worker or dask_scheduler
        return str(getattr(process, "name", "")), process.address, os.readlink("/proc/self/ns/net")

    _, address, network = await client.run_on_scheduler(place)
    found = [("scheduler", address, network), *(await client.run(place)).values()]
    networks = {os.readlink("/proc/self/ns/net"), *(network for _, _, network in found)}
    if len(networks) != len(found) + 1:
        sys.exit(f"{len(found) + 1} processes are on {len(networks)} hosts")
    return sorted(f"{name} {address.split('//')[1].split(':')[0]}" for name, address, _ in found)


async def cut_job(hosts: Hosts, client: Client) -> tuple[int, int]:
    """A worker's cable is pulled with work in its hands: the result all the same, and who is left with a new host."""
    futures = client.map(cluster.square_slowly, range(300), pure=False)
    await futures[0]
    hosts.network.unplug("worker-1")
    total = sum(await client.gather(futures))
    await workers_become(client, hosts.workers - 1)
    await hosts.add_worker(f"worker-{hosts.workers}")
    await workers_become(client, hosts.workers)
    # The old one learns now that nobody has waited for it.
    hosts.network.plug("worker-1")
    return total, len(await client.nthreads())


async def workers_become(client: Client, number: int) -> None:
    """Waits for so many workers to be there. TimeoutError if they do not come, or do not go."""
    async with asyncio.timeout(cluster.PATIENCE):
        while len(await client.nthreads()) != number:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.05)


async def run(workers: int, through: str | None, network: Network) -> bool:
    """Runs all jobs; whether all came out as they must."""
    names = ["scheduler", *(f"worker-{number}" for number in range(workers))]
    places = [f"{name} {network.address(name)}" for name in names]
    with tempfile.TemporaryDirectory() as directory:
        hosts = Hosts(workers, through, Path(directory), network)
        more = {"places": (places_job, places), "cut": (cut_job, (cluster.LOSS, workers))}
        return await cluster.run(hosts, more)


def main() -> NoReturn:
    """Reads the command line and runs the jobs."""
    parser = argparse.ArgumentParser(description="run the jobs of a cluster on hosts of their own")
    parser.add_argument("--through", metavar="MODULE", help="start each process as `python -m MODULE ...`")
    parser.add_argument("--workers", type=int, required=True, help="workers at the beginning")
    parser.add_argument("prefix", help="of the namespaces' names")
    parser.add_argument("hosts", nargs="+", help="the names of all hosts, in the order of their addresses")
    options = parser.parse_args()
    network = Network(options.prefix, options.hosts)
    began = time.monotonic()
    good = asyncio.run(run(options.workers, options.through, network))
    print(f"{time.monotonic() - began:.1f} seconds", file=sys.stderr)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
