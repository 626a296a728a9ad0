"""The command line that the scripts share, and how one script runs by itself.

Every script offers the same options, so that what one learns at one serves at all. Called by each
`bench_*.py`; `run.py` adds its own options to the same parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import loops
import machine
import report
from rounds import Row, measure, say

ROUNDS = 5


def parser(description: str, *, seconds: str) -> argparse.ArgumentParser:
    """A parser with the common options; `seconds` says what `--seconds` sets here."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--loops",
        nargs="+",
        choices=loops.FACTORIES,
        default=list(loops.FACTORIES),
        metavar="LOOP",
        help=f"of {', '.join(loops.FACTORIES)} (all)",
    )
    made.add_argument("--rows", nargs="+", metavar="WORD", help="only rows whose name contains one of these")
    made.add_argument("--rounds", type=_count, metavar="N", help=f"interleaved rounds ({ROUNDS})")
    made.add_argument("--seconds", type=_seconds, metavar="S", help=seconds)
    return made


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _seconds(text: str) -> float:
    if not 0 < (value := float(text)) <= 600:
        raise argparse.ArgumentTypeError("must lie between 0 and 600")
    return value


def present(names: Sequence[str]) -> list[str]:
    """Those of the named loops that are installed, in the order of tables; says loudly which are not."""
    found = []
    for name in loops.FACTORIES:
        if name in names and loops.is_installed(name):
            found.append(name)
        elif name in names:
            say(f"!!! {name} is NOT INSTALLED here and is left out")
    if not found:
        raise SystemExit("none of the loops is installed")
    return found


def chosen(rows: Sequence[Row], words: Sequence[str] | None) -> list[Row]:
    """The rows whose name contains one of the words; all when there are no words."""
    return [row for row in rows if words is None or any(word in row.name for word in words)]


def run_alone(
    title: str, rows: Callable[[float], list[Row]], *, default_seconds: float, description: str
) -> None:
    """Runs one script's rows as the command line says and prints their table."""
    options = parser(description, seconds=f"length of one measurement ({default_seconds})")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the raw figures there")
    given = options.parse_args()
    every = rows(given.seconds or default_seconds)
    if not (wanted := chosen(every, given.rows)):
        options.error(f"no such row; there are: {'; '.join(row.name for row in every)}")
    names = present(given.loops)
    about = machine.describe(names)
    outcomes = measure(wanted, names, given.rounds or ROUNDS)
    print("\n\n".join([f"{title}\n{about['machine']}", *report.tables(outcomes)]))
    if given.json:
        report.write_json(given.json, report.record(about, {title: outcomes}))
