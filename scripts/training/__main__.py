"""The programs whose counts tell the compiler what is hot: `python -m training` with an instrumented sabio.

    python -m training FOLDER        FOLDER holds the file `localhost.pem`, a certificate and its key

They are programs as people write them, each on asyncio's names: workers on a queue, a crawler, a server of pages, a
chat. None of them is a benchmark. Every part runs in processes of its own: with `sabio.install()`, on the loop alone,
and those over TLS with each engine. What they compute is checked, since counts of a program that went wrong are worth
nothing.

Called by `guided.py`, which sets where the counts go.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from pathlib import Path

PARTS = ("tasks", "waiting", "connections", "secure", "system")
ENGINES = ("libssl", "portable")


def main(arguments: list[str]) -> None:
    """Runs one part in this process, or all of them in processes of their own."""
    if len(arguments) == 1:
        run_all(Path(arguments[0]))
        return
    part, install, folder = arguments
    import sabio

    if install == "install":
        sabio.install()
    body = importlib.import_module(f"training.{part}")
    with asyncio.Runner(loop_factory=sabio.new_event_loop) as runner:
        runner.run(body.main(Path(folder)))


def run_all(folder: Path) -> None:
    """Each part with the primitives replaced and without. Raises CalledProcessError if one fails."""
    for part in PARTS:
        for install in ("install", "loop"):
            for engine in ENGINES if part == "secure" else [""]:
                environment = os.environ | ({"SABIO_TLS_ENGINE": engine} if engine else {})
                command = [sys.executable, "-m", "training", part, install, str(folder)]
                subprocess.run(command, env=environment, check=True, timeout=300)


if __name__ == "__main__":
    main(sys.argv[1:])
