"""What a wheel and an sdist of sabio must hold, and what must not be in them.

Each check looks at a file that was built and returns complaints, one sentence each; none means that it can be given
away. Nothing is run here.

Called by `wheels.py`.
"""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.message import Message
from pathlib import Path

import wheel_licences

LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")
#: A crate of the registry whose source a binary names.
CRATE = re.compile(rb"/cargo/registry/([\w-]+?)-(\d[\w.+-]*)/")
#: How paths of sources begin that lead to nobody's folder: the compiler's own, and what `wheel_build.py` makes of ours.
NEUTRAL_SOURCES = (b"/cargo/registry/", b"/rust/deps/", b"/rustc/")
#: One path of a source. The strings of a binary follow each other without an end: the shortest is the path.
SOURCE_PATH = re.compile(rb"/[\w.+@/-]*?\.rs")
#: What stands before such a path where it is the tail of a relative one: the workspace's folder of crates.
RELATIVE = b"crates"
#: A version of the C library's symbols, as a binary that needs it names it.
GLIBC = re.compile(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)")
MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)")


def package_files(root: Path) -> set[str]:
    """What the package consists of before it is built: the files below `python/`, by their names in a wheel."""
    top = root / "python"
    return {
        str(file.relative_to(top))
        for file in top.glob("sabio/**/*")
        if file.suffix in (".py", ".pyi") or file.name == "py.typed"
    }


def wheel_complaints(wheel: Path, root: Path, version: str, folders: Sequence[Path]) -> list[str]:
    """What is wrong with a wheel for CPython `version` (as 3.14) made of the checkout `root`.

    `folders` are the builder's own: nobody else may read of them in the wheel.
    """
    tag = "cp" + version.replace(".", "")
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    complaints = [*_names(files, root, version), *_record(files), *traces(files, folders)]
    name = re.fullmatch(rf"sabio-([^-]+)-{tag}-{tag}-([\w.]+)\.whl", wheel.name)
    if name is None:
        return [*complaints, f"its name, {wheel.name}, is not that of a wheel for CPython {version} alone"]
    metadata, about = _message(files, "METADATA"), _message(files, "WHEEL")
    complaints += _metadata(metadata, root, name[1], [wheel_licences.NAME, *_library(files)])
    tags = {f"{tag}-{tag}-{platform}" for platform in name[2].split(".")}
    if set(about.get_all("Tag", [])) != tags:
        complaints.append(f"WHEEL tells of other tags than its name: {about.get_all('Tag')}")
    named = next((data for file, data in files.items() if file.endswith(f"/{wheel_licences.NAME}")), b"")
    for binary in (data for file, data in files.items() if file.endswith(".so")):
        complaints += [*_binary(binary, name[2]), *_crates_without_licence(binary, named)]
    return complaints


def _library(files: Iterable[str]) -> list[str]:
    """The name of the standard library's licences, if they are there: not every compiler brings them."""
    return (
        [wheel_licences.LIBRARY] if any(name.endswith(f"/{wheel_licences.LIBRARY}") for name in files) else []
    )


def _crates_without_licence(binary: bytes, named: bytes) -> Iterator[str]:
    for name, version in sorted(set(CRATE.findall(binary))):
        if b"\n%s %s (" % (name, version) not in named:
            yield f"{wheel_licences.NAME} does not name {name.decode()} {version.decode()}"


def missing_files(wheel: Path, root: Path) -> list[str]:
    """What a wheel lacks of the checkout `root`; all else of it may be as it is."""
    with zipfile.ZipFile(wheel) as archive:
        absent = package_files(root) - set(archive.namelist())
    return [f"it lacks {', '.join(sorted(absent))}"] if absent else []


def _names(files: Iterable[str], root: Path, version: str) -> Iterator[str]:
    inside = {name for name in files if not re.match(r"sabio-[^/]+\.dist-info/", name)}
    suffix = "cpython-" + version.replace(".", "")
    binaries = {name for name in inside if re.match(rf"sabio/_sabio\.{suffix}-[\w-]+\.so$", name)}
    if len(binaries) != 1:
        yield f"it has {len(binaries)} extension modules for CPython {version}, not one"
    wanted = package_files(root) | binaries
    if absent := wanted - inside:
        yield f"it lacks {', '.join(sorted(absent))}"
    if more := inside - wanted:
        yield f"it has what is no part of the package: {', '.join(sorted(more))}"
    about = {name.split(".dist-info/", 1)[1] for name in files if name not in inside}
    needed = {
        "METADATA",
        "WHEEL",
        "RECORD",
        *(f"licenses/{name}" for name in (*LICENCES, wheel_licences.NAME)),
    }
    if absent := needed - about:
        yield f"its .dist-info lacks {', '.join(sorted(absent))}"
    if more := about - needed - {f"licenses/{wheel_licences.LIBRARY}"}:
        yield f"its .dist-info has more than is known here: {', '.join(sorted(more))}"


def _record(files: Mapping[str, bytes]) -> Iterator[str]:
    (record,) = [name for name in files if name.endswith(".dist-info/RECORD")] or [""]
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files.get(record, b"").decode()))}
    if rows.keys() != files.keys():
        yield f"RECORD and the archive differ in {', '.join(sorted(rows.keys() ^ files.keys()))}"
    for name in sorted((rows.keys() & files.keys()) - {record}):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        if rows[name] != [f"sha256={digest}", str(len(files[name]))]:
            yield f"RECORD tells of another {name}"


def _metadata(metadata: Message, root: Path, version: str, more: Sequence[str] = ()) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    cargo = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]
    expected = {
        "Name": [project["name"]],
        "Version": [cargo["version"]],
        "Requires-Python": [project["requires-python"]],
        "License-Expression": [project["license"]],
        "License-File": sorted([*LICENCES, *more]),
        "Requires-Dist": [],
    }
    for name, values in expected.items():
        if sorted(metadata.get_all(name, [])) != values:
            yield f"METADATA says {name}: {metadata.get_all(name)}, and not {values}"
    if version != cargo["version"]:
        yield f"its name says version {version}, and the workspace {cargo['version']}"
    if not str(metadata.get_payload()).strip():
        yield "METADATA has no description"


def _message(files: Mapping[str, bytes], name: str) -> Message:
    found = [data for file, data in files.items() if file.endswith(f".dist-info/{name}")]
    return email.message_from_bytes(found[0] if found else b"")


def _binary(binary: bytes, platforms: str) -> Iterator[str]:
    needed = max(((int(major), int(minor)) for major, minor in GLIBC.findall(binary)), default=(0, 0))
    tags = [found for platform in platforms.split(".") if (found := MANYLINUX.fullmatch(platform))]
    if not tags:
        yield f"it is tagged {platforms}: no package index takes what is not manylinux"
    for tag in tags:
        if needed > (int(tag[1]), int(tag[2])):
            yield f"it is tagged {tag[0]}, and needs symbols of glibc {needed[0]}.{needed[1]}"
    if b"\0.debug_" in binary or b"\0.symtab\0" in binary:
        yield "its extension module is not stripped"


def traces(files: Mapping[str, bytes], folders: Sequence[Path]) -> Iterator[str]:
    """What tells of the machine that the files were built on."""
    for name, data in files.items():
        for folder in sorted({str(folder) for folder in folders} - {"/"}):
            if re.search(re.escape(folder.encode()) + rb"(?![\w.-])", data):
                yield f"{name} names {folder}"
        if name.endswith(".so"):
            found = [
                match for match in SOURCE_PATH.finditer(data) if not data.endswith(RELATIVE, 0, match.start())
            ]
            paths = {match[0] for match in found if not match[0].startswith(NEUTRAL_SOURCES)}
            yield from (f"{name} names the source {path.decode()}" for path in sorted(paths))


def sdist_complaints(sdist: Path, root: Path, folders: Sequence[Path]) -> list[str]:
    """What is wrong with an sdist made of the checkout `root`."""
    with tarfile.open(sdist) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        tops = {member.name.partition("/")[0] for member in members}
        complaints = [f"{member.name} is no ordinary file" for member in members if not member.isfile()]
        files = {
            member.name.partition("/")[2]: content.read()
            for member in members
            if (content := archive.extractfile(member)) is not None
        }
    if tops != {sdist.name.removesuffix(".tar.gz")}:
        complaints.append(f"it unpacks into {', '.join(sorted(tops))}")
    needed = {"Cargo.lock", "Cargo.toml", "PKG-INFO", "README.md", "pyproject.toml", *LICENCES}
    needed |= {f"python/{name}" for name in package_files(root)}
    if absent := needed - files.keys():
        complaints.append(f"it lacks {', '.join(sorted(absent))}")
        return complaints
    complaints += _metadata(
        _message({".dist-info/METADATA": files["PKG-INFO"]}, "METADATA"), root, version(root)
    )
    return [*complaints, *_crates(files), *traces(files, folders)]


def version(root: Path) -> str:
    """The version of the workspace in the checkout `root`."""
    version: str = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    return version


def _crates(files: Mapping[str, bytes]) -> Iterator[str]:
    """Whether the crates that the workspace, the lock file and the archive name are the same ones."""
    members = {
        tomllib.loads(files[name].decode())["package"]["name"]
        if (name := f"{folder}/Cargo.toml") in files
        else f"{folder} (absent)"
        for folder in tomllib.loads(files["Cargo.toml"].decode())["workspace"]["members"]
    }
    packages = tomllib.loads(files["Cargo.lock"].decode())["package"]
    locked = {package["name"] for package in packages if "source" not in package}
    if members != locked:
        yield f"Cargo.lock is for the crates {sorted(locked)}, and the workspace has {sorted(members)}"
    reached, new = set(locked), set(locked)
    while new:
        names = (
            name for package in packages if package["name"] in new for name in package.get("dependencies", ())
        )
        new = {name.partition(" ")[0] for name in names} - reached
        reached |= new
    if more := {package["name"] for package in packages} - reached:
        yield f"Cargo.lock names what no crate here needs: {', '.join(sorted(more))}"
