"""CPython's own tests of runners, with `sabio.run` and `sabio.Runner` in the place of asyncio's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

# The tests give their loops through policies, which asyncio's runners ask and sabio's do not: here they do.
SUITE = """\
import asyncio
import unittest
import sabio
import sabio._runner
import test.test_asyncio.test_runners as suite
sabio._runner.new_event_loop = lambda: asyncio.new_event_loop()
asyncio.run, asyncio.Runner = sabio.run, sabio.Runner
unittest.main(module=suite, argv=["suite"])
"""


def has_suite() -> bool:
    try:
        return importlib.util.find_spec("test.test_asyncio.test_runners") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(not has_suite(), reason="this interpreter comes without its tests")
@pytest.mark.usefixtures("sabio")
def test_cpythons_tests_of_runners_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SUITE], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\nOK" in done.stderr
