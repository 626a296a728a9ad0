"""Gets a package's sdist, and makes the folder in which its tests are run.

The folder holds the sdist without the package itself, so that the tests find the one that is installed, or our own
checks of the package. Invariant: a folder that exists is complete; it is made under another name first.

Called by `packages.py`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import interpreters
from environment import REQUIREMENTS, ROOT, target_directory
from package_list import Package

#: Seconds for pip, which prepares the metadata of the sdist that it gets.
DOWNLOAD_SECONDS = 300.0


class Unavailable(Exception):
    """Something of outside that is not to be had: a package, a server. Its text says what and why."""


def folder() -> Path:
    """Where sdists, unpacked tests, records and logs are kept."""
    return target_directory() / "packages"


def pins(package: Package) -> Path:
    """The file that pins the package and what its tests need."""
    return REQUIREMENTS / "packages" / f"{package.name}.txt"


def pinned(text: str, name: str) -> str:
    """The version of a package in the text of a requirements file. KeyError if it is not pinned there."""
    wanted = canonical(name)
    for line in text.splitlines():
        found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", line)
        if found and canonical(found[1]) == wanted:
            return found[2]
    raise KeyError(name)


def canonical(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version(package: Package) -> str:
    """The version whose tests are run. Unavailable if none is pinned."""
    try:
        return pinned(pins(package).read_text(), package.name)
    except (OSError, KeyError):
        raise Unavailable(f"requirements/packages/{package.name}.txt pins no version of it") from None


def fetch(package: Package, python: Path) -> Path:
    """The package's sdist, by pip and from the index that pip is configured for. Raises Unavailable."""
    wanted = version(package)
    sdists = folder() / "sdists"
    if found := _found(sdists, package, wanted):
        return found
    command: list[str | Path] = [python, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", package.name, "--dest", sdists, f"{package.name}=={wanted}"]
    try:
        done = subprocess.run(
            command,
            env=interpreters.clean_environment(),
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"its sdist did not come within {DOWNLOAD_SECONDS:.0f} seconds") from None
    found = _found(sdists, package, wanted)
    if done.returncode != 0 or found is None:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"pip could not get its sdist: {reason}")
    return found


def _found(sdists: Path, package: Package, wanted: str) -> Path | None:
    for file in sorted(sdists.glob("*.tar.gz")):
        name, _, rest = file.name.removesuffix(".tar.gz").rpartition("-")
        if canonical(name) == canonical(package.name) and rest == wanted:
            return file
    return None


def checks(package: Package) -> Path:
    """The file of our own checks of a package."""
    return ROOT / "tests" / "packages" / package.own_checks


def unpack(package: Package, sdist: Path | None, name: str = "tree") -> Path:
    """The folder of this name in which the tests are run, made anew: an earlier run may have left things in it.

    Without an sdist it holds our own checks.
    """
    place = folder() / package.name / name
    partial = place.with_name(f"{name}.partial")
    for old in (partial, place):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    if sdist is None:
        shutil.copy(checks(package), partial)
        keep_settings_out(partial)
        partial.rename(place)
        return place
    with tarfile.open(sdist) as archive:
        archive.extractall(partial, filter="data")
    (top,) = partial.iterdir()
    prepare(package, top)
    top.rename(place)
    partial.rmdir()
    return place


def prepare(package: Package, tree: Path) -> None:
    """Puts tests where they are looked for and takes the package's own code away. Raises Unavailable."""
    for name, new in package.moved.items():
        if not (tree / name).is_dir():
            raise Unavailable(f"its sdist has no folder {name}")
        (tree / name).rename(tree / new)
    for name in package.source:
        if not (tree / name).is_dir():
            raise Unavailable(f"its sdist has no folder {name}")
        shutil.rmtree(tree / name)
    for name in package.left_out:
        if "::" not in name:
            # Not only not asked for: pytest would read a conftest.py there.
            remove = shutil.rmtree if (tree / name).is_dir() else Path.unlink
            remove(tree / name)
    for name in package.tests:
        if not (tree / name).exists():
            raise Unavailable(f"its sdist has no {name}")
    if package.conftest:
        (tree / "conftest.py").write_text(package.conftest)
    keep_settings_out(tree)


#: Where pytest looks for its settings, and what is written there if they are.
SETTINGS = {"pytest.ini": "", ".pytest.ini": "", "pyproject.toml": "[tool.pytest", "tox.ini": "[pytest]"}
SETTINGS |= {"setup.cfg": "[tool:pytest]"}


def keep_settings_out(tree: Path) -> None:
    """Sees to it that a suite without settings does not get those of sabio's own tests, which pytest finds above it."""
    found = [tree / name for name in SETTINGS if (tree / name).exists()]
    if not any(SETTINGS[file.name] in file.read_text() for file in found):
        (tree / "pytest.ini").write_text("[pytest]\n")
