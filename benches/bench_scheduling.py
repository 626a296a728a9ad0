"""What the loop itself costs: callbacks, switches between tasks, timers, wake-ups from threads.

Every row runs the same body on every loop, in a fresh process that stays on one core, and counts operations
per second; `body.py` says how.

    python benches/bench_scheduling.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import sys

import body
import options
import scheduling_bodies
from rounds import Row

TITLE = "Scheduling and tasks: operations per second on one core"

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
    return body.rows(__file__, scheduling_bodies.BODIES, GOALS, seconds)


def main() -> None:
    """Prints the table, or as a child the figures of one body on one loop."""
    if sys.argv[1:2] == [body.CHILD]:
        body.main(sys.argv[2:], scheduling_bodies.BODIES, scheduling_bodies.check)
    else:
        options.run_alone(TITLE, rows, default_seconds=0.3, description=__doc__ or "")


if __name__ == "__main__":
    main()
