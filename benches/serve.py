"""One server on one loop, in a process of its own: `python benches/serve.py LOOP SERVER [--cpu N]`.

It listens on a free port of 127.0.0.1, prints `{"port": ..., "pid": ...}` when it can be connected to, and
serves until it is killed. `load.py` starts it; by hand it is good for profiling one loop under `sabio-load`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any, cast

import loops

#: Server -> module that holds it, so that a TCP row does not import an HTTP framework.
SERVERS = {
    "protocol": "tcp_servers",
    "buffered": "tcp_servers",
    "streams": "tcp_servers",
    "sock": "tcp_servers",
    "http": "tcp_servers",
    "uvicorn": "http_servers",
    "uvicorn_tls": "http_servers",
    "aiohttp": "http_servers",
    "https": "tls_servers",
}

#: Servers made of more than the loop: there a package's own objects stand in the place of asyncio's.
INSTALLED = {"streams"}

#: What a server calls, with its port, once it can be connected to.
Started = Callable[[int], None]
Server = Callable[[Started], Coroutine[Any, Any, None]]


def main() -> None:
    """Serves as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=loops.NAMES)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--cpu", type=int, help="run on this core only")
    given = parser.parse_args()
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})
    if given.server in INSTALLED:
        loops.install(given.loop)
    serve = cast(Server, getattr(importlib.import_module(SERVERS[given.server]), given.server))
    with asyncio.Runner(loop_factory=loops.factory(given.loop)) as runner:
        runner.run(serve(announce))


def announce(port: int) -> None:
    """Tells whoever started this process where it listens."""
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    main()
