"""The package's names: all of asyncio's, native where there is a native object, and `import sabio as asyncio`."""

from __future__ import annotations

import asyncio
import importlib
import sys
import types
import warnings
from typing import Any

import pytest

from tests.support.process import lines
from tests.support.versions import SINCE_3_13, SINCE_3_14

#: Objects of ours that have the name of one of asyncio's, and are only made by other means.
MADE_BY_OTHERS = {"Server"}


def public_names(module: types.ModuleType) -> list[str]:
    names = {name for name in dir(module) if not name.startswith("__")} | set(module.__all__)
    # What asyncio itself has imported is not asyncio's.
    return sorted(name for name in names if not is_foreign_module(getattr(module, name)))


def is_foreign_module(value: object) -> bool:
    return isinstance(value, types.ModuleType) and not value.__name__.startswith("asyncio.")


def native_places() -> list[tuple[str, str, Any]]:
    places = importlib.import_module("sabio._places")
    return [
        (module, name, native)
        for table in (places.NATIVE, places.SABIO_ONLY)
        for module, natives in table.items()
        for name, native in natives.items()
    ]


def test_every_public_name_of_asyncio_is_there(sabio: Any) -> None:
    assert [name for name in public_names(asyncio) if not hasattr(sabio, name)] == []
    assert set(asyncio.__all__) <= set(sabio.__all__)
    assert set(sabio.__all__) <= set(dir(sabio))


def test_a_name_is_the_native_object_or_asyncio_s_own(sabio: Any) -> None:
    native = {name: value for _, name, value in native_places()}
    for name in asyncio.__all__:
        assert getattr(sabio, name) is native.get(name, getattr(asyncio, name)), name


def test_every_native_object_with_a_name_of_asyncio_has_its_place(sabio: Any) -> None:
    placed = {name for _, name, _ in native_places()}
    named = {name for name in sabio._sabio.__all__ if name in asyncio.__all__}
    assert named - placed - MADE_BY_OTHERS == set()


def test_native_names_are_where_asyncio_has_them(sabio: Any) -> None:
    for module, name, native in native_places():
        original = vars(importlib.import_module(f"asyncio.{module}"))
        if name in original and not hasattr(asyncio, name):
            # asyncio keeps it in the module alone.
            assert getattr(getattr(sabio, module), name) is native
            assert not hasattr(sabio, name)
            continue
        assert getattr(sabio, name) is native
        if hasattr(asyncio, name):
            assert name in original, (module, name)


def test_star_import_brings_what_that_of_asyncio_brings(sabio: Any) -> None:
    namespace: dict[str, Any] = {}
    exec("from sabio import *", namespace)
    assert set(asyncio.__all__) <= set(namespace)
    assert namespace["Loop"] is sabio.Loop


def test_modules_of_asyncio_can_be_imported_from_sabio() -> None:
    assert lines(
        """
import sabio.exceptions, sabio.subprocess
from sabio import locks
from sabio.exceptions import CancelledError
from sabio.tasks import FIRST_COMPLETED, gather, sleep
import sabio.tasks as tasks
import sabio.events, sabio.futures
import asyncio
print(sabio.exceptions is asyncio.exceptions, sabio.subprocess.PIPE == asyncio.subprocess.PIPE)
print(CancelledError is asyncio.CancelledError, FIRST_COMPLETED)
print(sleep is sabio.sleep, tasks is sabio.tasks, tasks.sleep is sleep, gather is sabio.gather)
print(sabio.futures.Future is sabio.Future, sabio.futures.isfuture is asyncio.isfuture)
print(tasks._PyTask is asyncio.tasks._PyTask, dir(tasks) == dir(asyncio.tasks))
"""
    ) == ["True True", "True FIRST_COMPLETED", "True True True True", "True True", "True True"]


def test_a_module_says_what_it_does_not_have(sabio: Any) -> None:
    for module in (sabio, sabio.tasks):
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            getattr(module, "non" + "sense")


def test_import_sabio_as_asyncio_runs_a_program() -> None:
    program = """
import sabio as asyncio
import sys

async def worker(name, queue, results):
    while True:
        item = await queue.get()
        await asyncio.sleep(0.001 * item)
        results.append(item)
        queue.task_done()

async def main():
    queue = asyncio.Queue()
    results = []
    workers = [asyncio.create_task(worker(n, queue, results), name=f"worker {n}") for n in range(3)]
    for item in range(10):
        queue.put_nowait(item)
    async with asyncio.timeout(10):
        await queue.join()
    for task in workers:
        task.cancel()
    ended = await asyncio.gather(*workers, return_exceptions=True)
    print(sorted(results), [type(end) is asyncio.CancelledError for end in ended])
    async with asyncio.Lock(), asyncio.Semaphore(2):
        print(asyncio.isfuture(workers[0]), isinstance(workers[0], asyncio.Task))
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.001)
    except asyncio.TimeoutError:
        print("timed out")
    process = await asyncio.to_thread(lambda: asyncio.subprocess.PIPE)
    print(process, type(asyncio.get_running_loop()) is asyncio.Loop)

asyncio.run(main())
print("asyncio" in sys.modules and vars(sys.modules["asyncio"])["sleep"] is asyncio.sleep)
"""
    assert lines(program) == [
        "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] [True, True, True]",
        "True True",
        "timed out",
        "-1 True",
        "False",
    ]


def test_new_event_loop_and_event_loop_are_sabio_s(sabio: Any) -> None:
    loop = sabio.new_event_loop()
    assert type(loop) is sabio.Loop is sabio.EventLoop
    loop.close()


@pytest.mark.skipif(SINCE_3_14, reason="get_event_loop() makes no loop since 3.14")
def test_get_event_loop_makes_a_loop_of_sabio_once() -> None:
    program = """
import sabio, threading
loop = sabio.get_event_loop()
print(type(loop) is sabio.Loop, sabio.get_event_loop() is loop)
def elsewhere():
    try:
        sabio.get_event_loop()
    except RuntimeError as error:
        print(error)
thread = threading.Thread(target=elsewhere, name="elsewhere")
thread.start()
thread.join()
async def main():
    print(sabio.get_event_loop() is sabio.get_running_loop())
loop.run_until_complete(main())
loop.close()
sabio.set_event_loop(None)
elsewhere()
"""
    assert lines(program, "-W", "ignore::DeprecationWarning") == [
        "True True",
        "There is no current event loop in thread 'elsewhere'.",
        "True",
        "There is no current event loop in thread 'MainThread'.",
    ]


@pytest.mark.skipif(SINCE_3_14, reason="policies are deprecated since 3.14")
def test_get_event_loop_asks_a_policy_that_somebody_has_set(sabio: Any) -> None:
    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    policy = Policy()
    loop = policy.new_event_loop()
    policy.set_event_loop(loop)
    asyncio.set_event_loop_policy(policy)
    try:
        assert sabio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop_policy(None)
        loop.close()


@pytest.mark.skipif(not SINCE_3_14, reason="policies are not deprecated yet")
def test_policies_are_deprecated_as_asyncio_s_are(sabio: Any) -> None:
    for name in ("AbstractEventLoopPolicy", "DefaultEventLoopPolicy"):
        with pytest.warns(DeprecationWarning, match=f"'sabio.{name}' is deprecated") as caught:
            policy = getattr(sabio, name)
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert issubclass(policy, asyncio.AbstractEventLoopPolicy)


@pytest.mark.skipif(not SINCE_3_13, reason="asyncio.EventLoop is new in 3.13")
def test_event_loop_in_its_module(sabio: Any) -> None:
    assert sabio.unix_events.EventLoop is sabio.Loop
    assert sabio.unix_events.SelectorEventLoop is asyncio.SelectorEventLoop


def test_modules_are_not_made_twice(sabio: Any) -> None:
    assert importlib.import_module("sabio.tasks") is sabio.tasks is sys.modules["sabio.tasks"]


def test_a_task_is_an_instance_of_asyncio_s_future_only(sabio: Any) -> None:
    async def main() -> None:
        task = sabio.current_task()
        assert type(task) is sabio.Task
        assert isinstance(task, asyncio.Future)
        assert isinstance(task, asyncio.Task)
        assert sabio.isfuture(task)
        assert not isinstance(task, sabio.Future)

    sabio.run(main())
