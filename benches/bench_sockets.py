"""What sockets of other kinds cost, and what connections do: UDP, Unix, connecting and closing, much data over TCP.

Every row runs the same body on every loop, client and server in one process that stays on one core, and counts work per
second of that process's time; `body.py` says how.

    python benches/bench_sockets.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import sys

import body
import options
import socket_bodies
from rounds import Row

TITLE = "Sockets: work per second of processor time"

#: Row -> what sabio means to reach against the best peer.
GOALS = {
    "UDP echo, one peer": 1.5,
    "UDP echo, 64 peers": 1.5,
    "Unix echo": 1.0,
    "connect and close": 1.1,
    "TCP bulk": 1.0,
}


def rows(seconds: float) -> list[Row]:
    """The rows, each timed for at least `seconds` at a time."""
    return body.rows(__file__, socket_bodies.BODIES, GOALS, seconds)


def main() -> None:
    """Prints the table, or as a child the figures of one body on one loop."""
    if sys.argv[1:2] == [body.CHILD]:
        body.main(sys.argv[2:], socket_bodies.BODIES, socket_bodies.check)
    else:
        options.run_alone(TITLE, rows, default_seconds=0.5, description=__doc__ or "")


if __name__ == "__main__":
    main()
