"""Builds the wheels and the sdist that are given away, without a trace of the machine they were built on.

A wheel's build is guided by a profile (`guided.py`). What cargo compiles names its sources, for panics. Each folder of
the builder is therefore named anew for the compiler (`--remap-path-prefix`), and the same sources give the same names
everywhere.

Invariant: what is built lies in a folder of its own until the caller has checked it.

Called by `wheels.py`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import guided
import interpreters
import wheel_licences
from environment import ROOT, Environment, host, stop, target_directory
from interpreters import Interpreter


class Builder:
    """maturin and cargo, and the folder that they put things into."""

    def __init__(self) -> None:
        environment = Environment(interpreters.default())
        environment.prepare("build", build=False)
        self.python = environment.python
        self.maturin = environment.directory / "bin" / "maturin"
        self.target = target_directory() / "wheels"
        self.target.mkdir(parents=True, exist_ok=True)
        # Where the sources lie is known once they have been fetched.
        self._run("cargo", "fetch", "--quiet", "--locked", cwd=ROOT)

    def wheel(self, interpreter: Interpreter, into: Path) -> Path:
        """Builds the wheel for one interpreter, as new as it can be for the oldest C library that it runs on."""
        profile = self.target / interpreter.version / "sabio.profdata"
        try:
            guide = guided.Guide(self.python, target_directory(), profile)
            with tempfile.TemporaryDirectory(dir=self.target) as folder:
                built = guide.wheel(partial(self._compile, interpreter, Path(folder)), interpreter.path)
                wheel = built.rename(into / built.name)
        except guided.Impossible as reason:
            stop(f"the build for CPython {interpreter.version} cannot be guided: {reason}")
        wheel_licences.add(wheel, self._licences())
        return wheel

    def _compile(self, interpreter: Interpreter, folder: Path, flags: Sequence[str], kind: str) -> Path:
        target = self.target / interpreter.version / kind
        shutil.rmtree(target, ignore_errors=True)
        command: list[str | Path] = [self.maturin, "build", "--quiet", "--release", "--strip", "--locked"]
        # With a target named, the flags are for what runs there, and not for build scripts and macros.
        command += ["--interpreter", interpreter.path, "--target", host(), "--out", folder / kind]
        self._run(*command, cwd=ROOT, target=target, flags=flags)
        (wheel,) = (folder / kind).glob("*.whl")
        return wheel

    def _licences(self) -> dict[str, str]:
        """The licences of what the module is made of, by the names of their files."""
        compiler = dict(
            line.split(": ", 1) for line in _output("rustc", "--version", "--verbose").splitlines()[1:]
        )
        command = ("cargo", "metadata", "--locked", "--offline", "--format-version", "1")
        metadata = json.loads(_output(*command, "--filter-platform", compiler["host"]))
        try:
            text = wheel_licences.notice(wheel_licences.linked(metadata, "sabio-python"), compiler["release"])
        except ValueError as reason:
            stop(f"no wheel can be given away: {reason}")
        library = Path(
            _output("rustc", "--print", "sysroot").strip(), "share/doc/rust", wheel_licences.LIBRARY
        )
        return {wheel_licences.NAME: text} | (
            {library.name: library.read_text()} if library.is_file() else {}
        )

    def sdist(self, into: Path) -> Path:
        """Makes the sdist; its lock file names the crates that are in it, and no others."""
        with tempfile.TemporaryDirectory() as name:
            self._run(self.maturin, "sdist", "--out", name, cwd=ROOT)
            (made,) = Path(name).glob("*.tar.gz")
            sdist = into / made.name
            with tarfile.open(made) as archive:
                archive.extractall(name, filter="data")
                top = Path(name, made.name.removesuffix(".tar.gz"))
                lock = self._fitting_lock(top)
                replace(archive, sdist, {f"{top.name}/Cargo.lock": lock})
        return sdist

    def _fitting_lock(self, tree: Path) -> bytes:
        """The lock file of `tree` without what its workspace has not; cargo takes out what it misses, and only that."""
        lock = tree / "Cargo.lock"
        before = packages(lock)
        self._run("cargo", "metadata", "--quiet", "--offline", "--format-version", "1", cwd=tree, silent=True)
        if more := packages(lock) - before:
            stop(f"cargo put into the sdist's Cargo.lock what is not in that of the checkout: {more}")
        return lock.read_bytes()

    def from_sdist(self, sdist: Path, python: Path, into: Path) -> Path:
        """Builds a wheel of an sdist as pip does, which unpacks it where there is no repository.

        It is to show that nothing is missing, so the quick profile does, and every version is that of the lock file.
        """
        command: list[str | Path] = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
        command += ["--disable-pip-version-check", "--wheel-dir", into, sdist]
        env = {"MATURIN_PEP517_ARGS": "--locked --profile quick"}
        self._run(*command, cwd=into, target=self.target / "sdist", env=env)
        (wheel,) = into.glob("*.whl")
        return wheel

    def folders(self) -> list[Path]:
        """The folders of this machine that nothing which is given away may name."""
        return sorted({Path.home(), *(Path(folder) for folder, _ in self._names(self.target))})

    def _names(self, target: Path) -> Iterator[tuple[str, str]]:
        """Each folder of the builder and its name for everybody; of those that fit a path, the last one counts."""
        cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo").absolute()
        yield _output("rustc", "--print", "sysroot").strip(), "/rust"
        yield str(cargo), "/cargo"
        for registry in sorted((cargo / "registry" / "src").glob("*")):
            # It is called after the host that the crates were fetched from.
            yield str(registry), "/cargo/registry"
        yield str(ROOT), "/sabio"
        yield str(target), "/target"

    def _run(
        self,
        *command: str | Path,
        cwd: Path,
        target: Path | None = None,
        flags: Sequence[str] = (),
        env: dict[str, str] | None = None,
        silent: bool = False,
    ) -> None:
        environment = interpreters.clean_environment() | (env or {})
        if target is not None:
            environment["CARGO_TARGET_DIR"] = str(target)
            environment["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join([*self._flags(target), *flags])
        output = subprocess.DEVNULL if silent else None
        if subprocess.run(command, cwd=cwd, env=environment, stdout=output).returncode != 0:
            stop(f"{' '.join(map(str, command))} failed")

    def _flags(self, target: Path) -> list[str]:
        if flags := os.environ.get("CARGO_ENCODED_RUSTFLAGS"):
            given = flags.split("\x1f")
        else:
            given = os.environ.get("RUSTFLAGS", "").split()
        return [*given, *(f"--remap-path-prefix={folder}={name}" for folder, name in self._names(target))]


def _output(*command: str) -> str:
    """What a program prints that must not fail."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def packages(lock: Path) -> set[tuple[str, str, str]]:
    """The name, the version and the checksum of each crate that a lock file names."""
    entries = tomllib.loads(lock.read_text())["package"]
    return {(entry["name"], entry["version"], entry.get("checksum", "")) for entry in entries}


def replace(archive: tarfile.TarFile, new: Path, contents: dict[str, bytes]) -> None:
    """Writes `archive` once more as `new`, with other `contents` of some of its files, and no time of writing."""
    with (
        new.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as copy,
    ):
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if member.name in contents:
                content = io.BytesIO(contents[member.name])
                member.size = len(contents[member.name])
            copy.addfile(member, content)
