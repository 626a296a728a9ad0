"""What pipes and processes cost: MiB through a pipe, and small programs started, per second of processor time.

The time is that of the process itself, user and system; what the started programs take is not counted. The other loops
bring no streams of their own, so they run asyncio's, and sabio runs after `sabio.install()`.

    python benches/bench_processes.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import sys

import body
import options
import process_bodies
from rounds import Row

TITLE = "Pipes and processes: MiB and programs per second of processor time"

#: Row -> what sabio means to reach against the best peer.
GOALS = {
    "pipe, MiB": 1.2,
    "spawn and wait, one by one": 1.0,
    "spawn and communicate, 20 at once": 1.0,
}


def rows(seconds: float) -> list[Row]:
    """The rows, each timed for at least `seconds` at a time."""
    return body.rows(__file__, process_bodies.BODIES, GOALS, seconds)


def main() -> None:
    """Prints the table, or as a child the figures of one row on one loop."""
    if sys.argv[1:2] == [body.CHILD]:
        body.main(sys.argv[2:], process_bodies.BODIES, process_bodies.check, install=True)
    else:
        options.run_alone(TITLE, rows, default_seconds=0.5, description=__doc__ or "")


if __name__ == "__main__":
    main()
