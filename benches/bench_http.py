"""What an HTTP request costs a real server, the loop below it being the only difference.

uvicorn with httptools and aiohttp's server, smallest applications, 64 keep-alive connections on loopback.
The figure is the server's own user and system time per request; throughput and latency are in the raw data.

    python benches/bench_http.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

from functools import partial

import options
from load import THROUGHPUT, serve_and_load
from rounds import Row

TITLE = "HTTP servers: microseconds of the server's processor time per request"


def rows(seconds: float) -> list[Row]:
    """The rows, each loaded for `seconds` at a time."""
    questions = {
        "uvicorn": "uvicorn with httptools and an ASGI application that answers with the path",
        "aiohttp": "aiohttp's server with one handler that answers with the path",
    }
    return [
        Row(
            name=server,
            question=question,
            unit="us/request",
            higher_is_better=False,
            measure=partial(serve_and_load, server, ("--mode", "http"), seconds),
            goal=1.0,
            shown=(THROUGHPUT,),
        )
        for server, question in questions.items()
    ]


if __name__ == "__main__":
    options.run_alone(TITLE, rows, default_seconds=2.0, description=__doc__ or "")
