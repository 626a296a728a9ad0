"""`python -m sabio` beside `python`: the same programs, started by both, must not be able to tell the difference.

Each program is run twice in fresh processes, from the same directory and with the same arguments; what they print,
what they leave on standard error (tracebacks to the letter) and how they exit must agree.
"""

from __future__ import annotations

import os
import py_compile
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

#: What a program can see of how it was started.
DESCRIBE = """\
import sys
names = [name for name in globals() if name not in ("sys", "names")]
print(names)
print({name: globals()[name] for name in names})
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
"""

FAIL = """\
def fail():
    return {}["missing"]


try:
    fail()
except KeyError as error:
    raise ValueError("wrapped") from error
"""


@dataclass
class Outcome:
    status: int
    output: str
    errors: str


def start(
    command: Sequence[str | Path],
    directory: Path,
    *,
    options: Sequence[str] = (),
    under_sabio: bool,
    stdin: str = "",
) -> Outcome:
    """Run `python COMMAND`, or the same under sabio, to its end."""
    python = [sys.executable, *options, *(["-m", "sabio"] if under_sabio else [])]
    done = subprocess.run(
        [*python, *map(str, command)],
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    addresses = re.compile(r"0x[0-9a-f]+")
    return Outcome(done.returncode, *(addresses.sub("0x", text) for text in (done.stdout, done.stderr)))


Compare = Callable[..., Outcome]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Runs a command under python and under sabio, and gives the outcome on which both agree."""

    def run_both(*command: str | Path, options: Sequence[str] = (), stdin: str = "") -> Outcome:
        expected = start(command, tmp_path, options=options, under_sabio=False, stdin=stdin)
        assert start(command, tmp_path, options=options, under_sabio=True, stdin=stdin) == expected
        return expected

    return run_both


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_script_sees_itself(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "app.py", DESCRIBE)
    assert "app.py" in compare("app.py", "one", "--two", "-c").output


@pytest.mark.parametrize("name", ["./app.py", "sub/../app.py", "link.py", "sub/link.py"])
def test_a_script_may_be_named_in_many_ways(tmp_path: Path, compare: Compare, name: str) -> None:
    write(tmp_path, "app.py", DESCRIBE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.py").symlink_to("app.py")
    (tmp_path / "sub" / "link.py").symlink_to("../link.py")
    assert str(tmp_path) in compare(name).output


def test_a_script_imports_from_its_own_directory(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "sub/app.py", "import beside\nprint(beside.__file__)")
    write(tmp_path, "sub/beside.py", "")
    write(tmp_path, "beside.py", "raise AssertionError('the wrong one')")
    assert compare("sub/app.py").status == 0


def test_a_safe_path_stays_safe(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "app.py", "import sys\nprint(sys.path)\nimport beside")
    write(tmp_path, "beside.py", "")
    assert "No module named 'beside'" in compare("app.py", options=["-P"]).errors


def test_a_compiled_script_runs(tmp_path: Path, compare: Compare) -> None:
    source = write(tmp_path, "app.py", DESCRIBE)
    py_compile.compile(str(source), str(tmp_path / "app.pyc"))
    assert "app.pyc" in compare("app.pyc", "argument").output


def test_a_directory_runs_its_main(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "program/__main__.py", f"{DESCRIBE}\nimport beside")
    write(tmp_path, "program/beside.py", "print(__name__)")
    assert "beside" in compare("program", "argument").output
    assert "beside" in compare("program", options=["-P"]).output


def test_a_zip_file_runs_its_main(tmp_path: Path, compare: Compare) -> None:
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.writestr("__main__.py", DESCRIBE)
    assert "program.zip" in compare("program.zip", "argument").output


@pytest.mark.parametrize("name", ["missing.py", "sub/missing.py", "/missing", "directory", "", "."])
def test_a_program_that_is_not_there(tmp_path: Path, compare: Compare, name: str) -> None:
    (tmp_path / "directory").mkdir()
    outcome = compare(name)
    assert outcome.status == (2 if "missing" in name else 1)
    assert outcome.errors


def test_a_module_sees_itself(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "package/__init__.py", "import sys\nprint(__name__, sys.argv)")
    write(tmp_path, "package/__main__.py", DESCRIBE)
    write(tmp_path, "package/module.py", DESCRIBE)
    assert "package" in compare("-m", "package", "one", "-x").output
    assert "module.py" in compare("-m", "package.module").output
    assert "module.py" in compare("-mpackage.module", "-m").output


@pytest.mark.parametrize("name", ["missing", "package", "package.missing", "package.", ".package", "sys"])
def test_a_module_that_cannot_run(tmp_path: Path, compare: Compare, name: str) -> None:
    write(tmp_path, "package/__init__.py", "")
    assert compare("-m", name).status == 1


def test_code_sees_itself(compare: Compare) -> None:
    assert "'-c'" in compare("-c", DESCRIBE, "one", "-x").output
    assert "'-c'" in compare(f"-c{DESCRIBE}", "one").output


def test_indented_code_runs_where_python_runs_it(compare: Compare) -> None:
    compare("-c", "    x = 1\n    print(x)\n")


def test_standard_input_sees_itself(compare: Compare) -> None:
    assert "<stdin>" in compare("-", "one", "-x", stdin=DESCRIBE).output


def test_a_program_read_from_standard_input_finds_nothing_left_there(compare: Compare) -> None:
    assert compare("-", stdin="import sys\nprint(repr(sys.stdin.read()))").output == "''\n"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(FAIL, id="an exception with its cause"),
        pytest.param("def (:\n", id="a syntax error"),
        pytest.param("if True:\nx = 1\n", id="an indentation error"),
        pytest.param("import missing_module", id="an import error"),
        pytest.param("raise ExceptionGroup('both', [OSError(1), KeyError(2)])", id="a group"),
        pytest.param("e = KeyError(1)\ne.add_note('noted')\nraise e", id="a note"),
        pytest.param("class Odd(BaseException): pass\nraise Odd", id="a base exception"),
        pytest.param("raise KeyboardInterrupt", id="an interrupt"),
        pytest.param("import sys\nsys.exit()", id="exit"),
        pytest.param("import sys\nsys.exit(3)", id="exit with a status"),
        pytest.param("import sys\nsys.exit('reason')", id="exit with a reason"),
        pytest.param("raise SystemExit(-1)", id="exit with a negative status"),
        pytest.param("import os\nos._exit(4)", id="leave at once"),
        pytest.param("import os\nos.abort()", id="abort"),
        pytest.param("del __builtins__\nprint(__name__)", id="no builtins"),
    ],
)
@pytest.mark.parametrize("way", ["file", "module", "code", "stdin"])
def test_a_program_ends_as_under_python(tmp_path: Path, compare: Compare, way: str, source: str) -> None:
    write(tmp_path, "app.py", source)
    command = {"file": ["app.py"], "module": ["-m", "app"], "code": ["-c", source], "stdin": ["-"]}[way]
    compare(*command, stdin=source if way == "stdin" else "")


@pytest.mark.parametrize(
    "hook",
    [
        pytest.param("print(kind, error, traceback.tb_frame.f_code.co_name)", id="that prints"),
        pytest.param("raise OSError('hook')", id="that fails"),
        pytest.param("raise SystemExit(7)", id="that exits"),
        pytest.param(
            "print(sys.last_value is error, sys.last_traceback is traceback, sys.excepthook is hook)",
            id="that looks around",
        ),
    ],
)
def test_an_excepthook_of_the_program(tmp_path: Path, compare: Compare, hook: str) -> None:
    source = f"import sys\ndef hook(kind, error, traceback):\n    {hook}\nsys.excepthook = hook\n1 / 0\n"
    write(tmp_path, "app.py", source)
    assert compare("app.py").status == (7 if "SystemExit" in hook else 1)


@pytest.mark.parametrize("replacement", ["del sys.excepthook", "sys.excepthook = None"])
def test_a_program_without_an_excepthook(tmp_path: Path, compare: Compare, replacement: str) -> None:
    write(tmp_path, "app.py", f"import sys\n{replacement}\n1 / 0\n")
    outcome = start(["app.py"], tmp_path, under_sabio=True)
    assert outcome.status == 1
    assert "ZeroDivisionError" in outcome.errors


def test_the_excepthook_is_the_programs_own_at_exit(tmp_path: Path, compare: Compare) -> None:
    lines = ["import atexit, sys", "hook = sys.excepthook", "@atexit.register", "def last():"]
    lines += ["    print(sys.excepthook is hook is sys.__excepthook__)", "1 / 0"]
    write(tmp_path, "app.py", "\n".join(lines))
    assert compare("app.py").output == "True\n"


def test_warnings_name_the_program(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "app.py", "import warnings\nwarnings.warn('mind')\nassert (1, 'always')\n")
    assert "app.py:2: UserWarning: mind" in compare("app.py").errors
    assert compare("app.py", options=["-W", "error"]).status == 1


def test_python_can_go_on_interactively(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path, "app.py", "x = 42\n")
    assert "42" in compare("app.py", options=["-i"], stdin="x\n__name__\n").output


def test_objects_of_main_can_be_pickled(tmp_path: Path, compare: Compare) -> None:
    source = "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))) is C, C.__module__)"
    write(tmp_path, "app.py", source)
    assert compare("app.py").output == "True __main__\n"


def test_children_of_multiprocessing_find_main(tmp_path: Path, compare: Compare) -> None:
    lines = ["import multiprocessing", "def double(x): return 2 * x", "if __name__ == '__main__':"]
    lines += ["    with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(double, [1]))"]
    write(tmp_path, "app.py", "\n".join(lines))
    assert compare("app.py").output == "[2]\n"
    assert compare("-m", "app").output == "[2]\n"


def test_the_program_runs_on_sabio(tmp_path: Path) -> None:
    source = "import asyncio\nasync def main(): print(type(asyncio.get_running_loop()))\nasyncio.run(main())"
    write(tmp_path, "app.py", source)
    for command in (["app.py"], ["-m", "app"], ["-c", source]):
        assert start(command, tmp_path, under_sabio=True).output == "<class 'sabio.Loop'>\n"
    assert start(["-"], tmp_path, under_sabio=True, stdin=source).output == "<class 'sabio.Loop'>\n"


READY = "print('ready', flush=True)"

BUSY = f"""\
import time
{READY}
while True:
    time.sleep(0.01)
"""

WAITING = f"""\
import asyncio
async def main():
    asyncio.get_running_loop().call_soon(lambda: {READY})
    await asyncio.sleep(20)
asyncio.run(main())
"""


@pytest.mark.parametrize("under_sabio", [False, True], ids=["python", "sabio"])
@pytest.mark.parametrize("source", [BUSY, WAITING], ids=["busy", "waiting"])
def test_ctrl_c_ends_a_program(tmp_path: Path, source: str, under_sabio: bool) -> None:
    write(tmp_path, "app.py", source)
    command = [sys.executable, *(["-m", "sabio"] if under_sabio else []), "app.py"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    frames = [line for line in errors.splitlines() if line.startswith("  File")]
    assert any(f"{tmp_path}/app.py" in frame for frame in frames)
    assert not any(own in frame for frame in frames for own in ("__main__.py", "_program.py", "runpy"))
