"""Servers under load: what one message costs the server, in processor time.

A server runs in a fresh process on one core, `sabio-load` on another. The load generator checks every
answer, and reads the server's own user and system time at both ends of its window, so the figure is exactly
the window's processor time over the window's messages. `bench_tcp.py` and `bench_http.py` build their rows
from here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rounds import MeasurementError, Sample, complaint, environment, object_of

REPOSITORY = Path(__file__).resolve().parent.parent
SERVE = Path(__file__).with_name("serve.py")

RAW = "raw"
CONNECTIONS = 64
#: Key under which samples hold messages per second.
THROUGHPUT = "messages a second"
#: Seconds for which a server is used before the clients that are measured come.
FIRST_CLIENTS = 0.2
#: Seconds that a server may take until it listens.
PATIENCE = 30.0


def serve_and_load(body: str, arguments: Sequence[str], seconds: float, contender: str) -> Sample:
    """Microseconds of the server's processor time per message, for one server under one load.

    `body` names a server of `serve.py`, `arguments` are for the load generator. The contender `raw` is the
    bare epoll server, whatever the body. Raises MeasurementError.
    """
    server_core, load_core = cores()
    if contender == RAW:
        command = [str(sabio_load()), "raw-echo", "--cpu", str(server_core)]
    else:
        command = [sys.executable, str(SERVE), contender, body, "--cpu", str(server_core)]
    with running(command) as (port, pid):
        # A server's first clients have left before it is measured, as with any that has run for a while:
        # until memory of a read's size was freed once, glibc maps it anew for every read, which costs
        # asyncio's own transports five times as much as the read itself.
        load(port, pid, load_core, [*arguments, "--warmup", "0"], FIRST_CLIENTS)
        printed = load(port, pid, load_core, arguments, seconds)
    server = printed["server"]
    return Sample(
        server["cpu_seconds"] / printed["messages"] * 1e6,
        {
            "messages": printed["messages"],
            THROUGHPUT: printed["throughput"],
            "latency_p50_us": printed["latency_p50_us"],
            "latency_p99_us": printed["latency_p99_us"],
            "user_seconds": server["user_seconds"],
            "system_seconds": server["system_seconds"],
            "busy": round(server["cpu_seconds"] / printed["seconds"], 3),
            "source": server["source"],
        },
    )


def cores() -> tuple[int, int]:
    """The core for the server and the one for the load: the same where only one may be used."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A server process; gives its port and its process id, and ends it on the way out."""
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment()
        ) as process,
    ):
        try:
            yield _announced_port(process), process.pid
            if process.poll() is not None:
                raise MeasurementError(f"the server ended with exit code {process.returncode}")
        except MeasurementError as error:
            # A client only sees that its connection broke; the reason is in what the server said last.
            process.kill()
            process.wait()
            stderr.seek(0)
            lines = stderr.read().decode(errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            raise MeasurementError(f"{error}; the server said: {said[-1]}" if said else str(error)) from None
        finally:
            process.kill()


def _announced_port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    if not ready:
        raise MeasurementError(f"the server does not listen after {PATIENCE:.0f} seconds")
    if not (line := process.stdout.readline()):
        raise MeasurementError("the server ended before it listened")
    return int(json.loads(line)["port"])


def load(port: int, pid: int, core: int, arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """Drives a server and returns what the load generator printed. Raises MeasurementError."""
    command = [str(sabio_load()), "--port", str(port), "--server-pid", str(pid), "--cpu", str(core)]
    command += ["--connections", str(CONNECTIONS), "--seconds", str(seconds), *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 2 * PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError("the load generator does not end") from None
    if done.returncode != 0:
        raise MeasurementError(complaint(done.returncode, done.stderr))
    return object_of(done.stdout)


@functools.cache
def sabio_load() -> Path:
    """The load generator: `$SABIO_LOAD`, else built by cargo, else as an earlier build left it."""
    if given := os.environ.get("SABIO_LOAD"):
        return Path(given)
    if shutil.which("cargo"):
        build = ["cargo", "build", "--quiet", "--release", "--package", "sabio-load"]
        if subprocess.run(build, cwd=REPOSITORY, stdout=sys.stderr, check=False).returncode != 0:
            raise SystemExit("the load generator cannot be built: see cargo's messages above")
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    binary = target / "release" / "sabio-load"
    if not binary.exists():
        raise SystemExit("no load generator: run `cargo build --release -p sabio-load`, or set SABIO_LOAD")
    return binary
