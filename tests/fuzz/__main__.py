"""`python -m tests.fuzz`: runs a program that a failure has printed, or seeds, and prints every difference.

With a file, prints what the program does in each setting. With `--seeds 500:900`, prints each differing program,
shrunk, and exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import sabio
from tests.fuzz.compare import Comparison
from tests.fuzz.execute import execute
from tests.fuzz.generate import generate
from tests.fuzz.settings import reference, under_test
from tests.fuzz.shrink import shrink


def run_file(file: Path) -> None:
    """Prints what a program does, setting by setting."""
    names: dict[str, Any] = {}
    exec(compile(file.read_text(), file, "exec"), names)
    for setting in (reference(), *under_test(sabio)):
        outcome = execute(names["program"], names["CANCEL"], setting)
        print(f"== {setting.name}")
        print(*(f"{label:8} {what}" for label, what in outcome.events), sep="\n")
        print(f"quiet after {outcome.turns} turns: {outcome.quiet}\nat the end: {outcome.end}")


def run_seeds(seeds: range) -> int:
    """Prints the differences that seeds make; returns how many did."""
    comparison = Comparison(reference(), under_test(sabio))
    found = 0
    for seed in seeds:
        if difference := comparison.with_every_cancellation(generate(seed)):
            found += 1
            print(f"== seed {seed}\n\n{shrink(difference, comparison.once)}\n", flush=True)
    comparison.close()
    print(f"{len(seeds)} seeds, {found} with differences")
    return found


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, help="a program as a failure prints it")
    what.add_argument("--seeds", metavar="FIRST:LAST", help="instead of a file")
    given = parser.parse_args()
    if given.file:
        run_file(given.file)
    else:
        first, _, last = given.seeds.rpartition(":")
        sys.exit(run_seeds(range(int(first or 0), int(last))) > 0)


if __name__ == "__main__":
    main()
