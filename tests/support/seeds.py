"""The command line of what runs random things on sabio by their numbers, with each engine of TLS."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from tests.support.engines import VARIABLE, available


def command_line(program: str, description: str, run: Callable[[int], object]) -> None:
    """Does what the command line says: `run` with one number, or with new ones for some seconds.

    `program` is how it is started, as in `python -m tests.tls_fuzz`; that is said, with the number, of what fails.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int)
    what.add_argument("--seconds", type=float, help="how long new ones are tried")
    given = parser.parse_args()
    first = time.time_ns() // 1000 if given.seed is None else given.seed
    end = time.monotonic() + (given.seconds or 0)
    seed = first
    while True:
        for engine in available():
            os.environ[VARIABLE] = engine
            try:
                run(seed)
            except BaseException:
                print(f"failed with the engine {engine}: {program} --seed {seed}", flush=True)
                raise
        seed += 1
        if time.monotonic() > end:
            break
    print(f"{seed - first} seeds from {first} on, each with {' and '.join(available())}")
