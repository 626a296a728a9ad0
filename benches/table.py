"""Figures as tables: one row per question, one column per loop, and how sabio compares.

The same Markdown serves the terminal and the documentation. Ratios say how many times *better* sabio is,
so above 1 is good in every row, whether its unit counts operations or microseconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import loops
from rounds import Cell, Outcome


def text(outcomes: Sequence[Outcome]) -> str:
    """The table of some outcomes, aligned Markdown; each cell is the median and its spread."""
    names = _contenders(outcomes)
    beside = [name for name in names if name not in loops.FACTORIES]
    header = ["row", "unit", *names, "sabio to the best peer", "goal", *[f"to {name}" for name in beside]]
    lines = [header]
    for outcome in outcomes:
        best = outcome.best_peer()
        ratio = outcome.times_better(best[1]) if best else None
        lines.append(
            [
                outcome.row.name,
                outcome.row.unit,
                *[_cell(outcome.cells.get(name)) for name in names],
                f"{_ratio(ratio)} ({best[0]})" if best and ratio else "-",
                f"{outcome.row.goal:.1f}x" if outcome.row.goal else "-",
                *[_ratio(outcome.times_better(_median(outcome.cells.get(name)))) for name in beside],
            ]
        )
    return _aligned(lines)


def beside_text(outcomes: Sequence[Outcome]) -> str:
    """What else the rows were asked to show, as one small table each; empty when there is nothing."""
    parts = []
    for key in dict.fromkeys(key for outcome in outcomes for key in outcome.row.shown):
        names = _contenders(outcomes)
        lines = [[key, *names]]
        for outcome in (outcome for outcome in outcomes if key in outcome.row.shown):
            middles = [_median_detail(outcome.cells.get(name), key) for name in names]
            lines.append(
                [outcome.row.name, *["-" if middle is None else short(middle) for middle in middles]]
            )
        parts.append(_aligned(lines))
    return "\n\n".join(parts)


def summary(figures: Mapping[str, Any]) -> str:
    """How sabio stands in each question of a record: the ratios to the best peer, smallest, middle and largest."""
    lines = [["question", "rows", "sabio ahead of all others", "smallest", "middle", "largest"]]
    for question in figures["questions"]:
        ratios = [row["times_better_than_best_peer"] for row in question["rows"]]
        compared = sorted(ratio for ratio in ratios if ratio is not None)
        ahead = str(sum(ratio > 1 for ratio in compared))
        if compared:
            shown = [compared[0], statistics.median(compared), compared[-1]]
            lines.append([question["title"], str(len(compared)), ahead, *[_ratio(ratio) for ratio in shown]])
    return _aligned(lines)


def questions(outcomes: Sequence[Outcome]) -> str:
    """What each row asks, as a Markdown list."""
    usual = min((_rounds(outcome) for outcome in outcomes), default=0)
    lines = []
    for outcome in outcomes:
        count = _rounds(outcome)
        longer = f" {count} rounds, since they lay far apart." if count > usual else ""
        lines.append(f"* **{outcome.row.name}**: {outcome.row.question}.{longer}")
    return "\n".join(lines)


def _rounds(outcome: Outcome) -> int:
    return max(len(cell.samples) for cell in outcome.cells.values())


def as_record(outcome: Outcome) -> dict[str, Any]:
    """An outcome with every sample, for the raw data."""
    best = outcome.best_peer()
    return {
        "name": outcome.row.name,
        "question": outcome.row.question,
        "unit": outcome.row.unit,
        "higher_is_better": outcome.row.higher_is_better,
        "goal": outcome.row.goal,
        "best_peer": best[0] if best else None,
        "times_better_than_best_peer": outcome.times_better(best[1]) if best else None,
        "cells": {
            name: {
                "median": cell.median,
                "spread": cell.spread,
                "failure": cell.failure,
                "samples": [{"value": sample.value, **sample.details} for sample in cell.samples],
            }
            for name, cell in outcome.cells.items()
        },
    }


def short(value: float) -> str:
    """A figure with three to four digits that matter: 1.07M, 37.0k, 4.54."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f}{letter}" if value < 100 * size else f"{value / size:.0f}{letter}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _contenders(outcomes: Sequence[Outcome]) -> list[str]:
    order = dict.fromkeys(name for outcome in outcomes for name in outcome.cells)
    return sorted(order, key=lambda name: name in loops.FACTORIES)


def _median(cell: Cell | None) -> float | None:
    return cell.median if cell else None


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if cell.median is None:
        return "failed"
    spread = cell.spread
    return f"{short(cell.median)} ±{spread:.0%}" if spread and len(cell.samples) > 1 else short(cell.median)


def _median_detail(cell: Cell | None, key: str) -> float | None:
    if cell is None or cell.median is None:
        return None
    values: list[float] = [sample.details[key] for sample in cell.samples if key in sample.details]
    return statistics.median(values) if values else None


def _ratio(value: float | None) -> str:
    return f"{value:.2f}x" if value else "-"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * widths[0], *["-" * (width - 1) + ":" for width in widths[1:]]]

    def row(line: Sequence[str]) -> str:
        cells = [
            line[0].ljust(widths[0]),
            *[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)],
        ]
        return f"| {' | '.join(cells)} |"

    return "\n".join(row(line) for line in (lines[0], rule, *lines[1:]))
