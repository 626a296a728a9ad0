"""Runs every benchmark and leaves tables, raw data and a picture: `python benches/run.py [--quick]`.

A full run takes more than an hour and writes `benchmarks.json`, `benchmarks.svg` and the figures of
`benchmarks.md` into `docs/`, and a summary into the README. A quick one takes a few minutes, shows whether everything
works rather than how fast it is, and writes into `target/benchmarks/`. Loops that are not installed are left out with
a warning. With `--only` the named scripts' part of a record is renewed, if the rest was taken on the same machine with
the same versions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_cluster
import bench_http
import bench_memory
import bench_primitives
import bench_processes
import bench_scheduling
import bench_sockets
import bench_tcp
import bench_tls
import machine
import options
import picture
import report
from load import REPOSITORY, sabio_load
from rounds import Outcome, Row, measure, say

PAGE = "benchmarks.md"


@dataclass(frozen=True)
class Question:
    """One script's part in a run; lengths are in seconds."""

    title: str
    rows: Callable[[float], list[Row]]
    seconds: float
    quick_seconds: float
    needs_load: bool


QUESTIONS = {
    "scheduling": Question(bench_scheduling.TITLE, bench_scheduling.rows, 0.3, 0.05, needs_load=False),
    "primitives": Question(bench_primitives.TITLE, bench_primitives.rows, 0.3, 0.05, needs_load=False),
    "tcp": Question(bench_tcp.TITLE, bench_tcp.rows, 2.0, 0.4, needs_load=True),
    "sockets": Question(bench_sockets.TITLE, bench_sockets.rows, 0.5, 0.1, needs_load=False),
    "http": Question(bench_http.TITLE, bench_http.rows, 2.0, 0.4, needs_load=True),
    "tls": Question(bench_tls.TITLE, bench_tls.rows, 2.0, 0.4, needs_load=True),
    "processes": Question(bench_processes.TITLE, bench_processes.rows, 0.5, 0.1, needs_load=False),
    "memory": Question(bench_memory.TITLE, bench_memory.rows, 1.0, 1.0, needs_load=False),
    "cluster": Question(bench_cluster.TITLE, bench_cluster.rows, 2.0, 0.4, needs_load=False),
}


def main() -> None:
    """Measures, prints, writes."""
    parser = options.parser(__doc__ or "", seconds="length of one measurement (each script's own)")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS), help="these scripts")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all works")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--redraw", type=Path, metavar="FILE", help="only show a record again")
    given = parser.parse_args()
    output: Path = given.output or REPOSITORY / ("target/benchmarks" if given.quick else "docs")
    output.mkdir(parents=True, exist_ok=True)
    if given.redraw:
        show(json.loads(given.redraw.read_text(encoding="utf-8")), output)
        return

    names = options.present(given.loops)
    if any(QUESTIONS[name].needs_load for name in given.only):
        sabio_load()
    about = machine.describe(names)
    kept = _kept(output, about, given)
    rounds = given.rounds or (1 if given.quick else options.ROUNDS)
    outcomes = {}
    for name in given.only:
        question = QUESTIONS[name]
        seconds = given.seconds or (question.quick_seconds if given.quick else question.seconds)
        if rows := options.chosen(question.rows(seconds), given.rows):
            say(f"== {question.title}: rows {len(rows)}, rounds {rounds}")
            outcomes[question.title] = measure(rows, names, rounds)

    every = kept | outcomes
    outcomes = {
        question.title: every[question.title] for question in QUESTIONS.values() if question.title in every
    }
    print(about["machine"])
    for title, measured in outcomes.items():
        print("\n" + "\n\n".join([title, *report.tables(measured)]))
    if not any(cell.median for rows in outcomes.values() for row in rows for cell in row.cells.values()):
        sys.exit("there is no figure to write")
    about |= {"quick": given.quick, "rounds": rounds}
    figures = report.record(about, outcomes)
    report.write_json(output / "benchmarks.json", figures)
    show(figures, output)
    if (output / PAGE).exists():
        report.put_into_page(output / PAGE, report.figures_page(about, outcomes))
    say(f"written to {output}")


def _kept(output: Path, about: dict[str, Any], given: Any) -> dict[str, list[Outcome]]:
    """What stays of the record that is there, when only some scripts are run."""
    path = output / "benchmarks.json"
    left = [name for name in QUESTIONS if name not in given.only]
    if not left or given.quick or not path.exists():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    for key in ("machine", "loops"):
        if record[key] != about[key]:
            sys.exit(
                f"the record in {path} is of another {key} ({record[key]}, now {about[key]}): run all of it"
            )
    try:
        return {
            question.title: report.outcomes_of(record, question.title, question.rows(question.seconds))
            for question in (QUESTIONS[name] for name in left)
        }
    except KeyError as missing:
        sys.exit(f"the record in {path} lacks the row {missing}: run all of it")


def show(figures: dict[str, Any], output: Path) -> None:
    """Draws the picture, and for the documentation the summary in the README as well."""
    picture.draw(figures, output / report.PICTURE)
    if output == REPOSITORY / "docs":
        report.put_into_page(REPOSITORY / "README.md", report.summary_page(figures))


if __name__ == "__main__":
    main()
