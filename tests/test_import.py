"""Importing sabio more than once: anew in one interpreter, and in a second interpreter of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.process import lines

REIMPORT = """\
import sys
import sabio
first = vars(sabio._sabio).copy()
for name in [name for name in sys.modules if name.split(".")[0] == "sabio"]:
    del sys.modules[name]
import sabio
for name in sabio._sabio.__all__:
    assert getattr(sabio._sabio, name) is first[name], name
print(sabio.run(sabio.sleep(0.001, "runs")))
"""

SUBINTERPRETER = """\
import sabio
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
try:
    print(interpreters.run_string(other, "import sabio"))
except Exception as error:
    print(error)
interpreters.destroy(other)
print(sabio.run(sabio.sleep(0.001, "runs")))
"""


@pytest.mark.usefixtures("sabio")
def test_import_while_the_interpreter_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tools do that swap it in for programs which do not know of it."""
    (tmp_path / "sitecustomize.py").write_text("import sabio; sabio.install()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = "import asyncio; print(asyncio.run(asyncio.sleep(0.001, 'runs')), asyncio.Lock)"
    assert lines(program) == ["runs <class 'sabio.Lock'>"]


@pytest.mark.usefixtures("sabio")
def test_a_new_import_gives_the_same_classes() -> None:
    assert lines(REIMPORT) == ["runs"]


@pytest.mark.usefixtures("sabio")
def test_a_subinterpreter_refuses_the_import_and_the_first_one_goes_on() -> None:
    refusal, last = lines(SUBINTERPRETER)
    assert "does not support loading in subinterpreters" in refusal
    assert last == "runs"
