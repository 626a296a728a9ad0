"""Runs the test suites of packages that build on asyncio on sabio, and compares (`make packages`).

    python3 scripts/packages.py janus anyio     some packages
    python3 scripts/packages.py --list          what there is
    python3 scripts/packages.py --pin janus     pin the newest versions of a package and what its tests need
    python3 scripts/packages.py --portion 240 aiohttp     some minutes of a long run; the next call goes on
    python3 scripts/packages.py --world loop aiohttp      one of the three runs; calls for the others may run beside it

Each package gets an environment of its own. Its suite, out of its sdist, is run on asyncio, on sabio's loop alone and
with `sabio.install()`; how each test went is compared, and what differs is run again alone. The results are kept in
`docs/compatibility.json`, and `docs/compatibility.md` is written from them.

Invariant: what cannot be installed, started or finished is named, with the reason, and never counted as passed. Exits
with 1 if a test differs or a package could not be run, and with 75 if the portion is over before the run is: nothing is
kept of a package before all of it was run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import interpreters
import package_portions
import package_report
import package_source
from environment import Environment, choose
from package_compare import NOT_RUN, REPEATS, compare
from package_list import BY_NAME, PACKAGES, Package
from package_portions import Busy, Paused, Portions
from package_report import Result
from package_servers import SERVERS
from package_source import Unavailable
from package_suite import ASYNCIO, INSTALL, LOOP, WORLDS, Suite

#: Seconds for each of the three runs of a suite, unless `--limit` says otherwise.
LIMIT = 600.0
#: Seconds for one test alone.
ALONE_SECONDS = 120.0
#: The exit status that says that there is more to do, as sysexits.h has it.
MORE = 75
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


def run_package(package: Package, options: argparse.Namespace, pause: float) -> Result:
    """Runs one package in all worlds. Raises Unavailable, Busy, and Paused if it is not done before `pause`.

    With the option `world` it does the portions of that world only, and there is always more to do.
    """
    python, profile, limit = options.python, options.profile, options.limit
    environment = Environment(choose(package.python or python), profile, f"package-{package.name}")
    wanted = package_source.version(package)
    try:
        environment.prepare(f"packages/{package.name}")
    except SystemExit as reason:
        raise Unavailable(f"its environment could not be made: {reason}") from None
    sdist = None if package.checks else package_source.fetch(package, environment.python)
    output = package_source.folder() / package.name
    on = versions(environment.python, profile)
    # The build itself: sabio's version says little of it.
    same = package_portions.identity(
        package, on | json.loads((environment.directory / "installed.json").read_text())
    )
    with contextlib.ExitStack() as stack:
        servers: dict[str, str] = {}
        for name in package.servers:
            servers |= stack.enter_context(SERVERS[name]())
        package = with_servers(package, servers)
        suites, runs = {}, {}
        worlds = [options.world] if options.world else WORLDS
        for world in worlds:
            stack.enter_context(package_portions.claimed(output, world))
        for world in worlds:
            # The same path for all of them, unless others are at work: it may stand in the name of a test.
            tree = package_source.unpack(package, sdist, f"tree-{world}" if options.world else "tree")
            suites[world] = Suite(package, environment.python, tree, output, servers)
            portions = Portions(suites, same, pause)
            say(f"{package.name} {wanted}: {world}")
            runs[world] = portions.run(world, limit)
        if options.world:
            raise Paused
        alone = repeated(package, portions)
        found = {world: compare(runs[ASYNCIO], runs[world], world, alone) for world in (LOOP, INSTALL)}
        portions.end()
    return package_report.result(wanted, on, runs, found)


def with_servers(package: Package, servers: Mapping[str, str]) -> Package:
    """The package with the addresses of its servers in the options."""
    return replace(package, options=tuple(option.format_map(servers) for option in package.options))


def repeated(package: Package, portions: Portions) -> Callable[[str, str], Sequence[str]]:
    """Runs tests of a suite alone, each of them not more than once in every world."""

    def alone(world: str, test: str) -> Sequence[str]:
        say(f"{package.name}: again, alone, {REPEATS} times, {world}: {test}")
        return portions.alone(world, test, ALONE_SECONDS, REPEATS, NOT_RUN)

    return alone


def pin(package: Package, python: str | None) -> None:
    """Writes the file that pins the newest versions of a package and of what its tests need."""
    environment = Environment(choose(package.python or python), purpose="pins")
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


def run_all(packages: Sequence[Package], options: argparse.Namespace, pause: float) -> dict[str, Result]:
    """Runs packages one after the other, and keeps each result as soon as it is there.

    `pause` is a time of the monotonic clock behind which no more is begun. Raises Paused.
    """
    results: dict[str, Result] = {}
    for package in packages:
        try:
            result = run_package(package, options, pause)
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


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description="Runs the test suites of packages on sabio.")
    parser.add_argument("names", nargs="*", metavar="PACKAGE", help="the packages (default: all of them)")
    parser.add_argument("--list", action="store_true", help="print the packages and exit")
    parser.add_argument("--pin", action="store_true", help="pin the newest versions instead of running")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS", help="for each run of a suite"
    )
    parser.add_argument(
        "--portion",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="stop after so long; the next call goes on",
    )
    parser.add_argument("--world", choices=WORLDS, help="do only the portions of one of the three runs")
    parser.add_argument("--python", default="best", metavar="VERSION", help="3.11 to 3.15 (default: best)")
    parser.add_argument("--profile", default="release", help="cargo profile of sabio's build")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BY_NAME]
    if unknown:
        parser.error(f"no such package: {', '.join(unknown)}")
    chosen = [BY_NAME[name] for name in options.names] or list(PACKAGES)
    if options.list:
        for package in PACKAGES:
            print(
                f"{package.name:16}{version_or_none(package):10}{'own checks' if package.checks else ''}".rstrip()
            )
    elif options.pin:
        for package in chosen:
            pin(package, options.python)
    else:
        pause = time.monotonic() + options.portion
        try:
            results = run_all(chosen, options, pause)
        except Busy as reason:
            sys.exit(f"packages: {reason}: wait for its end, or name another world with --world")
        except Paused:
            say("there is more to do: the same command goes on")
            sys.exit(MORE)
        package_report.print_table(results, list(results))
        if not all(package_report.is_good(name, found) for name, found in results.items()):
            sys.exit(1)


if __name__ == "__main__":
    main()
