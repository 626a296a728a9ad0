"""What TLS costs: requests over HTTPS, handshakes, and much data.

The server rows are those of `bench_tcp.py` and `bench_http.py` over TLS: 64 connections on loopback, the figure is the
server's own user and system time per request. In the other rows client and server share a process, and the figure
is handshakes or MiB per second of its processor time. Beside the loops stand asyncio and uvloop with the transports of
aiofastnet, where that is installed.

    python benches/bench_tls.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import sys
from functools import partial

import body
import loops
import options
import tls_bodies
from load import THROUGHPUT, serve_and_load
from rounds import Row
from tls_servers import LOCALHOST

TITLE = "TLS: microseconds of the server's processor time per request, and work per second of processor time"

#: Row -> what sabio means to reach against the best peer.
GOALS = {"handshakes": 1.0, "bulk": 1.3}


def rows(seconds: float) -> list[Row]:
    """The rows, each loaded or timed for `seconds` at a time."""
    servers = {
        "HTTPS, smallest Protocol": ("https", "a Protocol that answers each GET with its target"),
        "uvicorn": (
            "uvicorn_tls",
            "uvicorn with httptools and an ASGI application that answers with the path",
        ),
    }
    beside = loops.with_aiofastnet()
    return [
        *[
            Row(
                name=name,
                question=question,
                unit="us/request",
                higher_is_better=False,
                measure=partial(serve_and_load, server, ("--mode", "http", "--tls", str(LOCALHOST)), seconds),
                goal=1 / 0.85,
                beside=beside,
                shown=(THROUGHPUT,),
            )
            for name, (server, question) in servers.items()
        ],
        *body.rows(__file__, tls_bodies.BODIES, GOALS, seconds / 2, beside),
    ]


def main() -> None:
    """Prints the table, or as a child the figures of one body on one loop."""
    if sys.argv[1:2] == [body.CHILD]:
        body.main(sys.argv[2:], tls_bodies.BODIES, tls_bodies.check)
    else:
        options.run_alone(TITLE, rows, default_seconds=2.0, description=__doc__ or "")


if __name__ == "__main__":
    main()
