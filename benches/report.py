"""What a run leaves behind: the raw record, and the figures in the documentation.

`record` keeps every sample, so that any table or picture can be made again from the record alone. The page
of the documentation holds figures only between two markers; what a person wrote around them stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import table
from rounds import Cell, Outcome, Row, Sample

BEGIN = "<!-- figures: written by benches/run.py -->"
PICTURE = "benchmarks.svg"
END = "<!-- end of figures -->"


def record(about: Mapping[str, object], questions: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """Machine, versions, and every sample of every cell under its question's title."""
    return {
        **about,
        "questions": [
            {"title": title, "rows": [table.as_record(outcome) for outcome in outcomes]}
            for title, outcomes in questions.items()
        ],
    }


def outcomes_of(record: Mapping[str, Any], title: str, rows: Sequence[Row]) -> list[Outcome]:
    """What a record holds on the rows of a question, as it was measured. Raises KeyError where it lacks one."""
    [question] = [question for question in record["questions"] if question["title"] == title] or [
        {"rows": []}
    ]
    recorded = {row["name"]: row["cells"] for row in question["rows"]}
    return [Outcome(row, {name: _cell_of(cell) for name, cell in recorded[row.name].items()}) for row in rows]


def _cell_of(cell: Mapping[str, Any]) -> Cell:
    samples = []
    for sample in cell["samples"]:
        details = dict(sample)
        samples.append(Sample(details.pop("value"), details))
    return Cell(samples, cell["failure"])


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes a record; makes the folder when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def figures_page(about: Mapping[str, Any], questions: Mapping[str, Sequence[Outcome]]) -> str:
    """All tables of a run, under a line that says where and when they were taken."""
    versions = ", ".join(f"{name} {version}" for name, version in about["loops"].items())
    parts = [
        f"Taken {about['taken'][:10]}, rounds: {about['rounds']}, on {about['machine']}; {versions}.",
        f"![Every row: how many times better than asyncio each loop is]({PICTURE})",
    ]
    for title, outcomes in questions.items():
        parts += [f"### {title}", *tables(outcomes), table.questions(outcomes)]
    return "\n\n".join(parts)


def summary_page(figures: Mapping[str, Any]) -> str:
    """The few lines of a record that fit on the first page of the project."""
    return (
        f"{table.summary(figures)}\n\n"
        f"Ratios to the best of the other loops in each row; above 1 is better, whatever the row counts. Taken "
        f"{figures['taken'][:10]} on {figures['machine']}, rounds: {figures['rounds']}."
    )


def tables(outcomes: Sequence[Outcome]) -> list[str]:
    """The tables of one question, and a list of what failed when something did."""
    return [part for part in (table.text(outcomes), table.beside_text(outcomes), _failures(outcomes)) if part]


def put_into_page(page: Path, figures: str) -> None:
    """Replaces what stands between the markers of a page. Raises ValueError when it has no markers."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page.name} has no place for figures")
    page.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", encoding="utf-8")


def _failures(outcomes: Sequence[Outcome]) -> str:
    lines = [
        f"* {name} has no figure at *{outcome.row.name}*: {cell.failure}"
        for outcome in outcomes
        for name, cell in outcome.cells.items()
        if cell.failure
    ]
    return "\n".join(lines)
