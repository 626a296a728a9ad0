"""The address sanitizer under an interpreter that was not built for it.

Only the extension carries the sanitizer's checks. Its runtime must be in the process before everything else, so it is
preloaded; it takes the place of malloc(3), through which the interpreter then gets each of its objects
(`PYTHONMALLOC=malloc`). So it sees every use of a freed object, and of memory that is not ours, which our code makes or
has the C library make. Leaks are not looked for: the interpreter never frees a part of what it has.

The compiler comes with the runtime that fits its checks, as a static library for programs, which is made into a shared
one. Where it is not there, clang's and gcc's are tried.

Called by `nightly.py`.
"""

from __future__ import annotations

import ctypes.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import interpreters
from environment import ROOT, Environment, host, target_directory

#: Tests that cannot hold with the sanitizer, as a file or a test of it, and why.
LEFT_OUT = {
    "tests/test_out_of_memory.py": "limits the address space, of which the sanitizer takes terabytes",
    "tests/test_tls_memory.py": "counts what malloc(3) has given out, which the sanitizer's does not tell",
    "tests/stress/test_tls_soak.py": "measures resident memory, and what is freed stays in quarantine",
    "tests/test_transport_flow.py::test_peer_that_never_reads_costs_bounded_memory": "the same",
}

#: What ASAN_OPTIONS says in every run. The tests' own handlers get the signals that are theirs.
OPTIONS = (
    "abort_on_error=1",
    "handle_segv=0",
    "handle_sigbus=0",
    "handle_sigfpe=0",
    "allocator_may_return_null=1",
)

#: Frees an object of ours behind our back and uses it.
SELF_CHECK = """
import ctypes, sabio
loop = sabio.new_event_loop()
handle = loop.call_soon(print)
for _ in range(2):
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(handle))
handle.cancelled()
"""


def directory() -> Path:
    """Where everything of the nightly checks lies that can be made again."""
    path = target_directory() / "nightly"
    path.mkdir(parents=True, exist_ok=True)
    return path


def runtime() -> Path | None:
    """The runtime as a shared library; None if there is none on this machine."""
    return _rust_runtime() or next(_compilers_runtimes(), None)


def _rust_runtime() -> Path | None:
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True)
    libraries = Path(sysroot.stdout.strip()) / "lib" / "rustlib" / host() / "lib"
    archive = next(libraries.glob("librustc*_rt.asan.a"), None)
    if archive is None or not shutil.which("ar"):
        return None
    shared = directory() / f"lib{archive.stem.removeprefix('lib')}-{archive.stat().st_mtime_ns}.so"
    if shared.exists():
        return shared
    with tempfile.TemporaryDirectory(dir=directory()) as work:
        copy, made = Path(work) / archive.name, Path(work) / shared.name
        shutil.copy(archive, copy)
        # It starts a program before its libraries, which a library cannot; being preloaded does as well.
        subprocess.run(["ar", "d", copy, "asan_preinit.cpp.o"], check=True)
        whole: list[str | Path] = ["-Wl,--whole-archive", copy, "-Wl,--no-whole-archive"]
        needed = ("-lpthread", "-ldl", "-lrt", "-lm", "-lresolv")
        if subprocess.run(["cc", "-shared", "-o", made, *whole, *needed]).returncode != 0:
            return None
        made.rename(shared)
    return shared


def _compilers_runtimes() -> Iterator[Path]:
    machine = host().partition("-")[0]
    for compiler, name in (("clang", f"libclang_rt.asan-{machine}.so"), ("gcc", "libasan.so")):
        if shutil.which(compiler):
            asked = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
            # A name that is not found comes back as it is.
            if (path := Path(asked.stdout.strip())).is_absolute():
                yield path.resolve()


def variables(library: Path, reports: Path) -> dict[str, str]:
    """The environment for the interpreter of a sanitized build. `reports` is where reports go, one file a process.

    Reports go to files because most tests keep what their child processes print to themselves.
    """
    options = (*OPTIONS, "detect_leaks=0", f"log_path={reports}/asan")
    # The runtime asks for the functions that throw C++ exceptions when the process begins; greenlet brings them later.
    preloaded = [str(library), ctypes.util.find_library("stdc++")]
    return interpreters.clean_environment() | {
        "LD_PRELOAD": ":".join(filter(None, preloaded)),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": ":".join(options),
    }


def self_check(environment: Environment, library: Path) -> str | None:
    """Why the sanitizer would see nothing, in words; None if it does see what it is shown."""
    with tempfile.TemporaryDirectory(dir=directory()) as reports:
        command: list[str | Path] = [environment.python, "-c", SELF_CHECK]
        env = variables(library, Path(reports))
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        report = "".join(file.read_text(errors="replace") for file in Path(reports).iterdir())
    # The first frame names the function of ours that has touched the object.
    if "heap-use-after-free" in report and re.search(r"#0 .*(handle\.rs|_sabio)", report):
        return None
    return f"a use of a freed handle gave no report (exit code {done.returncode}):\n{report}{done.stderr}"


def deselected() -> list[str]:
    """Options of pytest for what is left out. Raises ValueError for what is not there any more."""
    for name in LEFT_OUT:
        file, _, test = name.partition("::")
        if not (ROOT / file).exists() or f"def {test}" not in (ROOT / file).read_text():
            raise ValueError(f"there is no {name} to leave out")
    return [part for name in LEFT_OUT for part in ("--deselect", name)]
