"""What a message over TCP costs the server, through each of asyncio's ways to speak TCP.

64 connections on loopback, one request outstanding on each. The figure is the server's own user and system
time per message; throughput and latency are in the raw data. `raw` is a bare epoll server without Python.

    python benches/bench_tcp.py [--loops A B] [--rows X Y] [--rounds N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

from functools import partial

import options
from load import RAW, THROUGHPUT, serve_and_load
from rounds import Row

TITLE = "TCP servers: microseconds of the server's processor time per message"

ECHO_1K = ("--mode", "echo", "--size", "1024")
ECHO_100K = ("--mode", "echo", "--size", "102400")
HTTP = ("--mode", "http")


def rows(seconds: float) -> list[Row]:
    """The rows, each loaded for `seconds` at a time."""

    def row(
        name: str,
        question: str,
        server: str,
        load: tuple[str, ...],
        goal: float | None = 1.0,
        raw: bool = False,
    ) -> Row:
        return Row(
            name=name,
            question=question,
            unit="us/message",
            higher_is_better=False,
            measure=partial(serve_and_load, server, load, seconds),
            goal=goal,
            beside=(RAW,) if raw else (),
            shown=(THROUGHPUT,),
        )

    return [
        row("Protocol, 1 KiB", "echo by data_received and write", "protocol", ECHO_1K, raw=True),
        row("Protocol, 100 KiB", "the same with messages of 100 KiB", "protocol", ECHO_100K, raw=True),
        row("BufferedProtocol, 1 KiB", "echo by get_buffer, buffer_updated and write", "buffered", ECHO_1K),
        row(
            "sock_recv, 1 KiB",
            "echo by a task per connection with sock_recv and sock_sendall",
            "sock",
            ECHO_1K,
        ),
        row(
            "streams, 1 KiB",
            "echo by start_server, read, write and drain, sabio's streams in the place of asyncio's",
            "streams",
            ECHO_1K,
            goal=1 / 0.9,
        ),
        row(
            "HTTP, smallest Protocol",
            "a Protocol that answers each GET with its target",
            "http",
            HTTP,
            goal=None,
        ),
    ]


if __name__ == "__main__":
    options.run_alone(TITLE, rows, default_seconds=2.0, description=__doc__ or "")
