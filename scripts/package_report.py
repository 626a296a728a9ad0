"""What is known of the packages on sabio: the results that are kept, and the page that is made of them.

`docs/compatibility.json` holds the last result of each package; `docs/compatibility.md`, its picture and the line about
packages in the README are written from it and from nothing else. Invariant: a package without a result is listed as
not run, one that could not be run with the reason; neither is ever counted as passed.

Called by `packages.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from environment import ROOT
from package_compare import Comparison, Difference
from package_list import BY_NAME, PACKAGES, Package
from package_picture import Bar, draw
from package_suite import ASYNCIO, INSTALL, LOOP, Run

RESULTS = ROOT / "docs" / "compatibility.json"
PAGE = ROOT / "docs" / "compatibility.md"
PICTURE = ROOT / "docs" / "compatibility.svg"
README = ROOT / "README.md"
BEGIN, END = "<!-- packages: written by scripts/packages.py -->", "<!-- end of packages -->"

HEADINGS = ("package", "version", "tests", "asyncio", "sabio's loop", "`install()`", "differences")
NAMES = {LOOP: "on sabio's loop", INSTALL: "with `install()`"}

#: A result is what JSON can hold of it.
Result = dict[str, Any]

INTRODUCTION = """\
# Compatibility

The test suites of packages that build on asyncio, out of their source distributions, each run three times: on asyncio,
on sabio's loop with all else asyncio's own, and with `sabio.install()`. Every test is compared by its name. One that
ends otherwise on sabio is run again alone, several times on both; it is a *difference* if it never ends as on asyncio,
and *unsteady* if it does now and then. A difference that is shown to be no bug of sabio is *explained*. That the loops
were sabio's is counted while the tests run. A package whose distribution has no tests is run by checks of our own.

This page is written by `make packages`; `make packages ARGS="janus anyio"` runs some of them anew. The columns tell how
many tests passed; tests that a suite skips are in none of them.

![How many tests of each package end on sabio as on asyncio](compatibility.svg)
"""


def skipped(version: str, reason: str) -> Result:
    """The result of a package that could not be run."""
    return {"version": version, "reason": reason}


def result(
    version: str, on: Mapping[str, str], runs: Mapping[str, Run], found: Mapping[str, Comparison]
) -> Result:
    """The result of a package whose suite was run in all worlds; `on` tells what it was run with."""
    return {
        "version": version,
        "on": dict(on),
        "runs": {world: _run(run) for world, run in runs.items()},
        "differences": {world: [vars(each) for each in done.differences] for world, done in found.items()},
        "unsteady": {world: [vars(each) for each in done.unsteady] for world, done in found.items()},
    }


def _run(run: Run) -> Result:
    return {
        "tests": len(run.outcomes),
        "passed": run.count("passed", "xfailed"),
        "failed": run.count("failed", "error", "died", "xpassed"),
        "skipped": run.count("skipped"),
        "broken": run.broken,
        "loops of sabio": run.sabio,
        "loops of asyncio": run.asyncio,
        "tests with loops of asyncio": run.on_asyncio,
        "unfinished": run.unfinished,
    }


def load(path: Path = RESULTS) -> dict[str, Result]:
    """The results that are kept, by package."""
    try:
        kept: dict[str, Result] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return kept


def save(results: Mapping[str, Result]) -> None:
    """Keeps the results and writes the page."""
    known = [package.name for package in PACKAGES if package.name in results]
    RESULTS.write_text(json.dumps({name: results[name] for name in known}, indent=1) + "\n")
    PAGE.write_text(page(results))
    PICTURE.write_text(picture(results))
    before, begin, rest = README.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        README.write_text(f"{before}{BEGIN}\n\n{in_short(results)}\n\n{END}{after}")


def in_short(results: Mapping[str, Result]) -> str:
    """What the first page of the project says: how many tests there are, and how many differ without a known reason."""
    run = {
        name: results[name]
        for name in (package.name for package in PACKAGES)
        if "runs" in results.get(name, {})
    }
    tests = sum(found["runs"][ASYNCIO]["tests"] for found in run.values())
    bars = [*_bars(results)]
    different, explained = sum(bar.different for bar in bars), sum(bar.explained for bar in bars)
    missing = [package.name for package in PACKAGES if package.name not in run]
    return (
        f"Of {tests:,} tests of {len(run)} packages ({', '.join(run)}), {different} end on sabio in another way than "
        f"on asyncio without a known reason, and {explained} with one."
        + (f" Not run: {', '.join(missing)}." if missing else "")
    )


def picture(results: Mapping[str, Result]) -> str:
    """The table as a picture."""
    return draw([*_bars(results)])


def _bars(results: Mapping[str, Result]) -> Iterator[Bar]:
    """The picture's rows: the packages that could be run."""
    for package in PACKAGES:
        found = results.get(package.name, {})
        if "runs" not in found:
            continue
        differences = [each for world in (LOOP, INSTALL) for each in found["differences"][world]]
        bad = len(unexplained(package.name, differences))
        explained = len({each["test"] for each in differences}) - bad
        remark = f"{found['runs'][ASYNCIO]['tests']} tests, differences: {summary(package.name, found)}"
        yield Bar(
            f"{package.title} {found['version']}", found["runs"][ASYNCIO]["tests"], explained, bad, remark
        )


def row(name: str, found: Result | None) -> list[str]:
    """One line of the table."""
    title = BY_NAME.get(name, Package(name)).title
    if found is None:
        return [title, "", "", "", "", "", "not run"]
    if "reason" in found:
        return [title, found["version"], "", "", "", "", f"not run: {found['reason']}"]
    runs = found["runs"]
    cells = [title, found["version"], str(runs[ASYNCIO]["tests"])]
    for world in (ASYNCIO, LOOP, INSTALL):
        unfinished = runs[world]["unfinished"]
        cells.append(str(runs[world]["passed"]) + (f" ({unfinished})" if unfinished else ""))
    return [*cells, summary(name, found)]


def summary(name: str, found: Result) -> str:
    """The differences of a result in a few words."""
    worlds = (LOOP, INSTALL)
    different = {each["test"] for world in worlds for each in found["differences"][world]}
    unsteady = {each["test"] for world in worlds for each in found["unsteady"][world]} - different
    bad = unexplained(name, [each for world in worlds for each in found["differences"][world]])
    unfinished = any(run["unfinished"] for run in found["runs"].values())
    words = [str(len(bad)) if bad else "NOT FINISHED" if unfinished else "none"]
    if different - bad:
        words.append(f"{len(different - bad)} explained")
    if unsteady:
        words.append(f"{len(unsteady)} unsteady")
    words += [
        f"NOT ON SABIO {NAMES[world]}" for world in worlds if not found["runs"][world]["loops of sabio"]
    ]
    return ", ".join(words)


def unexplained(name: str, differences: Iterable[Mapping[str, str]]) -> set[str]:
    """The tests among differences of which nobody has shown that they are no bugs of sabio."""
    package = BY_NAME.get(name, Package(name))
    return {each["test"] for each in differences if not package.explanation(each["test"])}


def is_good(name: str, found: Result) -> bool:
    """Whether a suite came to its end in every world, on sabio where it should, and no test differed without reason."""
    if "reason" in found:
        return False
    runs = found["runs"]
    return (
        not any(run["unfinished"] for run in runs.values())
        and all(runs[world]["loops of sabio"] for world in (LOOP, INSTALL))
        and not any(unexplained(name, found["differences"][world]) for world in (LOOP, INSTALL))
    )


def table(results: Mapping[str, Result]) -> list[list[str]]:
    """The table, headings first, a line for every package that there is."""
    return [list(HEADINGS), *(row(package.name, results.get(package.name)) for package in PACKAGES)]


def print_table(results: Mapping[str, Result], names: Sequence[str]) -> None:
    """Prints the lines of the named packages, and what differs by name."""
    lines = [list(HEADINGS), *(row(name, results.get(name)) for name in names)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for name in names:
        for text in details(name, results[name]):
            print(f"{name}: {text}")


def page(results: Mapping[str, Result]) -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    heading, *rows = table(results)
    lines += [_cells(heading), "|---|---|--:|--:|--:|--:|---|", *map(_cells, rows), ""]
    for package in PACKAGES:
        found = results.get(package.name)
        if found is None or "reason" in found:
            continue
        lines += [f"## {package.name} {found['version']}", ""]
        if package.checks:
            place = f"../tests/packages/{package.own_checks}"
            lines += [f"Its source distribution has no tests: these are [our own]({place}).", ""]
        lines += [", ".join(f"{name} {value}" for name, value in found["on"].items()) + ".", ""]
        lines += [f"* {text}" for text in details(package.name, found)]
        lines += [f"* left out: `{test}`: {why}" for test, why in package.left_out.items()]
        lines += [""]
    return "\n".join(lines).rstrip("\n") + "\n"


def details(name: str, found: Result) -> Iterator[str]:
    """What there is to say of one result, line by line."""
    if "reason" in found:
        yield f"NOT RUN: {found['reason']}"
        return
    for world, run in found["runs"].items():
        place = NAMES.get(world, "on asyncio")
        yield (
            f"{place}: {run['passed']} passed, {run['failed']} failed, {run['skipped']} skipped; "
            f"{run['loops of sabio']} loops of sabio's, {run['loops of asyncio']} of asyncio's"
        )
        if run["unfinished"]:
            yield f"{place}: not finished: {run['unfinished']}"
        if run["broken"]:
            yield f"{place}: cannot be collected: {', '.join(run['broken'])}"
        if world != ASYNCIO and run["tests with loops of asyncio"]:
            yield f"{place}, a loop of asyncio's was made in: {_some(run['tests with loops of asyncio'])}"
    for kind in ("differences", "unsteady"):
        for world, each in _merged(found[kind]).items():
            for difference in each:
                word = "difference" if kind == "differences" else "unsteady"
                why = BY_NAME.get(name, Package(name)).explanation(difference.test) or difference.why
                why = f" ({why})" if why else ""
                yield f"{word} {world}: `{difference.test}`: {difference.asyncio} on asyncio, {difference.sabio}{why}"


def _merged(by_world: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, list[Difference]]:
    """Differences by where they are seen: those of both worlds once."""
    found = {world: [Difference(**each) for each in by_world[world]] for world in (LOOP, INSTALL)}
    tests = {world: {(each.test, each.sabio) for each in found[world]} for world in found}
    both = tests[LOOP] & tests[INSTALL]
    merged = {"on sabio": [each for each in found[LOOP] if (each.test, each.sabio) in both]}
    for world, each in found.items():
        merged[NAMES[world]] = [one for one in each if (one.test, one.sabio) not in both]
    return merged


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
