"""Builds, checks and tries a wheel for every supported interpreter of this machine, and the sdist (`make wheels`).

    python3 scripts/wheels.py                                 all of it
    python3 scripts/wheels.py --test                          and the Python suite, on each wheel
    python3 scripts/wheels.py --only 3.13 --only sdist        some of it
    python3 scripts/wheels.py --only 3.13 --no-build --test -- tests/stress     tests of a wheel that is there

A wheel must hold the package and nothing else, with no trace of the machine that built it, and be tagged for a C
library that has the symbols that it needs (`wheel_contents.py`). It is installed into a fresh environment, where
`doctor` must tell the truth and a program must run (`wheel_trial.py`). The sdist must build, by pip and by its own lock
file, where there is no repository.

Invariant: `dist/` gets what has passed these checks, and nothing else. What cannot be done is named and never counted
as passed. Exits with 1 if something failed; an interpreter that is not there is no failure, but is named at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import interpreters
import wheel_contents
from environment import ROOT, require_tools
from interpreters import SUPPORTED, Interpreter
from wheel_build import Builder
from wheel_trial import Failed, Trial

DIST = ROOT / "dist"
SDIST = "sdist"
#: What `doctor` says of a wheel's build, and of one that pip makes of the sdist.
GUIDED = "guided by a profile, as wheels are"
PLAIN = "plain: some things are slower than with a wheel, whose build is guided by a profile"


def say(message: str) -> None:
    """Prints a line at once, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


class Ledger:
    """What was done, and what was not, for each version of CPython and for the sdist."""

    def __init__(self, names: Sequence[str]) -> None:
        self.done: dict[str, list[str]] = {name: [] for name in names}
        self.failed: dict[str, str] = {}
        self.missing: list[str] = []

    def attempt(self, name: str, step: str, action: Callable[[], None]) -> None:
        """Takes a step, unless an earlier one of the same name has failed."""
        if name in self.failed or name in self.missing:
            return
        say(f"{name}: {step}")
        try:
            action()
        except (Failed, SystemExit) as reason:
            self.failed[name] = step
            print(f"\n!! FAILED: {name}, {step}: {reason}\n", file=sys.stderr, flush=True)
        else:
            self.done[name].append(step)

    def print(self) -> None:
        """Prints a line for each name, and what is missing."""
        print()
        for name, steps in self.done.items():
            if name in self.missing:
                print(f"{name:6}!!! NOTHING WAS DONE: there is no CPython {name} on this machine")
            else:
                failed = f"!!! FAILED: {self.failed[name]}" if name in self.failed else "passed"
                print(f"{name:6}{failed} ({', '.join(steps) or 'no step'})")
        if set(self.missing) & {"3.14", "3.15"}:
            print("!!! `make pythons` fetches 3.14 and 3.15.")
        sys.stdout.flush()


def refuse(complaints: Sequence[str], file: Path) -> None:
    """Raises Failed if there are complaints of a file."""
    if complaints:
        raise Failed("\n  ".join([f"{file.name} cannot be given away:", *complaints]))


def keep(file: Path, pattern: str) -> None:
    """Moves a file that has passed into `dist/`, in the place of those that match `pattern`."""
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob(pattern):
        old.unlink()
    file.rename(DIST / file.name)


def version() -> str:
    """The version of sabio that is built."""
    return wheel_contents.version(ROOT)


def build_wheel(builder: Builder, interpreter: Interpreter) -> None:
    """Makes, checks and tries the wheel for one interpreter, and puts it into `dist/`."""
    with tempfile.TemporaryDirectory(dir=builder.target) as folder:
        wheel = builder.wheel(interpreter, Path(folder))
        refuse(wheel_contents.wheel_complaints(wheel, ROOT, interpreter.version, builder.folders()), wheel)
        try_wheel(interpreter, wheel)
        keep(wheel, pattern(interpreter))


def build_sdist(builder: Builder, interpreter: Interpreter) -> None:
    """Makes and checks the sdist, builds and tries a wheel of it, and puts it into `dist/`."""
    with (
        tempfile.TemporaryDirectory(dir=builder.target) as staging,
        tempfile.TemporaryDirectory(prefix="sabio-sdist-") as folder,
    ):
        sdist = builder.sdist(Path(staging))
        refuse(wheel_contents.sdist_complaints(sdist, ROOT, builder.folders()), sdist)
        wheel = builder.from_sdist(sdist, interpreter.path, Path(folder))
        refuse(wheel_contents.missing_files(wheel, ROOT), wheel)
        try_wheel(interpreter, wheel, PLAIN)
        keep(sdist, f"sabio-{version()}.tar.gz")


def try_wheel(interpreter: Interpreter, wheel: Path, build: str = GUIDED) -> None:
    """Installs a wheel into a fresh environment and uses it; `build` is what `doctor` says of it. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="sabio-wheel-") as folder:
        Trial(interpreter, wheel, Path(folder)).use(version(), build)


def test_wheel(interpreter: Interpreter, options: Sequence[str]) -> None:
    """Runs the Python suite on the wheel in `dist/`. Raises Failed."""
    wheels = sorted(DIST.glob(pattern(interpreter)))
    if len(wheels) != 1:
        raise Failed(f"there are {len(wheels)} wheels for it in {DIST.name}/")
    with tempfile.TemporaryDirectory(prefix="sabio-wheel-") as folder:
        trial = Trial(interpreter, wheels[0], Path(folder))
        trial.use(version(), GUIDED)
        trial.test(options)


def pattern(interpreter: Interpreter) -> str:
    """The name of the wheel for one interpreter, whatever its platform."""
    tag = "cp" + interpreter.version.replace(".", "")
    return f"sabio-{version()}-{tag}-{tag}-*.whl"


def main() -> None:
    """Does what the command line asks for."""
    parser = argparse.ArgumentParser(description="Builds, checks and tries wheels and the sdist.")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*SUPPORTED, SDIST],
        help="a version of CPython or the sdist (default: all)",
    )
    parser.add_argument(
        "--no-build", action="store_true", help="take the wheels that dist/ has, and no sdist"
    )
    parser.add_argument("--test", action="store_true", help="run the Python suite on each wheel")
    parser.add_argument("options", nargs="*", metavar="OPTION", help="for pytest, after --")
    options = parser.parse_args()
    if options.no_build and not options.test:
        parser.error("--no-build leaves nothing to do without --test")

    found = interpreters.find()
    names = options.only or [*SUPPORTED, SDIST]
    wanted = [name for name in names if name != SDIST]
    ledger = Ledger([name for name in names if name != SDIST or not options.no_build])
    ledger.missing = [version for version in wanted if version not in found]
    for name in ledger.missing:
        print(f"\n!!! NO WHEEL for CPython {name}: there is none on this machine.\n", flush=True)
    chosen = [found[name] for name in wanted if name in found]
    if not options.no_build:
        require_tools()
        builder = Builder()
        build = "built, checked and tried"
        for interpreter in chosen:
            ledger.attempt(interpreter.version, build, partial(build_wheel, builder, interpreter))
        if SDIST in names:
            ledger.attempt(SDIST, build, partial(build_sdist, builder, interpreters.default()))
    if options.test:
        for interpreter in chosen:
            step = " ".join(["suite", *options.options])
            ledger.attempt(interpreter.version, step, partial(test_wheel, interpreter, options.options))
    ledger.print()
    if ledger.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
