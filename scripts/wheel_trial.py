"""Installs a wheel into a fresh environment, tries it, and runs the project's tests on what was installed.

Invariant: nothing of the checkout can be imported here. The environments lie outside of it, and so does the copy of
the tests, which is without the package's sources.

Called by `wheels.py`.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import interpreters
from environment import REQUIREMENTS, ROOT
from interpreters import Interpreter

PROGRAM = ROOT / "scripts" / "wheel_program.py"
#: Seconds for each program of a trial.
PATIENCE = 120.0
#: What tests need beside themselves is all that is in the checkout but for this.
NOT_COPIED = ("crates", "dist", "python", "target")
SUITE_REQUIREMENTS = ("run", "test")
FACTS = """
import json, os, resource, ssl, sysconfig
print(json.dumps({
    "package": sysconfig.get_path("platlib") + "/sabio",
    "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
    "libc": os.confstr("CS_GNU_LIBC_VERSION"),
    "openssl": ssl.OPENSSL_VERSION,
    "has_libssl": ssl.OPENSSL_VERSION_INFO >= (3,) and "/libssl.so" in open("/proc/self/maps").read(),
    "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE),
}))
"""


class Failed(Exception):
    """A wheel that does not do what it must; the text says what."""


class Trial:
    """An environment of one interpreter that a wheel has been installed into, and nothing else."""

    def __init__(self, interpreter: Interpreter, wheel: Path, folder: Path) -> None:
        """Makes the environment below `folder`. Raises Failed."""
        self.interpreter = interpreter
        self.folder = folder.resolve()
        self.python = self.folder / "environment" / "bin" / "python"
        self._run(interpreter.path, "-m", "venv", self.folder / "environment")
        self._pip("--no-index", "--no-deps", wheel)

    def use(self, version: str, build: str) -> None:
        """Looks at what `doctor` says (`build` of the build), and runs a program. Raises Failed."""
        facts = json.loads(self._run(self.python, "-c", FACTS))
        report = self._run(self.python, "-m", "sabio", "doctor")
        if wrong := list(wrong_lines(report, self._expected(facts, version) | {"build": build})):
            raise Failed("\n".join(["`python -m sabio doctor` is wrong", *wrong, report]))
        printed = self._run(self.python, "-X", "dev", "-W", "error", "-m", "sabio", PROGRAM).splitlines()
        if printed != [f"{facts['package']}/__init__.py", "sabio.Loop"]:
            raise Failed(f"{PROGRAM.name} printed {printed}")

    def _expected(self, facts: dict[str, Any], version: str) -> dict[str, str]:
        """What `doctor` must say of this machine and this interpreter."""
        system = platform.uname()
        files = "{} of at most {}".format(*facts["descriptors"])
        expected = {
            "sabio": f"{version} ({facts['package']}/_sabio{facts['suffix']})",
            "interpreter": f"CPython {self.interpreter.release} ({self.python})",
            "kernel": f"Linux {system.release} {system.machine}",
            "C library": str(facts["libc"]),
            "poller": "epoll",
            "descriptors": f"{files} (RLIMIT_NOFILE)".replace("-1", "unlimited"),
        }
        if facts["has_libssl"]:
            expected["TLS engine"] = f"libssl: {facts['openssl']} is called directly"
        return expected

    def test(self, options: Sequence[str]) -> None:
        """Runs the Python suite, or what `options` for pytest choose of it. Raises Failed."""
        self._pip(
            *(part for name in SUITE_REQUIREMENTS for part in ("--requirement", REQUIREMENTS / f"{name}.txt"))
        )
        tree = self.folder / "tree"
        shutil.copytree(ROOT, tree, ignore=_not_copied, symlinks=True, dirs_exist_ok=True)
        found = self._run(self.python, "-c", "import sabio; print(sabio.__file__)", cwd=tree).strip()
        if not found.startswith(f"{self.folder}/environment/"):
            raise Failed(f"the tests would import sabio from {found}")
        command: list[str | Path] = [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        if subprocess.run(command, cwd=tree, env=interpreters.clean_environment()).returncode != 0:
            raise Failed("the Python suite")

    def _pip(self, *arguments: str | Path) -> None:
        self._run(
            *(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *arguments,
            patience=5 * PATIENCE,
        )

    def _run(self, *command: str | Path, cwd: Path | None = None, patience: float = PATIENCE) -> str:
        """The output of a program, which must end well and complain of nothing. Raises Failed."""
        env = interpreters.clean_environment()
        env.pop("SABIO_TLS_ENGINE", None)
        try:
            done = subprocess.run(
                command,
                cwd=cwd or self.folder,
                env=env,
                capture_output=True,
                text=True,
                timeout=patience,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(map(str, command))} did not end within {patience:.0f} seconds") from None
        if done.returncode != 0 or done.stderr:
            status = f"{' '.join(map(str, command))} ended with {done.returncode}"
            raise Failed("\n".join([status, done.stdout, done.stderr]))
        return done.stdout


def wrong_lines(report: str, expected: dict[str, str]) -> Iterator[str]:
    """The lines of a report of `doctor` that are not as `expected`, by the word that they begin with."""
    lines = report.splitlines()
    for name, value in expected.items():
        if f"{name:<13}{value}" not in lines:
            yield f"expected: {name:<13}{value}"


def _not_copied(folder: str, names: Sequence[str]) -> set[str]:
    """What of a folder stays where it is: caches, builds and, at the top, the sources of the package."""
    hidden = {name for name in names if name.startswith(".") and name != ".ci"}
    return hidden | {"__pycache__"} | (set(NOT_COPIED) if Path(folder) == ROOT else set())
