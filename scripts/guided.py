"""Builds the extension twice: what the first build counts at its work tells the compiler what is hot in the second.

This is the compiler's profile-guided optimisation (the rustc book, "Profile-guided Optimization"). It makes tasks,
queues and timers 5 to 30 per cent faster, since code that is seldom run gets out of the way of what is run all the
time. The programs that are counted are those of `training/`.

LLVM's `llvm-profdata` turns the counts into a profile. It must be of the compiler's own version of LLVM, and is looked
for in the compiler's folder (`rustup component add llvm-tools`), on the PATH, where Debian keeps it, and at last
fetched from the package index (`requirements/guided.txt`).

Invariant: a profile is of the sources that it is used for, and of a run in which every program came out right.

Called by `environment.py` and `wheel_build.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import interpreters

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "guided.txt"
#: Beside the package's sources, what a guided build depends on.
SOURCES = ("scripts/guided.py", "scripts/training/*.py", "requirements/guided.txt", "benches/localhost.pem")
#: Where the certificate lies that the programs use.
CERTIFICATE = ROOT / "benches"
#: Flags of the compiler for the build that counts. Names are not packed: not every llvm-profdata can unpack them.
COUNTING = ("-Cprofile-generate", "-Cllvm-args=-enable-name-compression=false")
#: Seconds that all programs together may take; they take about twenty.
PATIENCE = 900.0

#: Builds a wheel with flags of the compiler from nothing (cargo knows nothing of the file that a flag names) and
#: returns it; the name is that of the kind of build.
Build = Callable[[Sequence[str], str], Path]


class Impossible(Exception):
    """There is no guided build to be had here; the text says why, and what to do."""


class Guide:
    """Makes guided wheels. Raises Impossible, before anything is built, if there is no llvm-profdata."""

    def __init__(self, python: Path, target: Path, profile: Path) -> None:
        """`python` has pip, `target` is a folder for what is fetched, and `profile` the file that is made."""
        self._profile = profile
        self._profdata = _find(python, target / "llvm-profdata")

    def wheel(self, build: Build, interpreter: Path) -> Path:
        """A wheel for `interpreter`, which the training programs are run by. Raises Impossible if they fail."""
        self._learn(build(COUNTING, "counting"), interpreter)
        # The second flag is for `python -m sabio doctor`.
        return build((f"-Cprofile-use={self._profile}", "--cfg=guided"), "guided")

    def _learn(self, wheel: Path, interpreter: Path) -> None:
        """Runs the programs on a wheel that counts, and makes a profile of what it has counted."""
        with tempfile.TemporaryDirectory(prefix="sabio-training-") as name:
            package, counts = Path(name, "package"), Path(name, "counts")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(package)
            environment = interpreters.clean_environment() | {
                "PYTHONPATH": os.pathsep.join(map(str, (package, ROOT / "scripts"))),
                "PYTHONDONTWRITEBYTECODE": "1",
                # One file for all processes of a build, in which they add up.
                "LLVM_PROFILE_FILE": str(counts / "%m.profraw"),
            }
            command: list[str | Path] = [interpreter, "-m", "training", CERTIFICATE]
            _run(command, "the training programs failed", cwd=name, env=environment, timeout=PATIENCE)
            raw = sorted(counts.glob("*.profraw"))
            if not raw:
                raise Impossible("the training programs have left no counts")
            self._profile.parent.mkdir(parents=True, exist_ok=True)
            merge: list[str | Path] = [self._profdata, "merge", "--output", self._profile, *raw]
            _run(merge, "llvm-profdata cannot read the counts")


def _run(command: Sequence[str | Path], complaint: str, **options: object) -> str:
    """What a program prints. Raises Impossible with the end of what it said if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Impossible(f"{complaint}: {error}") from error
    if done.returncode != 0:
        raise Impossible(
            f"{complaint} (exit code {done.returncode}): {(done.stderr or done.stdout)[-2000:].strip()}"
        )
    return str(done.stdout)


def _facts() -> dict[str, str]:
    """What the compiler says of itself."""
    lines = _run(["rustc", "-vV"], "rustc does not say its version").splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def _find(python: Path, folder: Path) -> Path:
    """The llvm-profdata of the compiler's version of LLVM; what is fetched is kept in `folder`."""
    facts = _facts()
    major = facts["LLVM version"].split(".")[0]
    for place in _places(facts["host"], major):
        if _fits(place, major):
            return place
    fetched = folder / "llvm" / "bin" / "llvm-profdata"
    if not _fits(fetched, major):
        fetch: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--upgrade",
        ]
        fetch += ["--disable-pip-version-check", "--target", folder, "--requirement", REQUIREMENTS]
        try:
            _run(fetch, "pip could not fetch llvm-profdata", env=interpreters.clean_environment())
        except Impossible as reason:
            raise Impossible(f"{_lacking(major)} ({reason})") from reason
    if not _fits(fetched, major):
        raise Impossible(_lacking(major))
    return fetched


def _lacking(major: str) -> str:
    return (
        f"there is no llvm-profdata of LLVM {major}, which rustc is made with; "
        "`rustup component add llvm-tools` brings it"
    )


def _places(host: str, major: str) -> Iterator[Path]:
    """Where an llvm-profdata may be."""
    sysroot = _run(["rustc", "--print", "sysroot"], "rustc does not say where it lies").strip()
    yield Path(sysroot, "lib", "rustlib", host, "bin", "llvm-profdata")
    for name in (f"llvm-profdata-{major}", "llvm-profdata"):
        if found := shutil.which(name):
            yield Path(found)
    yield Path(f"/usr/lib/llvm-{major}/bin/llvm-profdata")


def _fits(place: Path, major: str) -> bool:
    """Whether a program is there, runs, and is of LLVM `major`."""
    if not os.access(place, os.X_OK):
        return False
    try:
        return f"LLVM version {major}." in _run([place, "--version"], "llvm-profdata does not run")
    except Impossible:
        return False
