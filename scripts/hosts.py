"""Runs a Dask cluster whose client, scheduler and workers are on hosts of their own (`make hosts`).

The hosts are network namespaces of this machine (`hosts_network.py`). The jobs are those of `examples/cluster.py`, and
two more (`hosts_program.py`): they are run on asyncio and then on sabio, where every process says on which loop it is,
and must give the same. A worker is killed with work in its hands, and the cable of another one is pulled.

Needs root and iproute2; says loudly that nothing was run where that cannot be done. Exits with 1 if a job gives
anything else than it must.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import interpreters
from hosts_network import Network, Unavailable

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 3
#: The client's host, the scheduler's, those of the workers, and that of the one which joins later.
HOSTS = ("client", "scheduler", *(f"worker-{number}" for number in range(WORKERS + 1)))
#: Seconds for the jobs on one kind of loop.
LIMIT = 400.0
#: How long Dask takes silence for a pause, instead of 30 seconds. It refuses less than 11 seconds for a connection.
SETTINGS = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",
}
#: The kind of loop that each way of starting a process gives.
WAYS = {"asyncio": (), "sabio": ("-m", "sabio")}


def run(network: Network, way: str) -> str:
    """What the program prints when each of its processes is started in one way. Ends this program if it fails."""
    through = ["--through", "sabio"] if way == "sabio" else []
    program = ROOT / "scripts" / "hosts_program.py"
    command: list[str | Path] = [*network.on("client"), sys.executable, *WAYS[way], program, *through]
    command += ["--workers", str(WORKERS), network.prefix, *network.hosts]
    paths = os.pathsep.join(str(ROOT / name) for name in ("scripts", "examples"))
    environment = interpreters.clean_environment() | SETTINGS | {"PYTHONPATH": paths}
    print(f"\n== on {way}", flush=True)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as jobs:
        try:
            output, _ = jobs.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            jobs.kill()
            output, _ = jobs.communicate()
            sys.exit(f"{output}hosts: no end after {LIMIT:.0f} seconds on {way}")
    print(output, end="", flush=True)
    if jobs.returncode != 0:
        sys.exit(f"hosts: the jobs failed on {way}")
    return output


def loops(output: str) -> list[str]:
    """The kinds of loops that the processes have named."""
    return re.findall(r"^.+ runs on (.+)$", output, re.MULTILINE)


def results(output: str) -> list[str]:
    """What the jobs gave, a line each."""
    return [line for line in output.splitlines() if " runs on " not in line]


def compare(plain: str, native: str) -> list[str]:
    """What is wrong with the output on asyncio and on sabio, taken together."""
    wrong = []
    kinds = loops(native)
    if kinds != ["sabio.Loop"] * (WORKERS + 2):
        wrong.append(f"not every process was on sabio: {kinds}")
    kinds = loops(plain)
    if len(kinds) != WORKERS + 2 or not all(kind.startswith("asyncio.") for kind in kinds):
        wrong.append(f"not every process was on asyncio: {kinds}")
    if results(plain) != results(native):
        wrong.append("the results differ")
    return wrong


def main() -> None:
    """Makes the hosts and runs the jobs on them."""
    network = Network(f"sabio-{os.getpid()}", HOSTS)
    try:
        with network.up():
            wrong = compare(run(network, "asyncio"), run(network, "sabio"))
    except Unavailable as reason:
        print(
            f"\n!!! NOT RUN: this machine gives no hosts: {reason}\n!!! It takes root and iproute2.",
            flush=True,
        )
        return
    if wrong:
        sys.exit("\n".join(["", *(f"hosts: {each}" for each in wrong)]))
    print("\nhosts: all jobs gave the same on asyncio and on sabio, every process on a host of its own")


if __name__ == "__main__":
    # An end by a signal must take the hosts away, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("hosts: ended by a signal"))
    main()
