"""Tests of functions that work everywhere: asyncio's own, sabio's, and sabio's where nothing else is sabio's.

`@everywhere` runs a coroutine test once for each pairing of functions, loop and tasks; the test gets
the module whose functions it is to call. The first pairing is asyncio alone, which says what is right.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

TestBody = Callable[..., Coroutine[Any, Any, Any]]

#: Functions, loop and tasks.
PAIRINGS = {
    "asyncio": ("asyncio", "asyncio", None),
    "sabio": ("sabio", "sabio", None),
    "sabio-on-asyncio": ("sabio", "asyncio", None),
    "sabio-python-tasks": ("sabio", "asyncio", "_PyTask"),
    "sabio-c-tasks": ("sabio", "sabio", "_CTask"),
}
NATIVE = tuple(name for name in PAIRINGS if name != "asyncio")


def functions(pairing: str) -> ModuleType:
    """The module whose functions the pairing tests."""
    return importlib.import_module(PAIRINGS[pairing][0])


def run(pairing: str, main: Callable[[ModuleType], Coroutine[Any, Any, Any]], debug: bool = False) -> Any:
    """Run `main(functions)` to its end as the pairing says."""
    module, loop_name, task_class = PAIRINGS[pairing]
    make: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    if loop_name == "sabio":
        make = importlib.import_module("sabio").new_event_loop
    with asyncio.Runner(loop_factory=make, debug=debug) as runner:
        if task_class is not None:
            kind = getattr(asyncio.tasks, task_class)
            runner.get_loop().set_task_factory(lambda loop, coro, **kwargs: kind(coro, loop=loop, **kwargs))
        return runner.run(main(importlib.import_module(module)))


def everywhere(body: TestBody) -> Callable[..., None]:
    """Run the test in every pairing; its first parameter is the module under test."""
    return _parametrised(body, tuple(PAIRINGS))


def natively(body: TestBody) -> Callable[..., None]:
    """Run the test in every pairing with sabio's functions: for what this version's asyncio lacks."""
    return _parametrised(body, NATIVE)


def without(*pairings: str) -> Callable[[TestBody], Callable[..., None]]:
    """As `everywhere`, but for pairings in which asyncio's own functions could not do it either."""
    return lambda body: _parametrised(body, tuple(name for name in PAIRINGS if name not in pairings))


def since(*version: int) -> Callable[[TestBody], Callable[..., None]]:
    """As `everywhere`, but asyncio alone is left out before `version`, which brought what is tested."""
    return everywhere if sys.version_info >= version else natively


#: asyncio's current_task() does not know its tasks that are written in Python: its own groups and timeouts fail there.
where_tasks_are_known = without("sabio-python-tasks")
natively_where_tasks_are_known = without("asyncio", "sabio-python-tasks")


def _parametrised(body: TestBody, pairings: tuple[str, ...]) -> Callable[..., None]:
    parameters = list(inspect.signature(body).parameters.values())

    @functools.wraps(body)
    def test(pairing: str, **fixtures: Any) -> None:
        run(pairing, lambda module: body(module, **fixtures))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter("pairing", kind), *parameters[1:]])
    test.__signature__ = signature  # type: ignore[attr-defined]
    del test.__wrapped__  # type: ignore[attr-defined]
    return pytest.mark.parametrize("pairing", pairings)(test)
