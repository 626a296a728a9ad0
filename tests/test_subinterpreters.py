"""Further interpreters in one process: they refuse to import sabio and run asyncio beside it (PEP 734)."""

from __future__ import annotations

import pytest

from tests.support.process import output_of
from tests.support.versions import SINCE_3_13, SINCE_3_14

PREAMBLE = """
import sys
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

def run(code):
    "Runs code in an interpreter of its own."
    other = _interpreters.create()
    try:
        error = (getattr(_interpreters, "exec", None) or _interpreters.run_string)(other, code)
    finally:
        _interpreters.destroy(other)
    if error is not None:
        raise RuntimeError(error)
"""

REFUSED = """
try:
    import sabio
except ImportError as error:
    print("refused", "subinterpreters" in str(error), flush=True)
"""

ASYNCIO = """
import asyncio

async def main():
    async with asyncio.timeout(20):
        return await asyncio.sleep(0.001, "another interpreter")

print(asyncio.run(main()), flush=True)
"""


def output(loop_name, code):
    return output_of(loop_name, PREAMBLE + f"REFUSED = {REFUSED!r}\nASYNCIO = {ASYNCIO!r}\n" + code)


def test_an_interpreter_that_is_made_inside_of_a_running_loop_refuses_the_import(loop_name):
    code = """
import sabio

async def main():
    loop = asyncio.get_running_loop()
    run(REFUSED)
    await loop.run_in_executor(None, run, REFUSED)
    print(await asyncio.sleep(0.001, "goes on"), asyncio.get_running_loop() is loop)

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""
    assert output(loop_name, code) == ["refused True"] * 2 + ["goes on True"]


@pytest.mark.skipif(not SINCE_3_13, reason="earlier interpreters disturb each other, without sabio too")
def test_another_interpreter_runs_asyncio_beside_a_running_loop(loop_name):
    code = """
async def main():
    loop = asyncio.get_running_loop()
    ticks = []
    ticking = loop.call_later(0.001, ticks.append, 1)
    run(ASYNCIO)
    await asyncio.gather(*(loop.run_in_executor(None, run, ASYNCIO) for _ in range(2)))
    print(await asyncio.sleep(0.001, "goes on"), ticks, asyncio.get_running_loop() is loop)

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""
    assert output(loop_name, code) == ["another interpreter"] * 3 + ["goes on [1] True"]


@pytest.mark.skipif(not SINCE_3_14, reason="InterpreterPoolExecutor is new in 3.14")
def test_a_pool_of_interpreters_serves_a_loop(loop_name):
    code = """
import concurrent.futures

async def main():
    loop = asyncio.get_running_loop()
    with concurrent.futures.InterpreterPoolExecutor(2) as pool:
        print(await asyncio.gather(*(loop.run_in_executor(pool, pow, 2, number) for number in range(5))))
        try:
            await loop.run_in_executor(pool, exec, "import sabio")
        except ImportError as error:
            print("subinterpreters" in str(error))

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""
    assert output(loop_name, code) == ["[1, 2, 4, 8, 16]", "True"]
