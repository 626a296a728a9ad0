"""One picture of a run: a panel per question, a line per row, a dot per loop.

Every figure is drawn as how many times better than asyncio's it is, because the rows differ a hundredfold:
further right is better, whatever the unit. The picture is made from the raw record alone, so it can be drawn
again without measuring. Called by `run.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Colour and marker of each contender; told apart without colour as well.
LOOKS = {
    "raw": ("#000000", "|"),
    "asyncio": ("#999999", "s"),
    "uvloop": ("#56b4e9", "^"),
    "rloop": ("#009e73", "v"),
    "rsloop": ("#cc79a7", "D"),
    "zuvloop": ("#e69f00", "P"),
    "asyncio+aiofastnet": ("#666666", "<"),
    "uvloop+aiofastnet": ("#0072b2", ">"),
    "sabio": ("#d62728", "o"),
}
BASE = "asyncio"
LINE = 0.42
#: From this factor on a logarithmic scale reads better.
WIDEST_LINEAR = 5.0


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Draws a record into an SVG file; the same record gives the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    panels = [question for question in figures["questions"] if question["rows"]]
    heights = [len(panel["rows"]) + 2.5 for panel in panels]
    with pyplot.rc_context({"svg.hashsalt": "benchmarks", "svg.fonttype": "path", "font.size": 9}):
        figure, places = pyplot.subplots(
            len(panels),
            1,
            figsize=(9, LINE * sum(heights)),
            squeeze=False,
            gridspec_kw={"height_ratios": heights},
            layout="constrained",
        )
        for panel, axes in zip(panels, places[:, 0], strict=True):
            _panel(panel, axes)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _panel(panel: Mapping[str, Any], axes: Any) -> None:
    rows: Sequence[Mapping[str, Any]] = panel["rows"]
    furthest = 1.0
    for name, (colour, marker) in LOOKS.items():
        points = [
            (value, line) for line, row in enumerate(rows) if (value := _times_better(row, name)) is not None
        ]
        if points:
            across, down = zip(*points, strict=True)
            furthest = max(furthest, *across)
            size = 110 if marker == "|" else 60 if name == "sabio" else 36
            axes.scatter(across, down, label=name, color=colour, marker=marker, s=size, zorder=3)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(color="#dddddd", zorder=0)
    axes.set_title(panel["title"].partition(":")[0], loc="left", fontweight="bold")
    if furthest > WIDEST_LINEAR:
        axes.set_xscale("log", base=2)
    else:
        axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.set_xlabel(f"times better than {BASE}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _times_better(row: Mapping[str, Any], name: str) -> float | None:
    value: float | None = row["cells"].get(name, {}).get("median")
    base: float | None = row["cells"].get(BASE, {}).get("median")
    if not value or not base:
        return None
    return value / base if row["higher_is_better"] else base / value
