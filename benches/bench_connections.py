"""What an idle connection weighs: plain, with streams, and over TLS.

The figure is the growth of the process's resident memory, divided by the connections that made it grow: 5,000 plain
ones or 1,000 over TLS, each used once. Only one side is in the process that is weighed.

    python benches/bench_connections.py [--loops A B] [--rows X Y] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import idle_connections
import loops
import options
from rounds import Row

TITLE = "Idle connections: bytes of memory"


def rows(seconds: float) -> list[Row]:
    """The rows, whose length is a number of connections and no time."""
    return idle_connections.rows(loops.with_aiofastnet())


if __name__ == "__main__":
    options.run_alone(TITLE, rows, default_seconds=1.0, description=__doc__ or "")
