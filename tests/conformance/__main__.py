"""Command line of the conformance tests; `python -m tests.conformance --help` lists the options.

Exits with 0 if every outcome was as expected, 1 if not, 3 if this interpreter has no test suite to run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.conformance import binding
from tests.conformance.report import EXPECTED_DIRECTORY, Expectation, Report
from tests.conformance.runner import Outcome, Runner


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--loop", required=True, help="asyncio, sabio, or MODULE[:CALLABLE] that makes loops")
    parser.add_argument(
        "--install",
        action="store_true",
        help="call sabio.install() before the suite is imported; only the modules that this is about",
    )
    parser.add_argument("--before", metavar="CODE", help="run CODE before the suite is imported")
    parser.add_argument("--module", nargs="+", help="only these modules of the suite")
    parser.add_argument("--quick", action="store_true", help="only the modules that matter most")
    parser.add_argument("--match", "-k", action="append", help="only tests whose name contains this")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="tests at a time")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one test")
    parser.add_argument("--no-retry", action="store_true", help="a failed test is not run a second time")
    parser.add_argument(
        "--expected", type=Path, help="file of expected failures (default: the loop's, if any)"
    )
    parser.add_argument("--strict", action="store_true", help="let the suite read loop._default_executor")
    parser.add_argument("--out", type=Path, help="write all outcomes to this file as JSON")
    parser.add_argument("--list", action="store_true", help="print the tests' names and run none")
    parser.add_argument("--verbose", "-v", action="store_true", help="print each outcome, also the passes")
    options = parser.parse_args()
    if options.install and options.loop != "sabio":
        parser.error("--install is for --loop sabio")
    return options


def expectation_of(options: argparse.Namespace) -> Expectation:
    """What the loop is known not to pass; with `--install`, together with what its native objects do not."""
    if options.expected:
        return Expectation.read(options.expected)
    files = [EXPECTED_DIRECTORY / f"{options.loop}.toml"]
    if options.install:
        files.append(EXPECTED_DIRECTORY / f"{options.loop}-installed.toml")
    return Expectation.read(*(file for file in files if file.exists()))


def main() -> int:
    """Runs what the options ask for; returns the exit code."""
    options = parse()
    try:
        available = binding.suite_modules()
    except binding.SuiteMissing as error:
        print(f"conformance: {sys.executable}: {error}", file=sys.stderr)
        return 3
    names = options.module or binding.default_modules(available, install=options.install, quick=options.quick)
    if unknown := sorted(set(names) - set(available)):
        print(f"conformance: the suite has no {', '.join(unknown)}", file=sys.stderr)
        return 2

    factory = binding.LoopFactory(options.loop)
    if options.install:
        binding.install(factory)
    if options.before:
        exec(options.before, {})
    cases = binding.load(names, factory, strict=options.strict)
    whole_modules = set() if options.match else set(names)
    if options.match:
        cases = [case for case in cases if any(text in case.id for text in options.match)]
    if options.list:
        print(*(case.id for case in cases), f"{len(cases)} tests", sep="\n")
        return 0

    expectation = expectation_of(options)

    def on_outcome(outcome: Outcome) -> None:
        if options.verbose:
            print(f"{outcome.status:5} {outcome.seconds:7.3f} s  {outcome.id}  {outcome.why}", flush=True)

    start = time.monotonic()
    runner = Runner(
        factory,
        jobs=options.jobs,
        timeout=options.timeout,
        retry=not options.no_retry,
        hanging=expectation.hanging,
    )
    outcomes = runner.run(cases, on_outcome)
    name = f"{options.loop}, installed," if options.install else options.loop
    report = Report(name, time.monotonic() - start, outcomes, expectation, whole_modules)
    if options.out:
        report.write(options.out)
    report.print()
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
