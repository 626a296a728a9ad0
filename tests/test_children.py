"""What children of multiprocessing run on whose parent was started by `python -m sabio`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.process import run_python

pytestmark = pytest.mark.usefixtures("sabio")

FRESH = ("spawn", "forkserver")

#: What `python -m sabio` does, in an interpreter that is running already.
ENTER = "runpy.run_module('sabio', run_name='__main__', alter_sys=True)"

PROGRAM = """
import asyncio, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

async def name():
    return type(asyncio.get_running_loop()).__module__

def work(_):
    return asyncio.run(name()), hasattr(asyncio, "coroutine"), "sabio" in sys.modules

def main(method):
    context = multiprocessing.get_context(method)
    print(work(None))
    with context.Pool(1) as pool:
        print(*pool.map(work, [None]))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(*pool.map(work, [None]))

"""

MAIN = """
if __name__ == "__main__":
    main(sys.argv[1])
"""

BEFORE = """
import sabio
if __name__ == "__main__":
    {call}
"""


@pytest.fixture
def program(tmp_path):
    def make(more=""):
        path = tmp_path / "program.py"
        path.write_text(PROGRAM + more + MAIN)
        return path

    return make


def outcomes(done):
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def expected(here, child=None):
    return [str(here), str(child or here), str(child or here)]


SABIO = ("sabio", False, True)
LEGACY = ("sabio", True, True)
ASYNCIO = ("asyncio.unix_events", False, False)


@pytest.mark.parametrize("method", FRESH)
@pytest.mark.parametrize("as_module", [False, True], ids=["file", "module"])
@pytest.mark.parametrize(
    ("options", "outcome"),
    [(["-m", "sabio"], SABIO), (["-W", "ignore", "-m", "sabio", "--legacy"], LEGACY), ([], ASYNCIO)],
    ids=["sabio", "legacy", "asyncio"],
)
def test_children_that_are_started_anew_run_on_what_their_parent_runs_on(
    program, method, as_module, options, outcome
):
    path = program()
    named = ["-m", path.stem] if as_module else [path.name]
    done = run_python(*options, *named, method, cwd=path.parent)
    assert outcomes(done) == expected(outcome)


def test_what_was_imported_before_makes_no_difference(program):
    path = program()
    code = f"import multiprocessing.spawn, runpy, sys; sys.argv[1:] = ['-m', 'program', 'spawn']; {ENTER}"
    done = run_python("-c", code, cwd=path.parent)
    assert outcomes(done) == expected(SABIO)


def test_looking_for_the_module_makes_no_difference(program):
    path = program(
        "\nimport importlib.util\nassert importlib.util.find_spec('multiprocessing.spawn').has_location\n"
    )
    done = run_python("-m", "sabio", path.name, "spawn", cwd=path.parent)
    assert outcomes(done) == expected(SABIO)


@pytest.mark.parametrize("method", FRESH)
def test_children_of_a_program_that_has_uninstalled_sabio_run_without_it(program, method):
    path = program(BEFORE.format(call="sabio.uninstall()"))
    done = run_python("-m", "sabio", path.name, method, cwd=path.parent)
    # The program imports the package itself, in the children, too.
    without = ("asyncio.unix_events", False, True)
    assert outcomes(done) == expected(without)


def test_the_package_is_found_where_the_parent_has_it(program, sabio, tmp_path):
    """Also where a child would not look before it has been told: beside a program that is started from elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(Path(sabio.__file__).parent, elsewhere / "sabio")
    path = program()
    code = f"""
import runpy, sys
sys.path.insert(0, {str(elsewhere)!r})
sys.argv[1:] = [{str(path)!r}, "spawn"]
{ENTER}
"""
    done = run_python("-I", "-S", "-c", code)
    assert outcomes(done) == expected(SABIO)


def test_a_child_that_cannot_have_sabio_says_so_and_runs_on_asyncio(tmp_path):
    source = Path(sys.modules["sabio"].__file__).parent / "_children.py"
    alone = tmp_path / "nowhere" / "_children.py"
    alone.parent.mkdir()
    shutil.copy(source, alone)
    code = f"import runpy; runpy.run_path({str(alone)!r}, {{'options': {{}}}}, 'sabio_in_child'); print('goes on')"
    done = run_python("-I", "-S", "-c", code)
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert done.stderr.startswith("sabio: this process of multiprocessing runs on asyncio: ")
