"""Finds the interpreters of this machine that sabio can be built for.

They are looked for, in this order: the one that runs this script (so `make PYTHON=...` chooses the default), the
`pythonX.Y` of PATH, pyenv's, and those that `make pythons` has fetched. The first of each version that works is
taken; a name that leads to nothing (pyenv's shims do that) is passed over.

Called by `environment.py` and `check.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pythons import cache_directory

SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")

# The path of the executable is asked for because a shim or a link says nothing about what it leads to.
PROBE = """
import importlib.util, json, platform, sys, sysconfig
print(json.dumps({
    "path": sys.executable,
    "release": platform.python_version(),
    "fit": platform.python_implementation() == "CPython" and not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "suite": importlib.util.find_spec("test") is not None and importlib.util.find_spec("test.test_asyncio") is not None,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A CPython that works: `version` is like 3.14, `release` like 3.14.8."""

    version: str
    release: str
    path: Path
    # Whether it has the standard library's own tests.
    has_suite: bool


def probe(path: Path) -> Interpreter | None:
    """What the interpreter at `path` is; None if it does not run or is not one that sabio supports."""
    try:
        answer = subprocess.run(
            [path, "-c", PROBE], capture_output=True, text=True, timeout=20, env=clean_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    facts = json.loads(answer.stdout)
    version = ".".join(facts["release"].split(".")[:2])
    if not facts["fit"] or version not in SUPPORTED:
        return None
    return Interpreter(version, facts["release"], Path(facts["path"]), facts["suite"])


def clean_environment() -> dict[str, str]:
    """The environment without what would make one interpreter use the files of another."""
    ours = {
        "PYTHONHOME",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONUSERBASE",
        "__PYVENV_LAUNCHER__",
    }
    return {name: value for name, value in os.environ.items() if name not in ours}


def default() -> Interpreter:
    """The interpreter that runs this script."""
    found = probe(Path(sys.executable))
    if found is None:
        sys.exit(
            f"sabio needs CPython {SUPPORTED[0]} to {SUPPORTED[-1]}, and {sys.executable} is "
            f"{sys.version.split()[0]}. Say `make PYTHON=/path/to/python ...` to use another."
        )
    return found


def find() -> dict[str, Interpreter]:
    """All supported interpreters of this machine by version, the default one among them."""
    first = default()
    found = {first.version: first}
    for version, path in _candidates():
        if version not in found and (interpreter := probe(path)) and interpreter.version == version:
            found[version] = interpreter
    return dict(sorted(found.items(), key=lambda item: SUPPORTED.index(item[0])))


def _candidates() -> Iterator[tuple[str, Path]]:
    for version in SUPPORTED:
        if program := shutil.which(f"python{version}"):
            yield version, Path(program)
        for directory in sorted(_pyenv_root().glob(f"versions/{version}.*"), key=_release, reverse=True):
            yield version, directory / "bin" / "python"
        fetched = cache_directory() / version / "bin" / f"python{version}"
        if fetched.exists():
            yield version, fetched


def _pyenv_root() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def _release(directory: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in directory.name.split(".") if part.isdigit())


if __name__ == "__main__":
    for interpreter in find().values():
        suite = "" if interpreter.has_suite else "  (without the standard library's tests)"
        print(f"{interpreter.version}  {interpreter.release:10} {interpreter.path}{suite}")
