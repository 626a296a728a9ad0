"""Interleaved rounds: how every figure of the benchmarks comes about.

A row asks one question of every loop. It is measured in rounds; in each round every loop has one turn, in
a process of its own, and the order moves on by one from round to round. So whatever else the machine is
doing falls on all of them alike, and no loop inherits memory or caches from another. The figure is the
median of the rounds, its spread the half distance between the smallest and the largest. A row in which the
rounds of one loop or another lie far apart, whichever that is, is measured three times as long.

A loop that fails in any round has no figure in that row, only the reason, which is also printed at once.
The `bench_*.py` scripts and `run.py` call `measure`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import loops

#: A spread from which on a row is unsteady, as a share of the median, and how many times as long it is measured then.
UNSTEADY = 0.25
LONGER = 3


class MeasurementError(Exception):
    """A turn gave no figure; the message says why, in one line."""


@dataclass(frozen=True)
class Sample:
    """One turn of one loop: the figure, and what else was seen on the way."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One question, asked of every loop.

    `measure` takes a contender's name and gives a sample or raises MeasurementError. `beside` names
    contenders that are shown but are no event loops, `shown` the details of samples that get a table of
    their own. `goal` is how many times better than the best peer sabio means to be.
    """

    name: str
    question: str
    unit: str
    higher_is_better: bool
    measure: Callable[[str], Sample]
    goal: float | None = None
    beside: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


@dataclass
class Cell:
    """What one contender has to show in one row."""

    samples: list[Sample] = field(default_factory=list)
    failure: str | None = None

    @property
    def median(self) -> float | None:
        """The figure, or None where there is none."""
        if self.failure is not None or not self.samples:
            return None
        return statistics.median(sample.value for sample in self.samples)

    @property
    def spread(self) -> float | None:
        """Half the distance between the extremes, as a share of the median."""
        middle = self.median
        if not middle:
            return None
        values = [sample.value for sample in self.samples]
        return (max(values) - min(values)) / 2 / middle


@dataclass
class Outcome:
    """A row with a cell for each contender."""

    row: Row
    cells: dict[str, Cell]

    def is_unsteady(self) -> bool:
        """Whether the rounds of any contender lie far apart."""
        return any((cell.spread or 0) > UNSTEADY for cell in self.cells.values())

    def best_peer(self) -> tuple[str, float] | None:
        """The best of the loops that are not ours."""
        figures = {
            name: cell.median
            for name, cell in self.cells.items()
            if name in loops.FACTORIES and name != loops.OURS and cell.median is not None
        }
        if not figures:
            return None
        choose = max if self.row.higher_is_better else min
        return choose(figures.items(), key=lambda item: item[1])

    def times_better(self, other: float | None) -> float | None:
        """How many times better than `other` sabio is: above 1 means better, whatever the unit."""
        ours = self.cells[loops.OURS].median if loops.OURS in self.cells else None
        if not ours or not other:
            return None
        return ours / other if self.row.higher_is_better else other / ours


def measure(rows: Sequence[Row], names: Sequence[str], rounds: int) -> list[Outcome]:
    """Measures every row on every loop in `names`, saying on standard error how far it has come."""
    outcomes = []
    for row in rows:
        contenders = [*row.beside, *names]
        outcome = Outcome(row, {name: Cell() for name in contenders})
        _take_turns(outcome, range(rounds))
        if outcome.is_unsteady():
            say(f"{row.name}: the rounds lie far apart, so there will be {rounds * LONGER} of them")
            _take_turns(outcome, range(rounds, rounds * LONGER))
        outcomes.append(outcome)
        say(f"{row.name}: " + ", ".join(_in_short(name, cell) for name, cell in outcome.cells.items()))
    return outcomes


def _take_turns(outcome: Outcome, turns: range) -> None:
    contenders = list(outcome.cells)
    for turn in turns:
        start = turn % len(contenders)
        for name in contenders[start:] + contenders[:start]:
            _take_turn(outcome.row, name, outcome.cells[name])


def _take_turn(row: Row, name: str, cell: Cell) -> None:
    if cell.failure is not None:
        return
    try:
        cell.samples.append(row.measure(name))
    except MeasurementError as error:
        cell.failure = str(error)
        say(f"!!! {name} FAILED at {row.name} and has no figure there: {error}")


def _in_short(name: str, cell: Cell) -> str:
    return f"{name} failed" if cell.median is None else f"{name} {cell.median:,.4g}"


def run_script(arguments: Sequence[str], timeout: float) -> dict[str, Any]:
    """Runs a Python script in a fresh process and reads the one JSON object that it prints.

    Raises MeasurementError with the last line of what it complained about when it fails or takes more
    than `timeout` seconds.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"no end after {timeout:.0f} seconds") from None
    if done.returncode != 0:
        raise MeasurementError(complaint(done.returncode, done.stderr))
    return object_of(done.stdout)


def object_of(text: str) -> dict[str, Any]:
    """The JSON object that a process printed."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise MeasurementError(f"no JSON object printed: {text[:200]!r}")
    return value


def complaint(code: int, stderr: str) -> str:
    """One line on a process that failed."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{lines[-1].strip()} ({how})" if lines else how


def environment() -> dict[str, str]:
    """The environment of measured processes: nothing that turns on debugging, one fixed hash seed."""
    hidden = {"PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONWARNINGS"}
    return {key: value for key, value in os.environ.items() if key not in hidden} | {"PYTHONHASHSEED": "0"}


def say(text: str) -> None:
    """Tells the person who waits for the figures; standard output is for results alone."""
    print(text, file=sys.stderr, flush=True)
