"""The table of the packages as a picture, `docs/compatibility.svg`: a bar for each, as long as its suite has tests.

A bar is drawn in one colour where the tests of a package end on sabio as on asyncio, and in another one for those that
do not; on a logarithmic scale, since suites have from twenty to five thousand tests. Written as text, which asks for
no library. Called by `package_report.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

ROW, BAR, LEFT, WIDTH, RIGHT = 26, 16, 220, 400, 370
LONGEST = 10_000
SAME, EXPLAINED, DIFFERENT, TEXT = "#2f7f6f", "#d9a441", "#c0392b", "#333333"


@dataclass(frozen=True)
class Bar:
    """One package: how many tests it has, how many of them differ with a known reason or without, and a remark."""

    title: str
    tests: int
    explained: int
    different: int
    remark: str


def draw(bars: Sequence[Bar]) -> str:
    """The picture as SVG."""
    height = ROW * (len(bars) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{TEXT}">',
        f'<rect width="100%" height="{height}" fill="white"/>',
    ]
    for number, bar in enumerate(bars):
        parts += _row(bar, ROW // 2 + number * ROW)
    parts += _legend(ROW // 2 + len(bars) * ROW + 4)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(bar: Bar, top: int) -> list[str]:
    length = WIDTH * math.log10(max(bar.tests, 1)) / math.log10(LONGEST)
    same = max(bar.tests - bar.explained - bar.different, 0)
    shares = ((same, SAME), (bar.explained, EXPLAINED), (bar.different, DIFFERENT))
    line = top + BAR - 4
    parts = [f'<text x="{LEFT - 10}" y="{line}" text-anchor="end">{escape(bar.title)}</text>']
    left = float(LEFT)
    for count, colour in shares:
        if count:
            # What is little must be seen all the same.
            width = max(length * count / bar.tests, 3)
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
            )
            left += width
    parts.append(f'<text x="{left + 8:.1f}" y="{line}">{escape(bar.remark)}</text>')
    return parts


def _legend(top: int) -> list[str]:
    parts, left = [], LEFT
    for words, colour in (
        ("ends as on asyncio", SAME),
        ("differs, explained", EXPLAINED),
        ("differs", DIFFERENT),
    ):
        parts.append(f'<rect x="{left}" y="{top}" width="{BAR}" height="{BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{left + BAR + 6}" y="{top + BAR - 4}">{words}</text>')
        left += 40 + 8 * len(words)
    return parts
