"""Runs every check of the project (`make test`) and says what it could not run.

Three checks run at a time; the order is from what others wait for to what nothing waits for. All checks are run even
if one fails, except that nothing is tested on an interpreter for which the build failed. Tests that measure how late
something happens (marker `alone`) run at the end, with nothing beside them, and then what failed beside another check
and may do better alone (`jobs.py`). What the Python suite on the default interpreter with the guided build prints is
kept for the end: its closing line is the last one of a good run. Exits with 1 if anything failed.

Which interpreter gets what: the default one everything, with the build that wheels have (`guided.py`) and once more
with one that checks arithmetic and assertions; the oldest and the newest the whole suite, the newest on sabio alone;
those between them the conformance tests of the modules that matter most, and the latest of them the suite without the
stress tests, on sabio alone. (`make wheels ARGS=--test` runs the whole suite on all of them.) Tests of the project's
own scripts, for which the build makes no difference, run once. The conformance tests of what `sabio.install()`
replaces, with it installed, are run in full on the default and on the newest one; the others get the modules of them
that matter most. All but the default one use the cargo profile `quick`, which optimises but does not spend minutes on
linking.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import interpreters
from environment import GUIDED, ROOT, Environment, require_tools, target_directory
from interpreters import SUPPORTED, Interpreter
from jobs import Check, Jobs
from layers import PURE_CRATES

LOOM_MAX_PREEMPTIONS = "4"
#: Seconds after which a check is taken to hang; each takes less than a third of it on two slow, busy cores.
LIMIT = 1500.0

#: More failed tests than these are no matter of a busy machine.
FEW = 5

CLIPPY = "cargo clippy"
TEST = "cargo test"
MYPY = "mypy --strict"
#: They lie outside of the workspace; `make nightly` builds and runs them.
FUZZ = ("--manifest-path", "fuzz/Cargo.toml")


def rust_checks(interpreter: Interpreter) -> list[Check]:
    """Formatting, lints and tests of the crates, and the model checks of what is shared between threads."""
    # PyO3 asks an interpreter what to compile for; without this it would take any that it finds.
    env = interpreters.clean_environment() | {
        "PYO3_PYTHON": str(interpreter.path),
        "CARGO_TARGET_DIR": str(target_directory()),
    }
    clippy = ("cargo", "clippy", "--locked", "--workspace", "--all-targets", "--quiet")
    # The binding is tested from Python: its functions need an interpreter around them.
    tests = ("cargo", "test", "--locked", "--workspace", "--exclude", "sabio-python", "--quiet")
    packages = [part for crate in PURE_CRATES for part in ("--package", crate)]
    loom = ("cargo", "test", "--locked", *packages, "--test", "loom*", "--quiet")
    loom_env = env | {
        "RUSTFLAGS": "--cfg loom",
        "CARGO_TARGET_DIR": str(target_directory() / "loom"),
        # Without a bound the larger models take minutes, and a bound of 2 or 3 finds nearly all races already.
        "LOOM_MAX_PREEMPTIONS": os.environ.get("LOOM_MAX_PREEMPTIONS", LOOM_MAX_PREEMPTIONS),
    }
    layers = (sys.executable, "scripts/layers.py")
    return [
        Check("cargo fmt", ("cargo", "fmt", "--all", "--check"), LIMIT, env),
        Check("cargo fmt: fuzz targets", ("cargo", "fmt", *FUZZ, "--check"), LIMIT, env),
        Check("the crates below the binding know no Python", layers, LIMIT, env),
        Check(CLIPPY, (*clippy, "--", "-D", "warnings"), LIMIT, env),
        # Both lock the target directory: side by side, one would only wait for the other.
        Check(TEST, tests, LIMIT, env, after=[CLIPPY], again=lambda: tests),
        Check("loom: the interleavings of what threads share", loom, LIMIT, loom_env),
    ]


def build(environment: Environment, requirements: Sequence[str]) -> Check:
    """Brings an environment up to date."""
    version, profile = environment.interpreter.version, environment.profile
    tools = [part for name in requirements for part in ("--with", name)]
    command = [sys.executable, "scripts/environment.py", "--python", version, "--profile", profile, *tools]
    return Check(f"build for CPython {version} ({profile})", command, LIMIT, interpreters.clean_environment())


def in_environment(environment: Environment, name: str, *arguments: str, after: Sequence[str] = ()) -> Check:
    """Runs an environment's Python once the environment is there."""
    command: list[str | Path] = [environment.python, *arguments]
    built = build(environment, ()).name
    return Check(name, command, LIMIT, interpreters.clean_environment(), after=after, needs=[built])


def python_checks(environment: Environment) -> list[Check]:
    """Formatting, lints and types of the Python code, and the stubs against the built module."""
    return [
        in_environment(environment, "ruff check", "-m", "ruff", "check", "."),
        in_environment(environment, "ruff format", "-m", "ruff", "format", "--check", "."),
        in_environment(environment, MYPY, "-m", "mypy", "--strict"),
        # Both write mypy's cache.
        in_environment(
            environment,
            "stubtest: the type stubs say what the module has",
            *("-m", "mypy.stubtest", "sabio"),
            after=[MYPY],
        ),
    ]


def pytest(environment: Environment, which: str, *options: str) -> Check:
    """The Python suite in one environment, or the part of it that `which` names and `options` choose."""
    version, profile = environment.interpreter.version, environment.profile
    name = f"pytest on CPython {version}, {profile} build{which}"
    failed = target_directory() / "failed" / f"{name}.json"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]

    def again() -> list[str | Path] | None:
        """The tests that failed, which the run has written down, if they are few."""
        try:
            tests: list[str] = json.loads(failed.read_text())
        except (OSError, ValueError):
            return None
        loops = [part for option, part in itertools.pairwise(options) if option == "--loops"]
        few = 0 < len(tests) <= FEW
        return [environment.python, *command, *(f"--loops={name}" for name in loops), *tests] if few else None

    check = in_environment(environment, name, *command, f"--write-failed={failed}", *options)
    return replace(check, again=again)


#: What a test does on asyncio is told by the same test with the guided build.
ON_SABIO_ALONE = ("--loops", "sabio")


#: What asks nothing of sabio, but of the scripts around it and of the tests themselves.
OF_THE_SCRIPTS = (
    "test_guided",
    "test_hosts",
    "test_jobs",
    "test_package_suites",
    "test_wheels",
    "fuzz/test_sensitivity",
)
WITHOUT_SCRIPTS = tuple(f"--ignore=tests/{name}.py" for name in OF_THE_SCRIPTS)


def suite(environment: Environment, *options: str) -> Check:
    """All of the suite that can share the machine with another check."""
    return pytest(environment, "", "-m", "not alone", *options)


def suite_without_stress(environment: Environment, *options: str) -> Check:
    """The suite without the stress tests."""
    return pytest(environment, ", without the stress tests", "--ignore=tests/stress", *options)


def lateness(environment: Environment) -> Check:
    """What measures how late something happens."""
    return pytest(environment, ", what needs the machine for itself", "-m", "alone")


def conformance(environment: Environment, *options: str) -> list[Check]:
    """CPython's own tests of asyncio in one environment; none if this interpreter has none.

    `options` are more of the command line: `--quick`, `--install`.
    """
    if not environment.interpreter.has_suite:
        return []
    name = " ".join([f"conformance on CPython {environment.interpreter.version}", *options])
    return [in_environment(environment, name, "-m", "tests.conformance", "--loop", "sabio", *options)]


def conformance_installed(environment: Environment, *options: str) -> list[Check]:
    """CPython's tests of what `sabio.install()` replaces, with it installed."""
    return conformance(environment, "--install", *options)


def plan(found: Mapping[str, Interpreter], default: Interpreter) -> tuple[list[Check], list[Check]]:
    """What can run side by side, and what must run alone but for the last check."""
    guided, checked = Environment(default, GUIDED), Environment(default, "dev")
    oldest, newest = min(found, key=SUPPORTED.index), max(found, key=SUPPORTED.index)
    builds = [build(guided, ["run", "cluster", "test", "lint"]), build(checked, ["run", "test"])]
    tests: list[list[Check]] = [
        [*python_checks(guided), *conformance(guided), *conformance_installed(guided)],
        [suite(checked, *ON_SABIO_ALONE, *WITHOUT_SCRIPTS), replace(suite(guided), last=True)],
    ]
    alone = [lateness(checked), lateness(guided)]
    # What takes longest first, so that nothing runs on by itself at the end.
    further_versions = sorted(set(found) - {default.version}, key=SUPPORTED.index, reverse=True)
    between = [version for version in further_versions if version not in (oldest, newest)]
    for version in further_versions:
        environment = Environment(found[version], "quick")
        builds.append(build(environment, ["run", "test"]))
        if version in (oldest, newest):
            half = ON_SABIO_ALONE if version == newest else ()
            tests.append([suite(environment, *half, *WITHOUT_SCRIPTS), *conformance(environment)])
            alone.append(lateness(environment))
        else:
            # All of them have CPython's own suite; `make wheels ARGS=--test` runs ours on each.
            tests.append(conformance(environment, "--quick"))
            if version == between[0]:
                tests[-1].insert(0, suite_without_stress(environment, *ON_SABIO_ALONE, *WITHOUT_SCRIPTS))
        tests[-1] += conformance_installed(environment, *(() if version == newest else ("--quick",)))
    # A build uses both cores for most of its time, so the builds are spread out: each runs while that is tested
    # which the one before it has made.
    together = [builds[0], *rust_checks(default)]
    for further, testing in zip([*builds[1:], None], tests, strict=True):
        together += [*([further] if further else []), *testing]
    return together, alone


def announce_missing(found: Mapping[str, Interpreter], without_suite: Sequence[str]) -> None:
    """Says loudly what was not tested."""
    missing = [version for version in SUPPORTED if version not in found]
    if missing:
        print(f"\n!!! NOT TESTED: there is no CPython {', '.join(missing)} on this machine.")
        if set(missing) & {"3.14", "3.15"}:
            print("!!! `make pythons` fetches 3.14 and 3.15.")
    if without_suite:
        print(
            f"\n!!! NO CONFORMANCE TESTS on {', '.join(without_suite)}: "
            "installed without the standard library's tests (Debian: libpythonX.Y-testsuite)."
        )
    sys.stdout.flush()


def main() -> None:
    """Runs everything."""
    require_tools()
    os.chdir(ROOT)
    found = interpreters.find()
    default = interpreters.default()
    print(
        "interpreters:", ", ".join(f"{found[version].release} ({found[version].path})" for version in found)
    )
    announce_missing(found, [])

    jobs = Jobs()
    together, alone = plan(found, default)
    jobs.run(together)
    jobs.run(alone, at_once=1)
    jobs.run_again()
    jobs.print()
    announce_missing(found, [version for version in found if not found[version].has_suite])
    if reason := Environment(default, GUIDED).unguided:
        print(
            f"\n!!! NOT GUIDED: a plain release build was tested in the place of what wheels have: {reason}"
        )
    if jobs.failed:
        print(f"\n!! FAILED ({len(jobs.failed)} of {len(jobs.results)}):", *jobs.failed, sep="\n   ")
        sys.exit(1)
    if jobs.unsteady:
        print("\n!! UNSTEADY, see above:", *jobs.unsteady, sep="\n   ", flush=True)
    jobs.print_last()


if __name__ == "__main__":
    main()
