"""Runs every check of the project (`make test`) and says what it could not run.

The order is from cheap to dear; all checks are run even if one fails, except that nothing is tested on an
interpreter for which the build failed. The last check is the Python suite on the default interpreter with the
release build, so its closing line is the last one of a good run. Exits with 1 if anything failed.

Which interpreter gets what: the default one everything, with the release build and once more with a build that
checks arithmetic and assertions; the oldest and the newest the whole suite; those between them the suite without the
stress tests and the conformance tests of the modules that matter most. All but the default one use the cargo
profile `quick`, which optimises but does not spend minutes on linking.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import interpreters
from environment import ROOT, Environment, require_tools, target_directory
from interpreters import SUPPORTED, Interpreter

PURE_CRATES = ("sabio-sync", "sabio-reactor")
LOOM_MAX_PREEMPTIONS = "4"
LINE = "=" * 100


class Checks:
    """Runs checks one after the other and keeps how each went."""

    def __init__(self) -> None:
        """Starts with nothing run."""
        self.results: list[tuple[str, float, bool]] = []

    @property
    def failed(self) -> list[str]:
        """The names of the checks that did not pass."""
        return [name for name, _, passed in self.results if not passed]

    def command(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> bool:
        """Runs a command as a check of this name, its output going where ours goes."""
        print(f"\n{LINE}\n== {name}\n", flush=True)
        start = time.monotonic()
        environment = interpreters.clean_environment() | dict(env or {})
        passed = subprocess.run(command, cwd=ROOT, env=environment).returncode == 0
        return self._record(name, start, passed)

    def prepare(self, environment: Environment, requirements: Sequence[str]) -> bool:
        """Brings an environment up to date, as a check."""
        name = f"build for CPython {environment.interpreter.version} ({environment.profile})"
        print(f"\n{LINE}\n== {name}\n", flush=True)
        start = time.monotonic()
        try:
            environment.prepare(*requirements)
        except SystemExit as stopped:
            print(stopped, file=sys.stderr)
            return self._record(name, start, False)
        return self._record(name, start, True)

    def crates_without_python(self) -> None:
        """The crates below the binding must not depend on PyO3, not even in their tests."""
        name = "the crates below the binding know no Python"
        print(f"\n{LINE}\n== {name}\n", flush=True)
        start, passed = time.monotonic(), True
        for crate in PURE_CRATES:
            tree = subprocess.run(
                ["cargo", "tree", "--locked", "--package", crate, "--target", "all", "--prefix", "none"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            found = sorted({line for line in tree.stdout.splitlines() if "pyo3" in line})
            passed &= tree.returncode == 0 and not found
            print(f"{crate}: {', '.join(found) or 'ok'}")
        self._record(name, start, passed)

    def _record(self, name: str, start: float, passed: bool) -> bool:
        self.results.append((name, time.monotonic() - start, passed))
        if not passed:
            print(f"\n!! FAILED: {name}", flush=True)
        return passed

    def print(self) -> None:
        """Prints what was run, how long it took and how it went."""
        print(f"\n{LINE}")
        for name, seconds, passed in self.results:
            print(f"{'ok    ' if passed else 'FAILED'} {seconds:6.1f} s  {name}")
        print(f"{'':6} {sum(seconds for _, seconds, _ in self.results):6.1f} s  in all", flush=True)


def check_rust(checks: Checks, interpreter: Interpreter) -> None:
    """Formatting, lints and tests of the crates, and the model checks of what is shared between threads."""
    # PyO3 asks an interpreter what to compile for; without this it would take any that it finds.
    env = {"PYO3_PYTHON": str(interpreter.path), "CARGO_TARGET_DIR": str(target_directory())}
    checks.command("cargo fmt", "cargo", "fmt", "--all", "--check")
    clippy = (
        "cargo",
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    )
    checks.command("cargo clippy", *clippy, env=env)
    checks.crates_without_python()
    # The binding is tested from Python: its functions need an interpreter around them.
    tests = ("cargo", "test", "--locked", "--workspace", "--exclude", "sabio-python", "--quiet")
    checks.command("cargo test", *tests, env=env)
    packages = [part for crate in PURE_CRATES for part in ("--package", crate)]
    loom = ("cargo", "test", "--locked", "--profile", "quick", *packages, "--test", "loom*", "--quiet")
    loom_env = {
        "RUSTFLAGS": "--cfg loom",
        "CARGO_TARGET_DIR": str(target_directory() / "loom"),
        # Without a bound the larger models take minutes, and a bound of 2 or 3 finds nearly all races already.
        "LOOM_MAX_PREEMPTIONS": os.environ.get("LOOM_MAX_PREEMPTIONS", LOOM_MAX_PREEMPTIONS),
    }
    checks.command("loom: the interleavings of what threads share", *loom, env=loom_env)


def check_python(checks: Checks, environment: Environment) -> None:
    """Formatting, lints and types of the Python code, and the stubs against the built module."""
    python = environment.python
    checks.command("ruff check", python, "-m", "ruff", "check", ".")
    checks.command("ruff format", python, "-m", "ruff", "format", "--check", ".")
    checks.command("mypy --strict", python, "-m", "mypy", "--strict")
    checks.command("stubtest: the type stubs say what the module has", python, "-m", "mypy.stubtest", "sabio")


def pytest(checks: Checks, environment: Environment, *, stress: bool = True) -> None:
    """The Python suite in one environment."""
    version, profile = environment.interpreter.version, environment.profile
    name = f"pytest on CPython {version}, {profile} build{'' if stress else ', without the stress tests'}"
    options = ["-q", "-p", "no:cacheprovider"] + ([] if stress else ["--ignore=tests/stress"])
    checks.command(name, environment.python, "-m", "pytest", *options)


def conformance(checks: Checks, environment: Environment, *, quick: bool = False) -> bool:
    """CPython's own tests of asyncio in one environment; False if this interpreter has none."""
    if not environment.interpreter.has_suite:
        return False
    name = f"conformance on CPython {environment.interpreter.version}{' (quick)' if quick else ''}"
    options = ["--loop", "sabio"] + (["--quick"] if quick else [])
    checks.command(name, environment.python, "-m", "tests.conformance", *options)
    return True


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
    checks = Checks()
    found = interpreters.find()
    default = interpreters.default()
    print(
        "interpreters:", ", ".join(f"{found[version].release} ({found[version].path})" for version in found)
    )
    announce_missing(found, [])

    check_rust(checks, default)
    release = Environment(default)
    if not checks.prepare(release, ["run", "test", "lint"]):
        checks.print()
        sys.exit(1)
    check_python(checks, release)

    without_suite: list[str] = []
    if not conformance(checks, release):
        without_suite.append(default.version)
    checked = Environment(default, "dev")
    if checks.prepare(checked, ["run", "test"]):
        pytest(checks, checked)
    ends = {min(found, key=SUPPORTED.index), max(found, key=SUPPORTED.index)}
    for version, interpreter in found.items():
        environment = Environment(interpreter, "quick")
        if version == default.version or not checks.prepare(environment, ["run", "test"]):
            continue
        pytest(checks, environment, stress=version in ends)
        if not conformance(checks, environment, quick=version not in ends):
            without_suite.append(version)

    before_last = len(checks.results)
    checks.print()
    announce_missing(found, without_suite)
    pytest(checks, release)
    if checks.failed:
        print(f"\n!! FAILED ({len(checks.failed)} of {before_last + 1}):", *checks.failed, sep="\n   ")
        sys.exit(1)


if __name__ == "__main__":
    main()
