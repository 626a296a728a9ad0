"""What tasks pay for waiting on each other: queues, locks, timeouts, groups of tasks.

Every row runs the same body on every loop; `body.py` says how. The other loops bring no primitives of their own, so
they run asyncio's, and sabio runs after `sabio.install()`.

    python benches/bench_primitives.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import sys

import body
import options
import primitive_bodies
from rounds import Row

TITLE = "Primitives: operations per second on one core"

#: Row -> what sabio means to reach against the best peer.
GOALS = {
    "Queue(1) hand-off": 7.0,
    "Lock, 20 contenders": 6.0,
    "Semaphore, 20 for 5": 5.0,
    "Event": 4.0,
    "Lock nobody holds": 2.5,
    "Queue, unbounded": 2.0,
    "timeout": 3.0,
    "wait_for": 3.0,
    "shield": 2.5,
    "sleep(0)": 4.0,
    "gather of 100": 1.5,
    "as_completed of 100": 1.5,
    "TaskGroup of 100": 1.3,
    "to_thread": 1.0,
}


def rows(seconds: float) -> list[Row]:
    """The rows, each timed for at least `seconds` at a time."""
    return body.rows(__file__, primitive_bodies.BODIES, GOALS, seconds)


def main() -> None:
    """Prints the table, or as a child the figures of one row on one loop."""
    if sys.argv[1:2] == [body.CHILD]:
        body.main(sys.argv[2:], primitive_bodies.BODIES, primitive_bodies.check, install=True)
    else:
        options.run_alone(TITLE, rows, default_seconds=0.3, description=__doc__ or "")


if __name__ == "__main__":
    main()
