"""Packages that build on asyncio's own parts do on sabio what they do on asyncio (`packages/`).

Each program runs on asyncio, on sabio's loop with asyncio's locks and queues, and with all of sabio installed, and
must print the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.process import complaints, run_python

FOLDER = Path(__file__).parent / "packages"
PROGRAMS = sorted(FOLDER.glob("with_*.py"))

LOOP_ALONE = "import runpy, sys, sabio; sabio.run(runpy.run_path(sys.argv[1])['main']())"
WORLDS = {
    "the loop alone": ["-c", LOOP_ALONE],
    "all of it": ["-m", "sabio"],
    "all of it in debug mode": ["-X", "dev", "-m", "sabio"],
}


def output(*command: str) -> str:
    """What a program prints that ends well and complains of nothing."""
    done = run_python(*command, timeout=60.0)
    assert (done.returncode, complaints(done)) == (0, "")
    return done.stdout


def test_there_are_programs_and_none_knows_of_sabio() -> None:
    assert len(PROGRAMS) >= 3
    assert not [program.name for program in PROGRAMS if "sabio" in program.read_text()]


@pytest.mark.timeout(240)  # some packages take seconds to be imported, four times
@pytest.mark.usefixtures("sabio")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_package_does_the_same_on_sabio(program: Path) -> None:
    pytest.importorskip(program.stem.removeprefix("with_"), reason="requirements/ brings it")
    expected = output("-X", "dev", str(program))
    assert expected
    for world, options in WORLDS.items():
        assert output(*options, str(program)) == expected, world
