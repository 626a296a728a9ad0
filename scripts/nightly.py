"""Runs the checks that are too long for every change, or need more than everybody has (`make nightly`).

* The Python suite on a build for the address sanitizer (`sanitizer.py`), in parts, and random programs of
  `tests/fuzz`, random TLS connections and random conversations that no other night has seen.
* The tests of the crates below the binding under the same sanitizer, and under Miri, the interpreter that knows Rust's
  own rules.
* The targets of `fuzz/`, a few minutes each.

What cannot be run here is said at the beginning and at the end, and is never counted as passed; exits with 1 if
anything failed. `--only asan --only fuzz` runs the checks with these words in their names and what they need.

Everything that is made lies in `target/nightly`, the corpora of the fuzz targets included, so that the next night goes
on where this one ended. docs/nightly.md says what each check sees and what it does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import interpreters
import sanitizer
from environment import (
    BOOTSTRAP,
    ROOT,
    SANITIZED,
    Environment,
    choose,
    host,
    require_tools,
    sanitizer_flags,
    stop,
)
from jobs import LINE, Check, Jobs
from layers import PURE_CRATES

#: Seconds after which a check is taken to hang.
LIMIT = 1800.0
#: In so many parts the Python suite is run.
PARTS = 4
#: The tests of the reactor that make no system call, which Miri would not know.
WITHOUT_SYSTEM = ("--lib", "--test", "timers")
CARGO_FUZZ = "0.13.1"
FUZZ_TARGETS = ("timers", "stream_buffer")
#: How many seeds of `tests/fuzz` a night has; each is a program that is cancelled at each of its steps.
SEEDS = 300
#: Where asyncio does something else than it does now, so that there is nothing to compare those programs with.
BEFORE_3_14 = ("3.11", "3.12", "3.13")

CARGO_TEST = ("cargo", "test", "--locked", "--quiet")
PACKAGES = tuple(part for crate in PURE_CRATES for part in ("--package", crate))


def cargo_environment(name: str) -> dict[str, str]:
    """The environment of a build whose flags differ from every other's."""
    return interpreters.clean_environment() | {"CARGO_TARGET_DIR": str(sanitizer.directory() / name)}


class Night:
    """The checks, and what there is no way to run."""

    def __init__(self, environment: Environment, minutes: float) -> None:
        """Collects what can be run here; `minutes` is how long a fuzz target runs."""
        self.environment = environment
        self.seconds = round(minutes * 60)
        self.reports = sanitizer.directory() / "reports"
        #: What is not run, with the reason.
        self.missing: dict[str, str] = {}
        self.checks = [*self.python(), *self.crates(), *self.miri(), *self.fuzz()]

    def python(self) -> Iterator[Check]:
        """The Python suite on a build for the address sanitizer."""
        version = self.environment.interpreter.version
        what = f"asan: CPython {version}"
        library = sanitizer.runtime()
        if library is None:
            self.missing[what] = (
                "there is no runtime of the sanitizer (librustc_rt.asan.a of the compiler, clang's or gcc's)"
            )
            return
        build = f"{what}, build"
        options = ["--python", version, "--profile", SANITIZED, "--sanitizer", self.environment.sanitizer]
        command = [sys.executable, "scripts/environment.py", *options, "--with", "run", "--with", "test"]
        yield Check(build, command, LIMIT, interpreters.clean_environment())

        seen = f"{what}, the sanitizer sees what it is shown"
        proof = (sys.executable, __file__, "--self-check", version)
        yield Check(seen, proof, LIMIT, interpreters.clean_environment(), needs=[build])

        def on_sanitized(name: str, *arguments: str) -> Check:
            env = sanitizer.variables(library, self.reports)
            return Check(f"{what}, {name}", (self.environment.python, *arguments), LIMIT, env, needs=[seen])

        files = sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("tests/**/test_*.py"))
        pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--loops", "sabio", "-m", "not alone")
        for part in range(PARTS):
            name = f"pytest {part + 1} of {PARTS}"
            yield on_sanitized(name, *pytest, *sanitizer.deselected(), *files[part::PARTS])
        for name, module in (("TLS records", "tests.tls_fuzz"), ("conversations", "tests.conversation_fuzz")):
            yield on_sanitized(name, "-m", module, "--seconds", str(self.seconds))
        # Another range each day, and the same one all day.
        first = int(time.time() // 86400) * SEEDS
        seeds = f"{first}:{first + SEEDS}"
        if version in BEFORE_3_14:
            self.missing[f"{what}, cancellation"] = (
                "sabio behaves like asyncio of 3.14, and this one differs from that"
            )
        else:
            yield on_sanitized(f"cancellation, seeds {seeds}", "-m", "tests.fuzz", "--seeds", seeds)

    def crates(self) -> Iterator[Check]:
        """The crates below the binding under the address sanitizer, which looks for leaks there, too."""
        env = cargo_environment("asan") | BOOTSTRAP
        env |= {"RUSTFLAGS": sanitizer_flags("address"), "ASAN_OPTIONS": "detect_leaks=1"}
        command = (*CARGO_TEST, "--target", host(), *PACKAGES, "--lib", "--tests")
        yield Check("asan: the crates below the binding", command, LIMIT, env)

    def miri(self) -> Iterator[Check]:
        """What makes no system call, under Miri."""
        cargo = find_miri()
        if cargo is None:
            self.missing["miri: what makes no system call"] = (
                "the compiler has no component miri (rustup +nightly component add miri rust-src)"
            )
            return
        env = cargo_environment("miri") | {
            # Property tests read the environment, and the directory in which failures are kept.
            "MIRIFLAGS": "-Zmiri-disable-isolation -Zmiri-strict-provenance",
            "PROPTEST_CASES": "4",
        }
        for crate, tests in (("sabio-sync", ("--lib", "--tests")), ("sabio-reactor", WITHOUT_SYSTEM)):
            command = (*cargo, "miri", "test", "--locked", "--package", crate, *tests)
            yield Check(f"miri: {crate}", command, 4 * LIMIT, env)

    def fuzz(self) -> Iterator[Check]:
        """The targets of `fuzz/`."""
        tools = sanitizer.directory() / "tools"
        env = cargo_environment("fuzz") | BOOTSTRAP
        env["PATH"] = f"{tools / 'bin'}{os.pathsep}{env['PATH']}"
        install = (
            "cargo",
            "install",
            "--quiet",
            "--locked",
            "--root",
            tools,
            "--version",
            CARGO_FUZZ,
            "cargo-fuzz",
        )
        yield Check("fuzz: install cargo-fuzz", install, LIMIT, interpreters.clean_environment())
        built = "fuzz: build"
        yield Check(built, ("cargo", "fuzz", "build"), LIMIT, env, needs=["fuzz: install cargo-fuzz"])
        for target in FUZZ_TARGETS:
            corpus = sanitizer.directory() / "corpus" / target
            corpus.mkdir(parents=True, exist_ok=True)
            limits = (
                f"-max_total_time={self.seconds}",
                "-timeout=20",
                "-rss_limit_mb=4096",
                "-print_final_stats=1",
            )
            command = ("cargo", "fuzz", "run", target, corpus, "--", *limits, "-verbosity=0")
            yield Check(f"fuzz: {target}", command, self.seconds + LIMIT, env, needs=[built])

    def chosen(self, words: Sequence[str]) -> list[Check]:
        """The checks with one of these words in their names, and what they need; all of them without words."""
        by_name: Mapping[str, Check] = {check.name: check for check in self.checks}
        wanted = [name for name in by_name if not words or any(word in name for word in words)]
        for name in wanted:
            wanted += [needed for needed in by_name[name].needs if needed not in wanted]
        return [check for check in self.checks if check.name in wanted]

    def announce_missing(self) -> None:
        """Says loudly what is not run."""
        for name, reason in self.missing.items():
            print(f"\n!!! NOT RUN: {name}: {reason}.")
        sys.stdout.flush()


def find_miri() -> tuple[str, ...] | None:
    """The cargo that has Miri; None if none does."""
    for cargo in (("cargo",), ("cargo", "+nightly")):
        asked = subprocess.run([*cargo, "miri", "--version"], capture_output=True, text=True)
        if asked.returncode == 0 and asked.stdout.startswith("miri"):
            return cargo
    return None


def print_reports(reports: Path) -> int:
    """Prints what the sanitizer has reported, in all processes; returns how many reports there are."""
    files = sorted(reports.iterdir())
    for file in files:
        print(f"\n{LINE}\n== {file}\n\n{file.read_text(errors='replace')}")
    return len(files)


def check_sanitizer(version: str) -> None:
    """Exits with 1 if a mistake goes unnoticed on the sanitized build for this version."""
    library = sanitizer.runtime()
    environment = Environment(choose(version), SANITIZED, sanitizer="address")
    problem = "no runtime" if library is None else sanitizer.self_check(environment, library)
    print(problem or f"it does, with {library}")
    sys.exit(problem is not None)


def main() -> None:
    """Runs everything that can be run here."""
    parser = argparse.ArgumentParser(description="Runs what is too long for every change.")
    parser.add_argument(
        "--python", metavar="VERSION", default="best", help="3.11 to 3.15 (default: 3.14 if it is there)"
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="for each fuzz target (default: 3)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="checks with this in the name"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the checks and run none")
    parser.add_argument("--self-check", metavar="VERSION", help=argparse.SUPPRESS)
    options = parser.parse_args()
    require_tools()
    os.chdir(ROOT)
    if options.self_check:
        check_sanitizer(options.self_check)
    night = Night(Environment(choose(options.python), SANITIZED, sanitizer="address"), options.minutes)
    checks = night.chosen(options.only)
    if not checks:
        stop(f"no check has one of these in its name: {', '.join(options.only)}")
    if options.list:
        print(*(check.name for check in checks), sep="\n")
        night.announce_missing()
        return
    shutil.rmtree(night.reports, ignore_errors=True)
    night.reports.mkdir()
    night.announce_missing()
    jobs = Jobs()
    jobs.run(checks)
    reported = print_reports(night.reports)
    jobs.print()
    night.announce_missing()
    if reported:
        print(f"\n!! FAILED: the address sanitizer has made {reported} reports, see above")
    if jobs.failed:
        print(f"\n!! FAILED ({len(jobs.failed)} of {len(jobs.results)}):", *jobs.failed, sep="\n   ")
    sys.exit(bool(reported or jobs.failed))


if __name__ == "__main__":
    main()
