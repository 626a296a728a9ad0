"""Compares the outcomes of a run with what is expected of the loop, and prints the result.

What a loop is known not to pass stands in `expected/LOOP.toml`, and what it fails only when it is installed in
`expected/LOOP-installed.toml`:

    [[group]]                       # tests that fail
    reason = "why, in a sentence"
    since = "3.12"                  # optional: the first and the last version of Python
    until = "3.13"                  #   where it holds
    unsteady = true                 # optional: they pass at times, so a pass is not worth a note
    hang = true                     # optional: they may fail by not coming to an end
    tests = ["test_events.LoopTests.test_timeout_rounding"]

    [[unsupported]]                 # what raises NotImplementedError
    reason = "why, in a sentence"
    methods = ["create_datagram_endpoint"]
    arguments = ["ssl"]

A test counts as expected to fail if it is listed, or if it ends in a NotImplementedError whose message names one
of the unsupported methods (`create_datagram_endpoint()`) or arguments (`ssl=...`). The rules: a failure that is not
expected fails the run; so does a hang unless the test's group says `hang`, and a crash always, listed or not; a
listed test that passes is reported, so that the list shrinks; a name in the list that the suite does not have is
reported as well, when the whole of its module was run.
"""

from __future__ import annotations

import json
import platform
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.runner import Outcome

FAILED = ("fail", "error")
EXPECTED_DIRECTORY = Path(__file__).parent / "expected"


@dataclass
class Expectation:
    """The expected failures of one loop on the running version of Python."""

    reasons: dict[str, str] = field(default_factory=dict)
    unsteady: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    # What the message of a NotImplementedError contains, and why.
    unsupported: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, *files: Path) -> Expectation:
        """Reads all of `files`, leaving out what is about other versions of Python."""
        expectation = cls()
        for file in files:
            expectation._add(file)
        return expectation

    def _add(self, file: Path) -> None:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        for group in table.pop("group", []):
            if _applies(group):
                self.reasons.update(dict.fromkeys(group["tests"], group["reason"]))
                if group.get("unsteady"):
                    self.unsteady.update(group["tests"])
                if group.get("hang"):
                    self.hanging.update(group["tests"])
        for group in table.pop("unsupported", []):
            if _applies(group):
                words = [f"{method}(" for method in group.get("methods", [])]
                words += [f"{argument}=" for argument in group.get("arguments", [])]
                self.unsupported.update(dict.fromkeys(words, group["reason"]))
        if table:
            raise ValueError(f"{file}: unknown tables {', '.join(table)}")

    def reason_for(self, outcome: Outcome) -> str | None:
        """Why this failure is expected, or None if it is not."""
        if outcome.status == "crash" or (outcome.status == "hang" and outcome.id not in self.hanging):
            return None
        if outcome.id in self.reasons:
            return self.reasons[outcome.id]
        if outcome.why.startswith("NotImplementedError"):
            for word, reason in self.unsupported.items():
                if word in outcome.why:
                    return reason
        return None


def _applies(group: dict[str, Any]) -> bool:
    def version(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split("."))

    running = sys.version_info[:2]
    return version(group.get("since", "3.0")) <= running <= version(group.get("until", "3.999"))


@dataclass
class Report:
    """A finished run, sorted by what it means."""

    loop: str
    seconds: float
    outcomes: list[Outcome]
    expectation: Expectation
    # Whether all tests of a module were run, so that a listed name which is absent means something.
    whole_modules: set[str]

    def __post_init__(self) -> None:
        self.expected: list[tuple[Outcome, str]] = []
        self.unexpected: list[Outcome] = []
        for outcome in self.outcomes:
            if outcome.fine:
                continue
            reason = self.expectation.reason_for(outcome)
            if reason is not None:
                self.expected.append((outcome, reason))
            else:
                self.unexpected.append(outcome)

    @property
    def passed(self) -> bool:
        """Whether nothing unexpected happened. A run of no tests at all has not passed."""
        return bool(self.outcomes) and not self.unexpected

    def print(self) -> None:
        """Prints all that a reader may have to act on, then one line with the numbers."""
        for outcome in self.unexpected:
            print(f"\n--- {outcome.status.upper()} {outcome.id}: {outcome.why}\n{outcome.detail.strip()}")
        for reason, count in Counter(reason for _, reason in self.expected).most_common():
            print(f"expected to fail: {count:4}  {reason}")
        by_id = {outcome.id: outcome for outcome in self.outcomes}
        listed = self.expectation.reasons
        steady = set(listed) - self.expectation.unsteady
        self._list(
            "listed as failing, but passed",
            (name for name in steady if name in by_id and by_id[name].status == "pass"),
        )
        self._list(
            "listed, but not in the suite",
            (name for name in listed if name not in by_id and name.partition(".")[0] in self.whole_modules),
        )
        self._list("passed at the second attempt", (o.id for o in self.outcomes if o.fine and o.earlier))
        print(self.summary())

    @staticmethod
    def _list(title: str, names: Iterable[str]) -> None:
        for name in sorted(names):
            print(f"{title}: {name}")

    def summary(self) -> str:
        """The numbers in one line."""
        status = Counter(outcome.status for outcome in self.outcomes)
        unexpected = Counter(outcome.status for outcome in self.unexpected)
        on_loop = sum(outcome.loops > 0 for outcome in self.outcomes)
        return (
            f"conformance: {self.loop} on CPython {platform.python_version()}: {len(self.outcomes)} tests, "
            f"{on_loop} of them on the loop: {status['pass']} passed, {status['skip']} skipped, "
            f"{len(self.expected)} failed as expected, {sum(unexpected[failed] for failed in FAILED)} unexpectedly, "
            f"{unexpected['hang']} hung, {unexpected['crash']} crashed; {self.seconds:.0f} s"
        )

    def write(self, file: Path) -> None:
        """Writes everything as JSON, for comparing runs."""
        data = {
            "loop": self.loop,
            "python": sys.version,
            "seconds": round(self.seconds, 1),
            "tests": [asdict(outcome) for outcome in self.outcomes],
        }
        file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
