"""What `make wheels` lets through: wheels and sdists made by hand, each with one thing wrong; nothing is built here."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile

import pytest

from tests.support.scripts import SCRIPTS, imported

MODULES = ("wheels", "wheel_build", "wheel_contents", "wheel_licences", "wheel_trial")

PYPROJECT = """
[project]
name = "sabio"
requires-python = ">=3.11"
license = "MIT OR Apache-2.0"
"""
CARGO = """
[workspace]
members = ["crates/one"]
[workspace.package]
version = "1.2.3"
"""
METADATA = """Metadata-Version: 2.4
Name: sabio
Version: 1.2.3
License-File: LICENSE-MIT
License-File: LICENSE-APACHE
License-Expression: MIT OR Apache-2.0
Requires-Python: >=3.11

# sabio
"""
THIRD_PARTY = "License-File: LICENSE-THIRD-PARTY"
ABOUT = "sabio-1.2.3.dist-info"
BINARY = "sabio/_sabio.cpython-314-x86_64-linux-gnu.so"
NAME = "sabio-1.2.3-cp314-cp314-manylinux_2_34_x86_64.whl"
SOURCES = (
    b"text/cargo/registry/pyo3-0.30.1/src/err.rscrates/one/src/lib.rs/rustc/0123abc/library/core/src/str.rs"
)
ELF = b"\x7fELF " + SOURCES + b"\0GLIBC_2.2.5\0GLIBC_2.34\0.text\0"
LOCK = """
version = 4
[[package]]
name = "one"
version = "1.2.3"
dependencies = ["pyo3 0.30.1"]
[[package]]
name = "pyo3"
version = "0.30.1"
source = "registry"
checksum = "abc"
"""
MORE_LOCKED = """
[[package]]
name = "{}"
version = "1.0.0"
"""


@pytest.fixture(scope="module")
def scripts():
    """The scripts' modules, by their names."""
    with imported({name: name for name in MODULES}) as modules:
        yield modules


@pytest.fixture
def root(tmp_path):
    """A checkout with a package of four files, one of which is for nobody."""
    root = tmp_path / "home" / "checkout"
    package = root / "python" / "sabio"
    package.mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "Cargo.toml").write_text(CARGO)
    for name in ("__init__.py", "__init__.pyi", "py.typed", "left_over.so"):
        (package / name).write_text("")
    return root


@pytest.fixture
def contents():
    """The files of a wheel that is good."""
    return {
        "sabio/__init__.py": b"",
        "sabio/__init__.pyi": b"",
        "sabio/py.typed": b"",
        BINARY: ELF,
        f"{ABOUT}/METADATA": METADATA.replace("License-Exp", f"{THIRD_PARTY}\nLicense-Exp").encode(),
        f"{ABOUT}/WHEEL": b"Wheel-Version: 1.0\nTag: cp314-cp314-manylinux_2_34_x86_64\n",
        f"{ABOUT}/licenses/LICENSE-MIT": b"MIT",
        f"{ABOUT}/licenses/LICENSE-APACHE": b"Apache",
        f"{ABOUT}/licenses/LICENSE-THIRD-PARTY": b"crates\npyo3 0.30.1 (MIT)\n",
    }


@pytest.fixture
def complaints(scripts, root, tmp_path):
    """What is said of a wheel with these files."""

    def of(contents, name=NAME, record=lambda rows: rows):
        rows = []
        for file, data in contents.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{file},sha256={digest},{len(data)}\n")
        rows = record([*rows, f"{ABOUT}/RECORD,,\n"])
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, data in (contents | {f"{ABOUT}/RECORD": "".join(rows)}).items():
                archive.writestr(file, data)
        folders = [tmp_path / "home", tmp_path / "home" / "checkout"]
        return scripts.wheel_contents.wheel_complaints(tmp_path / name, root, "3.14", folders)

    return of


def test_good_wheel_passes(complaints, contents):
    assert complaints(contents) == []


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("sabio/__init__.py", "it lacks sabio/__init__.py"),
        ("sabio/__init__.pyi", "it lacks sabio/__init__.pyi"),
        ("sabio/py.typed", "it lacks sabio/py.typed"),
        (BINARY, "it has 0 extension modules for CPython 3.14, not one"),
        (f"{ABOUT}/licenses/LICENSE-MIT", "its .dist-info lacks licenses/LICENSE-MIT"),
    ],
)
def test_what_is_absent_is_named(complaints, contents, file, complaint):
    del contents[file]
    assert complaints(contents) == [complaint]


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("sabio/left_over.so", "it has what is no part of the package: sabio/left_over.so"),
        ("tests/test_it.py", "it has what is no part of the package: tests/test_it.py"),
        (f"{ABOUT}/sboms/it.json", "its .dist-info has more than is known here: sboms/it.json"),
    ],
)
def test_what_is_too_much_is_named(complaints, contents, file, complaint):
    assert complaints(contents | {file: b""})[0] == complaint


def test_extension_module_of_another_interpreter_is_refused(complaints, contents):
    contents[BINARY.replace("314", "313")] = contents.pop(BINARY)
    assert complaints(contents)[0] == "it has 0 extension modules for CPython 3.14, not one"


@pytest.mark.parametrize("file", ["sabio/__init__.py", BINARY, f"{ABOUT}/WHEEL"])
def test_folder_of_the_builder_is_found_wherever_it_stands(complaints, contents, file, tmp_path):
    contents[file] += f"\n# {tmp_path}/home/other".encode()
    assert complaints(contents) == [f"{file} names {tmp_path}/home"]


def test_folder_that_only_begins_like_one_of_the_builder_is_no_trace(complaints, contents, tmp_path):
    contents["sabio/__init__.py"] = f"# {tmp_path}/homework".encode()
    assert complaints(contents) == []


@pytest.mark.parametrize("before", [b"", b"text", b"crates/one/src/lib.rs"])
def test_source_in_a_folder_that_nobody_named_is_found(complaints, contents, before):
    contents[BINARY] += before + b"/elsewhere/pyo3/src/err.rs"
    assert complaints(contents) == [f"{BINARY} names the source /elsewhere/pyo3/src/err.rs"]


@pytest.mark.parametrize("section", [b"\0.debug_line\0", b"\0.symtab\0"])
def test_binary_with_symbols_is_refused(complaints, contents, section):
    contents[BINARY] += section
    assert complaints(contents) == ["its extension module is not stripped"]


def test_tag_for_an_older_library_than_the_symbols_need_is_refused(complaints, contents):
    contents[BINARY] += b"\0GLIBC_2.35\0"
    assert complaints(contents) == ["it is tagged manylinux_2_34_x86_64, and needs symbols of glibc 2.35"]


def test_wheel_for_this_machine_alone_is_refused(complaints, contents):
    contents[f"{ABOUT}/WHEEL"] = b"Tag: cp314-cp314-linux_x86_64\n"
    said = complaints(contents, "sabio-1.2.3-cp314-cp314-linux_x86_64.whl")
    assert said == ["it is tagged linux_x86_64: no package index takes what is not manylinux"]


def test_tag_inside_is_that_of_the_name(complaints, contents):
    contents[f"{ABOUT}/WHEEL"] = b"Tag: cp314-cp314-manylinux_2_28_x86_64\n"
    assert complaints(contents)[0].startswith("WHEEL tells of other tags")


def test_name_for_another_interpreter_is_refused(complaints, contents):
    name = NAME.replace("cp314", "cp313")
    assert complaints(contents, name) == [f"its name, {name}, is not that of a wheel for CPython 3.14 alone"]


@pytest.mark.parametrize(
    ("line", "other", "name"),
    [
        ("Version: 1.2.3", "Version: 1.2.4", "Version"),
        ("License-File: LICENSE-MIT\n", "", "License-File"),
        ("Requires-Python: >=3.11", "Requires-Python: >=3.8", "Requires-Python"),
        ("License-Expression", "Requires-Dist: uvloop\nLicense-Expression", "Requires-Dist"),
    ],
)
def test_metadata_is_that_of_the_project(complaints, contents, line, other, name):
    contents[f"{ABOUT}/METADATA"] = contents[f"{ABOUT}/METADATA"].replace(line.encode(), other.encode())
    (complaint,) = complaints(contents)
    assert complaint.startswith(f"METADATA says {name}: ")


def test_crate_whose_licence_is_not_there_is_named(complaints, contents):
    contents[BINARY] += b"/cargo/registry/once_cell-1.21.4/src/lib.rs"
    assert complaints(contents) == ["LICENSE-THIRD-PARTY does not name once_cell 1.21.4"]


def test_record_that_lacks_a_file_is_refused(complaints, contents):
    said = complaints(contents, record=lambda rows: [row for row in rows if "py.typed" not in row])
    assert said == ["RECORD and the archive differ in sabio/py.typed"]


def test_record_of_other_contents_is_refused(complaints, contents):
    said = complaints(contents, record=lambda rows: [row.replace(",0\n", ",7\n") for row in rows])
    assert f"RECORD tells of another {'sabio/py.typed'}" in said


@pytest.fixture
def crates(tmp_path):
    """What cargo tells of a module: crates that are linked, macros, crates for building, and what is ours."""
    packages, nodes = [], []

    def add(name, licence, *dependencies, kind="lib", texts=("LICENSE-MIT", "LICENSE-APACHE")):
        folder = tmp_path / name
        folder.mkdir()
        for text in texts:
            (folder / text).write_text(f"{text} of {name}\n")
        source = None if name.startswith("sabio") else "registry"
        about = {"name": name, "version": "1.0.0", "license": licence, "source": source, "id": name}
        packages.append(about | {"manifest_path": str(folder / "Cargo.toml"), "targets": [{"kind": [kind]}]})
        deps = [{"pkg": other, "dep_kinds": [{"kind": how}]} for other, how in dependencies]
        nodes.append({"id": name, "deps": deps})

    add("sabio-python", "MIT", ("sabio-sync", None), ("macros", None), ("builder", "build"), texts=())
    add("sabio-sync", "MIT", ("linked", None), ("tester", "dev"), texts=())
    add("linked", "MIT OR Apache-2.0", ("below", None))
    add("below", "BSD-2-Clause", texts=("LICENSE", "COPYING"))
    add("macros", "MIT", ("parser", None), kind="proc-macro")
    for name in ("parser", "builder", "tester"):
        add(name, "MIT")
    return {"packages": packages, "resolve": {"nodes": nodes}}


def test_licences_are_those_of_what_is_linked(scripts, crates):
    linked = scripts.wheel_licences.linked(crates, "sabio-python")
    assert [crate.name for crate in linked] == ["below", "linked"]
    text = scripts.wheel_licences.notice(linked, "1.95.0")
    assert "\nlinked 1.0.0 (MIT OR Apache-2.0)\n" in text
    assert "LICENSE-MIT of linked" in text
    assert "LICENSE-APACHE" not in text
    assert "LICENSE of below" in text
    assert "COPYING of below" in text


def test_crate_that_brings_no_licence_is_refused(scripts, crates, tmp_path):
    (tmp_path / "below" / "LICENSE").unlink()
    (tmp_path / "below" / "COPYING").unlink()
    with pytest.raises(ValueError, match=r"below 1\.0\.0 brings no text"):
        scripts.wheel_licences.notice(scripts.wheel_licences.linked(crates, "sabio-python"), "1.95.0")


def test_licences_are_added_to_a_wheel_that_stays_whole(scripts, complaints, contents, tmp_path):
    third_party = contents.pop(f"{ABOUT}/licenses/LICENSE-THIRD-PARTY").decode()
    contents[f"{ABOUT}/METADATA"] = METADATA.encode()
    assert any("lacks licenses/LICENSE-THIRD-PARTY" in said for said in complaints(contents))
    texts = {"LICENSE-THIRD-PARTY": third_party, "COPYRIGHT-library.html": "<html>"}
    scripts.wheel_licences.add(tmp_path / NAME, texts)
    assert (
        scripts.wheel_contents.wheel_complaints(tmp_path / NAME, tmp_path / "home/checkout", "3.14", []) == []
    )
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        assert archive.testzip() is None
        assert archive.read(f"{ABOUT}/licenses/COPYRIGHT-library.html") == b"<html>"


@pytest.fixture
def sdist(scripts, root, tmp_path):
    """What is said of an sdist whose files are changed."""

    def of(changes=None, without=(), top="sabio-1.2.3"):
        files = {f"python/{name}": b"" for name in scripts.wheel_contents.package_files(root)}
        files |= dict.fromkeys(("README.md", "pyproject.toml", "LICENSE-MIT", "LICENSE-APACHE"), b"")
        files |= {"Cargo.toml": CARGO.encode(), "Cargo.lock": LOCK.encode(), "PKG-INFO": METADATA.encode()}
        files |= {"crates/one/Cargo.toml": b'[package]\nname = "one"\n', **(changes or {})}
        path = tmp_path / "sabio-1.2.3.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in files.keys() - set(without):
                member = tarfile.TarInfo(f"{top}/{name}")
                member.size = len(files[name])
                archive.addfile(member, io.BytesIO(files[name]))
        return scripts.wheel_contents.sdist_complaints(path, root, [tmp_path / "home"])

    return of


def test_good_sdist_passes(sdist):
    assert sdist() == []


@pytest.mark.parametrize("name", ["Cargo.lock", "LICENSE-MIT", "README.md", "python/sabio/py.typed"])
def test_sdist_that_lacks_a_file_is_refused(sdist, name):
    assert sdist(without=[name]) == [f"it lacks {name}"]


def test_lock_file_of_a_crate_that_is_not_there_is_refused(sdist):
    (complaint,) = sdist({"Cargo.lock": (LOCK + MORE_LOCKED.format("load")).encode()})
    assert complaint == "Cargo.lock is for the crates ['load', 'one'], and the workspace has ['one']"


def test_lock_file_with_what_nobody_needs_is_refused(sdist):
    more = MORE_LOCKED.format("rustls") + 'source = "registry"\n'
    assert sdist({"Cargo.lock": (LOCK + more).encode()}) == [
        "Cargo.lock names what no crate here needs: rustls"
    ]


def test_member_of_the_workspace_that_is_not_there_is_named(sdist):
    (complaint,) = sdist(without=["crates/one/Cargo.toml"])
    assert "crates/one (absent)" in complaint


def test_sdist_that_names_the_builder_or_unpacks_elsewhere_is_refused(sdist, tmp_path):
    assert sdist({"README.md": str(tmp_path / "home").encode()}) == [f"README.md names {tmp_path}/home"]
    assert sdist(top="elsewhere") == ["it unpacks into elsewhere"]


def test_file_is_replaced_in_an_archive_that_is_the_same_each_time(scripts, tmp_path):
    with tarfile.open(tmp_path / "old.tar.gz", "w:gz") as archive:
        for name in ("top/kept", "top/lock"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"old"))
    for number in (1, 2):
        with tarfile.open(tmp_path / "old.tar.gz") as archive:
            scripts.wheel_build.replace(archive, tmp_path / f"{number}.tar.gz", {"top/lock": b"a new one"})
    first = (tmp_path / "1.tar.gz").read_bytes()
    assert first == (tmp_path / "2.tar.gz").read_bytes()
    assert first[4:8] == bytes(4)  # no time of writing (RFC 1952)
    with tarfile.open(tmp_path / "1.tar.gz") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    assert files == {"top/kept": b"old", "top/lock": b"a new one"}


def test_line_of_the_doctor_that_is_not_true_is_found(scripts):
    report = "sabio        1.2.3 (here)\npoller       epoll\n"
    assert list(scripts.wheel_trial.wrong_lines(report, {"sabio": "1.2.3 (here)", "poller": "epoll"})) == []
    (wrong,) = scripts.wheel_trial.wrong_lines(report, {"sabio": "1.2.3 (here)", "poller": "io_uring"})
    assert wrong == "expected: poller       io_uring"


def test_tests_of_a_wheel_run_without_the_sources_of_the_package(scripts):
    left = scripts.wheel_trial._not_copied(
        str(scripts.wheel_trial.ROOT), ["crates", "python", "tests", ".venv"]
    )
    assert left >= {"crates", "python", ".venv", "__pycache__"}
    assert "tests" not in left
    assert "python" not in scripts.wheel_trial._not_copied(str(SCRIPTS), ["python"])


def test_what_is_not_there_or_fails_is_never_said_to_have_passed(scripts, capsys):
    ledger = scripts.wheels.Ledger(["3.11", "3.12", "3.13"])
    ledger.missing = ["3.12"]
    steps = []

    def refused():
        raise scripts.wheel_trial.Failed("it is broken")

    for name in ("3.11", "3.12", "3.13"):
        ledger.attempt(name, "built", lambda name=name: steps.append(name))
        ledger.attempt(name, "tried", refused if name == "3.13" else lambda: None)
        ledger.attempt(name, "tested", lambda name=name: steps.append(name))
    ledger.print()
    printed, errors = capsys.readouterr()
    assert steps == ["3.11", "3.11", "3.13"]
    assert [line for line in printed.splitlines() if "passed" in line] == [
        "3.11  passed (built, tried, tested)"
    ]
    assert "3.12  !!! NOTHING WAS DONE: there is no CPython 3.12 on this machine" in printed
    assert "3.13  !!! FAILED: tried (built)" in printed
    assert "it is broken" in errors
    assert list(ledger.failed) == ["3.13"]
