"""Runs the test suites of packages that build on asyncio on sabio, and compares (`make packages`).

    python3 scripts/packages.py janus anyio     some packages
    python3 scripts/packages.py --list          what there is
    python3 scripts/packages.py --pin janus     pin the newest versions of a package and what its tests need

Each package gets an environment of its own. Its suite, out of its sdist, is run on asyncio, on sabio's loop alone and
with `sabio.install()`; how each test went is compared, and what differs is run again alone. The results are kept in
`docs/compatibility.json`, and `docs/compatibility.md` is written from them.

Invariant: what cannot be installed, started or finished is named, with the reason, and never counted as passed. Exits
with 1 if a test differs or a package could not be run for another reason than that it has no tests.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import interpreters
import package_report
import package_source
from environment import Environment, choose
from package_compare import NOT_RUN, REPEATS, Alone, compare
from package_list import BY_NAME, PACKAGES, Package
from package_report import Result
from package_servers import SERVERS
from package_source import Unavailable
from package_suite import ASYNCIO, INSTALL, LOOP, WORLDS, Run, Suite

#: Seconds for each of the three runs of a suite, unless `--limit` says otherwise.
LIMIT = 600.0
#: Seconds for one test alone.
ALONE_SECONDS = 120.0
TOOLS = ("pytest", "pytest-timeout")


def say(message: str) -> None:
    """Prints a line at once, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


def versions(python: Path, profile: str) -> dict[str, str]:
    """What a suite is run with: the versions of the interpreter, of sabio and of the system, and sabio's build."""
    code = "import platform, sabio; print(platform.python_version(), sabio.__version__)"
    done = subprocess.run([python, "-c", code], check=True, text=True, stdout=subprocess.PIPE)
    release, sabio = done.stdout.split()
    return {"CPython": release, "sabio": f"{sabio} ({profile} build)", "Linux": platform.release()}


def run_package(package: Package, python: str | None, profile: str, limit: float) -> Result:
    """Runs one package in all worlds. Raises Unavailable."""
    environment = Environment(choose(python), profile, f"package-{package.name}")
    wanted = package_source.version(package)
    try:
        environment.prepare(f"packages/{package.name}")
    except SystemExit as reason:
        raise Unavailable(f"its environment could not be made: {reason}") from None
    sdist = package_source.fetch(package, environment.python)
    output = package_source.folder() / package.name
    with contextlib.ExitStack() as stack:
        servers: dict[str, str] = {}
        for name in package.servers:
            servers |= stack.enter_context(SERVERS[name]())
        package = with_servers(package, servers)
        runs: dict[str, Run] = {}
        for world in WORLDS:
            tree = package_source.unpack(package, sdist)
            suite = Suite(package, environment.python, tree, output, servers)
            say(f"{package.name} {wanted}: {world}")
            runs[world] = suite.run(world, limit)
        alone = repeated(suite)
        found = {world: compare(runs[ASYNCIO], runs[world], world, alone) for world in (LOOP, INSTALL)}
    return package_report.result(wanted, versions(environment.python, profile), runs, found)


def with_servers(package: Package, servers: Mapping[str, str]) -> Package:
    """The package with the addresses of its servers in the options."""
    return replace(package, options=tuple(option.format_map(servers) for option in package.options))


def repeated(suite: Suite) -> Alone:
    """Runs tests of a suite alone, each of them not more than once in every world."""

    @functools.cache
    def alone(world: str, test: str) -> Sequence[str]:
        say(f"{suite.package.name}: again, alone, {REPEATS} times, {world}: {test}")
        runs = [suite.run(world, ALONE_SECONDS, [test], name="alone") for _ in range(REPEATS)]
        return [run.outcomes.get(test, NOT_RUN) for run in runs]

    return alone


def pin(package: Package, python: str | None) -> None:
    """Writes the file that pins the newest versions of a package and of what its tests need."""
    environment = Environment(choose(python), purpose="pins")
    environment.prepare(build=False)
    wanted = dict.fromkeys([package.requirement, *TOOLS, *package.needs])
    command: list[str | Path] = [environment.python, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", "--report", "-", *wanted]
    done = subprocess.run(command, env=interpreters.clean_environment(), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"packages: pip finds no versions for {package.name}")
    found = [each["metadata"] for each in json.loads(done.stdout)["install"]]
    lines = sorted((f"{each['name']}=={each['version']}" for each in found), key=str.lower)
    path = package_source.pins(package)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"# The tests of {package.name}, and what they need.", *lines, ""]))
    say(f"pinned {package.name} {package_source.version(package)} and {len(lines) - 1} others")


def run_all(packages: Sequence[Package], python: str | None, profile: str, limit: float) -> dict[str, Result]:
    """Runs packages one after the other, and keeps each result as soon as it is there."""
    results: dict[str, Result] = {}
    for package in packages:
        try:
            if package.nothing:
                raise Unavailable(package.nothing)
            result = run_package(package, python, profile, limit)
        except Unavailable as reason:
            say(f"!!! {package.name} IS NOT RUN: {reason}")
            result = package_report.skipped(version_or_none(package), str(reason))
        results[package.name] = result
        # What was kept is read anew: somebody may have run another package meanwhile.
        package_report.save(package_report.load() | {package.name: result})
    return results


def version_or_none(package: Package) -> str:
    """The pinned version, empty if there is none."""
    try:
        return package_source.version(package)
    except Unavailable:
        return ""


def is_well(package: Package, found: Result) -> bool:
    """Whether a result leaves nothing to look into."""
    return package_report.is_good(package.name, found) or bool(package.nothing)


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description="Runs the test suites of packages on sabio.")
    parser.add_argument("names", nargs="*", metavar="PACKAGE", help="the packages (default: all of them)")
    parser.add_argument("--list", action="store_true", help="print the packages and exit")
    parser.add_argument("--pin", action="store_true", help="pin the newest versions instead of running")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS", help="for each run of a suite"
    )
    parser.add_argument("--python", default="best", metavar="VERSION", help="3.11 to 3.15 (default: best)")
    parser.add_argument("--profile", default="release", help="cargo profile of sabio's build")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BY_NAME]
    if unknown:
        parser.error(f"no such package: {', '.join(unknown)}")
    chosen = [BY_NAME[name] for name in options.names] or list(PACKAGES)
    if options.list:
        for package in PACKAGES:
            print(f"{package.name:16}{version_or_none(package):10}{package.nothing}".rstrip())
    elif options.pin:
        for package in chosen:
            pin(package, options.python)
    else:
        results = run_all(chosen, options.python, options.profile, options.limit)
        names = [package.name for package in chosen]
        package_report.print_table(results, names)
        if not all(is_well(package, results[package.name]) for package in chosen):
            sys.exit(1)


if __name__ == "__main__":
    main()
