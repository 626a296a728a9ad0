"""Makes virtual environments with sabio in them, and runs programs there.

    python3 scripts/environment.py --with run -- -m sabio examples/crawl.py

There is one environment per version of Python and cargo profile, `.venv/3.11` (release) or `.venv/3.11-dev`, and
where pinned tools would get into each other's way one per purpose, `.venv/3.14-bench`. Each profile has a target
directory, in which the versions share what does not depend on Python; what was built for a version is kept, so that
going from one to the other builds nothing again. Work whose inputs have not changed since it was last done is skipped.
The profile `guided` is release, built the way that wheels are (`guided.py`), which takes two builds.
What is built for a sanitizer is made with flags that the compiler takes from nightly versions only, or from one that
is told to be the standard library's own (`RUSTC_BOOTSTRAP`).

Invariant: `installed.json` in an environment records a step only after that step has succeeded. So an interrupted run
repeats the step that it was in.

Called by the Makefile, `check.py` and `nightly.py`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import guided
import interpreters
from interpreters import Interpreter

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
# All that the built package depends on.
SOURCES = (
    "Cargo.toml",
    "Cargo.lock",
    "pyproject.toml",
    "crates/*/Cargo.toml",
    "crates/*/src/**/*",
    "python/**/*",
)


#: What a build for a sanitizer needs, over and above its flags.
BOOTSTRAP = {"RUSTC_BOOTSTRAP": "1"}
#: The cargo profile of such a build.
SANITIZED = "sanitized"
#: The name for a release build that is guided by a profile.
GUIDED = "guided"
#: What a wheel's folder has when its build should have been guided and could not be: the reason.
UNGUIDED = "unguided"


def stop(message: str) -> NoReturn:
    """Ends the program with a message and exit code 1."""
    sys.exit(f"sabio: {message}")


def target_directory() -> Path:
    """Cargo's target directory: the user's own choice or `target/`."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()


def host() -> str:
    """The compiler's name for this machine, as in x86_64-unknown-linux-gnu."""
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return next(line.removeprefix("host: ") for line in version.splitlines() if line.startswith("host: "))


def sanitizer_flags(sanitizer: str) -> str:
    """`RUSTFLAGS` for a sanitizer, as in address. Nothing is recycled then: see `ffi/spare.rs`."""
    return f"-Zsanitizer={sanitizer} --cfg sanitized -Cforce-frame-pointers=yes"


def require_tools() -> None:
    """Checks for the two programs that cannot be installed into an environment."""
    if not shutil.which("cargo"):
        stop("cargo is not on the PATH: install Rust, from your distribution or by rustup")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        stop("there is no C compiler (cc), which Rust needs for linking: install gcc or clang")


@dataclass(frozen=True)
class Environment:
    """A virtual environment for one interpreter with sabio built under one cargo profile."""

    interpreter: Interpreter
    profile: str = "release"
    # Sets an environment apart whose tools must not mix with the others'.
    purpose: str = ""
    # The sanitizer that it is built for, with the profile `sanitized`.
    sanitizer: str = ""

    @property
    def build_name(self) -> str:
        """Names what is built: all environments of this version and profile share it."""
        return self.interpreter.version + ("" if self.profile == "release" else f"-{self.profile}")

    @property
    def flags(self) -> str:
        """`RUSTFLAGS` of the build; empty for those that cargo has from elsewhere."""
        return sanitizer_flags(self.sanitizer) if self.sanitizer else ""

    @property
    def sources(self) -> Sequence[str]:
        """All that the build depends on, as patterns of files."""
        return (*SOURCES, *guided.SOURCES) if self.profile == GUIDED else SOURCES

    @property
    def wheels(self) -> Path:
        """Where the wheel of this version and profile is kept."""
        return target_directory() / "built" / self.build_name

    @property
    def unguided(self) -> str:
        """Why what should be guided is a plain release build; empty if it is guided, or need not be."""
        reason = self.wheels / UNGUIDED
        return reason.read_text() if reason.exists() else ""

    @property
    def name(self) -> str:
        """The environment's directory below `.venv`."""
        return self.build_name + (f"-{self.purpose}" if self.purpose else "")

    @property
    def directory(self) -> Path:
        """Where the environment lies."""
        return ENVIRONMENTS / self.name

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.directory / "bin" / "python"

    def prepare(self, *requirements: str, build: bool = True) -> None:
        """Brings the environment up to date.

        `requirements` names files of `requirements/` without their suffix. With `build` off only the tools are
        installed. Ends the program, saying why, if something cannot be done.
        """
        with self._locked():
            self._create()
            self._install([*requirements, "build"] if build else list(requirements))
            if build:
                self._build()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        ENVIRONMENTS.mkdir(exist_ok=True)
        with (ENVIRONMENTS / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _record(self) -> dict[str, str]:
        try:
            record: dict[str, str] = json.loads((self.directory / "installed.json").read_text())
        except (OSError, ValueError):
            return {}
        return record

    def _write(self, record: dict[str, str]) -> None:
        (self.directory / "installed.json").write_text(json.dumps(record, indent=1) + "\n")

    def _create(self) -> None:
        identity = f"{self.interpreter.path} {self.interpreter.release}"
        if self._record().get("interpreter") == identity:
            return
        print(
            f"sabio: making {self.directory.relative_to(ROOT)} for CPython {self.interpreter.release}",
            flush=True,
        )
        command: list[str | Path] = [self.interpreter.path, "-m", "venv", "--clear", self.directory]
        made = subprocess.run(command, env=interpreters.clean_environment(), capture_output=True, text=True)
        if made.returncode != 0:
            print(made.stdout, made.stderr, sep="", file=sys.stderr)
            stop(
                f"{self.interpreter.path} cannot make a virtual environment with pip in it. On Debian and Ubuntu "
                f"`apt-get install python{self.interpreter.version}-venv` mends that."
            )
        self._write({"interpreter": identity})

    def _install(self, requirements: list[str]) -> None:
        record = self._record()
        digests = {f"requirements/{name}": _digest([REQUIREMENTS / f"{name}.txt"]) for name in requirements}
        files = [ROOT / f"{key}.txt" for key, digest in digests.items() if record.get(key) != digest]
        if files:
            self._pip(*(part for file in files for part in ("--requirement", file)))
            self._write(record | digests)

    def _build(self) -> None:
        record = self._record()
        digest = (
            _digest(sorted({file for pattern in self.sources for file in ROOT.glob(pattern)})) + self.flags
        )
        if record.get("sabio") == digest:
            return
        self.wheels.mkdir(parents=True, exist_ok=True)
        with (self.wheels.parent / f"{self.wheels.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._pip("--force-reinstall", "--no-deps", "--no-index", self._wheel(digest))
        self._write(record | {"sabio": digest})

    def _wheel(self, digest: str) -> Path:
        """The wheel of this version and profile, built unless another environment has had it built.

        Each environment's interpreter has another path, for which cargo would compile everything again.
        """
        built = self.wheels / "sources"
        if built.exists() and built.read_text() == digest and (found := [*self.wheels.glob("*.whl")]):
            return found[0]
        require_tools()
        print(f"sabio: building for CPython {self.interpreter.version}, profile {self.profile}", flush=True)
        shutil.rmtree(self.wheels, ignore_errors=True)
        self.wheels.mkdir(parents=True)
        if self.profile != GUIDED:
            wheel = self._compile(self.flags.split(), self.profile)
        else:
            try:
                profile = target_directory() / "guided" / f"{self.interpreter.version}.profdata"
                guide = guided.Guide(self.python, target_directory(), profile)
                wheel = guide.wheel(self._compile_anew, self.python)
            except guided.Impossible as reason:
                print(f"\n!!! NOT GUIDED, a plain release build: {reason}\n", file=sys.stderr, flush=True)
                wheel = self._compile((), "release")
                (self.wheels / UNGUIDED).write_text(str(reason))
        built.write_text(digest)
        return wheel

    def _compile_anew(self, flags: Sequence[str], kind: str) -> Path:
        """Builds a wheel, and nothing of an earlier build is used."""
        kind = f"{kind}-{self.interpreter.version}"
        shutil.rmtree(target_directory() / "python" / kind, ignore_errors=True)
        return self._compile(flags, kind)

    def _compile(self, flags: Sequence[str], kind: str) -> Path:
        """Builds a wheel; `kind` names the target directory, since other flags would have all compiled again."""
        for old in self.wheels.glob("*.whl"):
            old.unlink()
        profile = self.profile if self.profile != GUIDED else "release"
        command: list[str | Path] = [self.directory / "bin" / "maturin", "build", "--quiet", "--locked"]
        command += ["--profile", profile, "--interpreter", self.python]
        # The wheel never leaves this machine, so it need not run on older ones.
        command += ["--auditwheel", "skip", "--compatibility", "linux", "--out", self.wheels]
        environment = interpreters.clean_environment()
        environment["CARGO_TARGET_DIR"] = str(target_directory() / "python" / kind)
        if flags:
            # With a target named, the flags are for what runs there, and not for build scripts and macros.
            command += ["--target", host()]
            environment["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join(flags)
        if self.sanitizer:
            environment |= BOOTSTRAP
        if subprocess.run(command, cwd=ROOT, env=environment).returncode != 0:
            stop(f"the build for CPython {self.interpreter.version} failed")
        (wheel,) = self.wheels.glob("*.whl")
        return wheel

    def _pip(self, *arguments: str | Path) -> None:
        command = [
            self.python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
            *arguments,
        ]
        if subprocess.run(command, env=interpreters.clean_environment()).returncode != 0:
            stop(f"pip could not install {' '.join(map(str, arguments))} into {self.directory}")


def _digest(files: list[Path]) -> str:
    """A digest over the names and the contents of `files`."""
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def choose(wanted: str | None) -> Interpreter:
    """The interpreter for `--python`: a version, `best` for 3.14 if it is there, or none for the default one."""
    if wanted is None:
        return interpreters.default()
    found = interpreters.find()
    if wanted == "best":
        return found.get("3.14") or interpreters.default()
    if wanted not in found:
        stop(
            f"there is no CPython {wanted} here; found: {', '.join(found)} (`make pythons` fetches 3.14 and 3.15)"
        )
    return found[wanted]


def main() -> None:
    """Prepares an environment and, if a command is given, becomes that command in it."""
    parser = argparse.ArgumentParser(description="Prepares an environment with sabio and runs Python in it.")
    parser.add_argument(
        "--python", metavar="VERSION", help="3.11 to 3.15, or best (default: the running one)"
    )
    parser.add_argument("--profile", default="release", help="cargo profile of the build (default: release)")
    parser.add_argument("--sanitizer", default="", help="address, for instance, with --profile sanitized")
    parser.add_argument("--purpose", default="", help="name of an environment beside the usual one")
    parser.add_argument(
        "--with", dest="requirements", action="append", default=[], help="a file of requirements/"
    )
    parser.add_argument("--no-build", action="store_true", help="only the requirements, not sabio itself")
    parser.add_argument(
        "arguments", nargs="*", metavar="ARGUMENT", help="for the environment's Python, after --"
    )
    options = parser.parse_args()
    environment = Environment(choose(options.python), options.profile, options.purpose, options.sanitizer)
    environment.prepare(*options.requirements, build=not options.no_build)
    if options.arguments:
        os.chdir(ROOT)
        os.execve(
            environment.python,
            [str(environment.python), *options.arguments],
            interpreters.clean_environment(),
        )
    print(environment.python)


if __name__ == "__main__":
    main()
