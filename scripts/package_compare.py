"""Compares how a package's tests went on sabio with how they went on asyncio.

A test that ended otherwise is run again, alone and several times on both loops, before that is called a difference:
suites have tests that fail now and then, and tests that fail when others were run before. Invariant: what is said of a
test was seen; one that was not run again counts as a difference.

Called by `packages.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from package_suite import ASYNCIO, Run

#: How often a test that went otherwise is run again on each loop.
REPEATS = 3
#: More tests than that are not run again: so many differences are no accidents.
MOST_REPEATED = 30
NOT_RUN = "not run"

#: Runs one test alone in a world, `REPEATS` times, and gives its outcomes.
Alone = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True)
class Difference:
    """A test that ended otherwise on sabio."""

    test: str
    asyncio: str
    sabio: str
    why: str = ""


@dataclass
class Comparison:
    """All tests of a suite in one world of sabio's beside asyncio."""

    differences: list[Difference] = field(default_factory=list)
    #: Went otherwise once, and when run alone at least once as on asyncio.
    unsteady: list[Difference] = field(default_factory=list)


def suspects(asyncio: Run, sabio: Run) -> list[Difference]:
    """The tests whose outcomes in two runs are not the same; those that only one of them has are among them."""
    names = dict.fromkeys([*asyncio.outcomes, *sabio.outcomes])
    found = []
    for name in names:
        there, here = asyncio.outcomes.get(name, NOT_RUN), sabio.outcomes.get(name, NOT_RUN)
        if there != here:
            found.append(Difference(name, there, here, sabio.why.get(name) or asyncio.why.get(name, "")))
    return found


def compare(asyncio: Run, sabio: Run, world: str, alone: Alone) -> Comparison:
    """Compares two runs and runs again what differs."""
    found = suspects(asyncio, sabio)
    if len(found) > MOST_REPEATED:
        return Comparison(differences=found)
    done = Comparison()
    for suspect in found:
        on_asyncio, on_sabio = alone(ASYNCIO, suspect.test), alone(world, suspect.test)
        if set(on_asyncio) & set(on_sabio):
            seen = f"alone: {tally(on_asyncio)} on asyncio, {tally(on_sabio)} on sabio"
            done.unsteady.append(Difference(suspect.test, suspect.asyncio, suspect.sabio, seen))
        else:
            done.differences.append(suspect)
    return done


def tally(outcomes: Sequence[str]) -> str:
    """Outcomes with their numbers: `passed 2, failed 1`."""
    counts: Mapping[str, int] = {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}
    return ", ".join(f"{outcome} {count}" for outcome, count in counts.items())
