"""The licences of the crates that are inside of the extension module, and how they get into a wheel.

Each crate is linked into the module, and its licence asks that its text goes wherever the crate goes. What only runs at
compile time, macros and build scripts, is not in the module and not named.

Called by `wheels.py`; `wheel_contents.py` checks what came of it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The file in a wheel that holds those of the crates, and the one that the compiler brings for its standard library.
NAME = "LICENSE-THIRD-PARTY"
LIBRARY = "COPYRIGHT-library.html"
#: Whole text of a licence, or what belongs to it.
TEXTS = ("LICENSE*", "LICENCE*", "COPYING*", "UNLICENSE*")
RULE = "=" * 78


@dataclass(frozen=True)
class Crate:
    """A crate of the registry: where its sources lie, and under what it may be used."""

    name: str
    version: str
    licence: str
    folder: Path

    def texts(self) -> list[Path]:
        """The files that its licence consists of: of those that it offers the MIT licence, or all that it has."""
        if "MIT" in re.split(r" OR |/", self.licence) and (self.folder / "LICENSE-MIT").is_file():
            return [self.folder / "LICENSE-MIT"]
        return sorted({file for pattern in TEXTS for file in self.folder.glob(pattern) if file.is_file()})


def linked(metadata: Mapping[str, Any], root: str) -> list[Crate]:
    """The crates of the registry that end up in what the crate `root` becomes, out of `cargo metadata`."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (first,) = [number for number, package in packages.items() if package["name"] == root]
    reached, waiting = {first}, [first]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            number = dependency["pkg"]
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and number not in reached and not _is_macro(packages[number]):
                reached.add(number)
                waiting.append(number)
    found = [packages[number] for number in reached if packages[number]["source"]]
    crates = (
        Crate(each["name"], each["version"], each["license"] or "", Path(each["manifest_path"]).parent)
        for each in found
    )
    return sorted(crates, key=lambda crate: (crate.name, crate.version))


def _is_macro(package: Mapping[str, Any]) -> bool:
    return any("proc-macro" in target["kind"] for target in package["targets"])


def notice(crates: list[Crate], compiler: str) -> str:
    """The text of the file. ValueError if a crate brings no licence."""
    return "".join(_paragraphs(crates, compiler))


def _paragraphs(crates: list[Crate], compiler: str) -> Iterator[str]:
    yield "What sabio's extension module is made of beside sabio: these crates, and Rust's standard library\n"
    yield f"({compiler}), whose contributors and licences stand in {LIBRARY}, beside this file or at\n"
    yield "https://doc.rust-lang.org/stable/COPYRIGHT-library.html.\n"
    for crate in crates:
        texts = crate.texts()
        if not texts:
            raise ValueError(f"{crate.name} {crate.version} brings no text of its licence ({crate.licence})")
        yield f"\n{RULE}\n{crate.name} {crate.version} ({crate.licence})\n{RULE}\n"
        for text in texts:
            yield f"\n{text.read_text().strip()}\n"


def add(wheel: Path, texts: Mapping[str, str]) -> None:
    """Puts files of licences into a wheel, and what tells of them into METADATA and RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    (about,) = {member.filename.split("/")[0] for member, _ in members if ".dist-info/" in member.filename}
    files = {member.filename: data for member, data in members}
    for name, text in texts.items():
        member = zipfile.ZipInfo(f"{about}/licenses/{name}", members[0][0].date_time)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o100644 << 16
        members.append((member, text.encode()))
        files[member.filename] = text.encode()
    metadata = f"{about}/METADATA"
    head, blank, body = files[metadata].partition(b"\n\n")
    more = "".join(f"\nLicense-File: {name}" for name in texts)
    files[metadata] = head + more.encode() + blank + body
    files[f"{about}/RECORD"] = record(files, f"{about}/RECORD")
    partial = wheel.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for member, _ in members:
            archive.writestr(member, files[member.filename])
    partial.replace(wheel)


def record(files: Mapping[str, bytes], own: str) -> bytes:
    """The lines of RECORD for the files of a wheel, the last one its `own`."""
    lines = []
    for name in sorted(files.keys() - {own}):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(files[name])}\n")
    return "".join([*lines, f"{own},,\n"]).encode()
