"""Functions that give coroutines are coroutine functions for those who ask: `inspect`, asyncio, `unittest.mock`."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import pickle
import sys
import warnings
from types import ModuleType

import pytest

from tests.support.process import run_python

NAMES = [name for name in asyncio.__all__ if inspect.iscoroutinefunction(getattr(asyncio, name))]
OTHERS = (
    "gather",
    "shield",
    "ensure_future",
    "as_completed",
    "timeout",
    "create_task",
    "run_coroutine_threadsafe",
)


@pytest.fixture(params=["asyncio", "sabio"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_there_are_such_functions() -> None:
    assert {"sleep", "wait", "wait_for", "to_thread", "open_connection", "start_server"} <= {*NAMES}


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_what_gives_coroutines_says_so(module: ModuleType, name: str) -> None:
    function = getattr(module, name)
    expected = name in NAMES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.iscoroutinefunction(function) == expected
    # Before 3.12 nothing but a function written in Python can say it to `inspect`.
    if module is asyncio or sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(function) == expected
        assert inspect.iscoroutinefunction(functools.partial(function)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_they_are_functions_in_all_else(module: ModuleType, name: str) -> None:
    function = getattr(module, name)
    assert callable(function)
    assert inspect.isroutine(function)
    assert function.__name__ == function.__qualname__ == name
    assert pickle.loads(pickle.dumps(function)) is function
    assert [*inspect.signature(function).parameters] == [
        *inspect.signature(getattr(asyncio, name)).parameters
    ]


def test_they_cannot_be_made_or_changed(sabio: ModuleType) -> None:
    with pytest.raises(TypeError):
        type(sabio.sleep)()
    with pytest.raises(AttributeError):
        sabio.sleep.attribute = 1


PATCHING = """
import asyncio
from unittest import mock

async def main():
    with mock.patch("asyncio.sleep") as sleep, mock.patch.object(asyncio, "wait_for", return_value=5) as wait_for:
        await asyncio.sleep(60)
        print(await asyncio.wait_for(None, 1))
        sleep.assert_awaited_once_with(60)
        wait_for.assert_awaited_once_with(None, 1)
    with mock.patch("asyncio.gather") as gather:
        asyncio.gather(1)
        gather.assert_called_once_with(1)
    await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.usefixtures("sabio")
@pytest.mark.parametrize("options", [[], ["-m", "sabio"]], ids=["asyncio", "sabio"])
def test_mocks_of_them_are_awaited(options: list[str]) -> None:
    done = run_python(*options, "-c", PATCHING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")
