"""What things weigh: idle connections, pending timers, waiting tasks, futures, locks and queues.

A figure is the growth of what the process has of memory, divided by the 10,000 things that made it grow (1,000 for
connections over TLS). Memory that was free before is filled first: `memory.py` says how. The other loops bring no
primitives of their own, so they make asyncio's, and sabio makes its own, after `sabio.install()`.

    python benches/bench_memory.py [--loops A B] [--rows X Y] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import sys

import idle_connections
import loops
import memory_bodies
import options
from rounds import Row

TITLE = "Memory: bytes of one of 10,000"


def rows(seconds: float) -> list[Row]:
    """The rows, whose length is a number of things and no time."""
    return [*memory_bodies.rows(__file__), *idle_connections.rows(loops.with_aiofastnet())]


def main() -> None:
    """Prints the table, or as a child what one thing weighs on one loop."""
    if sys.argv[1:2] == [memory_bodies.CHILD]:
        memory_bodies.main(sys.argv[2:])
    else:
        options.run_alone(TITLE, rows, default_seconds=1.0, description=__doc__ or "")


if __name__ == "__main__":
    main()
