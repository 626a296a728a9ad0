"""Programs in the manner of tutorials, each beside the output that it must print (`scenarios/`).

They know of asyncio alone. Each runs under plain `python`, which says that the output is right, and under `python -m
sabio`, as it is and in debug mode. Those in `legacy/` are of the days of Python 3.4 to 3.9 and run with `--legacy`;
plain Python can run those alone that say so.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.process import complaints, run_python
from tests.support.versions import is_affected

FOLDER = Path(__file__).parent / "scenarios"
SCRIPTS = sorted(FOLDER.glob("*.py"))
LEGACY = sorted((FOLDER / "legacy").glob("*.py"))
WITHOUT_LEGACY = re.compile(r"^# Runs without legacy mode up to Python (\d+\.\d+)\.$", re.MULTILINE)

MODES = {
    "python": [],
    "sabio": ["-m", "sabio"],
    "sabio in debug mode": ["-X", "dev", "-W", "ignore", "-m", "sabio"],
}


def name_of(script: Path) -> str:
    return script.stem


def check(script: Path, *options: str) -> None:
    done = run_python(*options, str(script), timeout=60.0)
    assert done.stdout == script.with_suffix(".txt").read_text(), done.stderr
    assert (done.returncode, complaints(done)) == (0, "")


def test_there_are_scripts_and_none_knows_of_sabio() -> None:
    assert len(SCRIPTS) >= 20
    assert len(LEGACY) >= 5
    for script in (*SCRIPTS, *LEGACY):
        assert "sabio" not in script.read_text(), script.name
    outputs = {*FOLDER.rglob("*.txt")}
    assert outputs == {script.with_suffix(".txt") for script in (*SCRIPTS, *LEGACY)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_prints_what_it_must(script: Path, mode: str) -> None:
    check(script, *MODES[mode])


@pytest.mark.usefixtures("sabio")
@pytest.mark.parametrize("script", LEGACY, ids=name_of)
def test_an_old_script_prints_what_it_must(script: Path) -> None:
    check(script, "-W", "ignore", "-m", "sabio", "--legacy")


@pytest.mark.parametrize("script", LEGACY, ids=name_of)
def test_an_old_script_runs_on_python_as_far_as_it_says(script: Path) -> None:
    last = WITHOUT_LEGACY.search(script.read_text())
    if last is not None and is_affected(f"<={last[1]}.999"):
        check(script, "-W", "ignore")
    else:
        assert run_python("-W", "ignore", str(script)).returncode == 1
