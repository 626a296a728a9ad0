"""Legacy mode: what asyncio had in Python 3.4 to 3.9 works, warns once, and goes away again."""

from __future__ import annotations

import asyncio
import importlib
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import run_python
from tests.support.versions import SINCE_3_12, SINCE_3_14
from tests.test_install import SNAPSHOT

pytestmark = pytest.mark.usefixtures("sabio")


def legacy(code: str, *options: str) -> tuple[list[str], list[str]]:
    """What a program prints in legacy mode, and its warnings without their places."""
    command = ("-W", "always::DeprecationWarning", *options, "-m", "sabio", "--legacy", "-")
    done = run_python(*command, stdin="import asyncio\n" + textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    warnings = [line.partition("DeprecationWarning: ")[2] for line in done.stderr.splitlines()]
    return done.stdout.splitlines(), [warning for warning in warnings if warning]


def printed(code: str) -> list[str]:
    return legacy(code)[0]


# ---------------------------------------------------------------- coroutines


def test_generators_marked_as_coroutines_run_and_wait_for_both_kinds() -> None:
    code = """
        @asyncio.coroutine
        def old(n):
            yield from asyncio.sleep(0.001)
            other = yield from new(n)
            return other * 2

        async def new(n):
            await asyncio.sleep(0.001)
            return n + 1

        async def both():
            return await old(1), await asyncio.ensure_future(old(2))

        loop = asyncio.get_event_loop()
        print(loop.run_until_complete(old(20)))
        print(loop.run_until_complete(both()))
        print(asyncio.iscoroutine(old(1)), asyncio.coroutines._is_coroutine is old._is_coroutine, old.__name__)
    """
    output, warnings = legacy(code)
    assert output == ["42", "(4, 6)", "True True old"]
    assert warnings[0] == "asyncio.coroutine went with Python 3.11; use async def"


def test_functions_marked_as_coroutines_may_give_anything() -> None:
    assert printed("""
        @asyncio.coroutine
        def value():
            return 1

        @asyncio.coroutine
        def future():
            return asyncio.ensure_future(value())

        @asyncio.coroutine
        def awaitable():
            return asyncio.sleep(0.001, 3)

        @asyncio.coroutine
        def generator():
            return (x for x in [None, None])

        @asyncio.coroutine
        async def native():
            return 5

        class Old:
            @asyncio.coroutine
            def method(self, n):
                yield
                return n

        async def main():
            for made in value(), future(), awaitable(), generator(), native(), Old().method(6):
                print(await made)

        asyncio.run(main())
    """) == ["1", "1", "3", "None", "5", "6"]


def test_plain_generators_count_as_coroutines_everywhere() -> None:
    code = """
        def old(n):
            yield
            return n

        async def main():
            loop = asyncio.get_running_loop()
            print(await asyncio.ensure_future(old(1)), await loop.create_task(old(2)), await asyncio.Task(old(3)))
            print(await asyncio.create_task(old(4)), await asyncio.gather(old(5), old(6)))
            done, _ = await asyncio.wait([old(7)])
            print([task.result() for task in done], await asyncio.wait_for(old(8), 1), await asyncio.shield(old(9)))
            print([await one for one in asyncio.as_completed([old(10)])])
            threaded = asyncio.run_coroutine_threadsafe(old(11), loop)
            print(await asyncio.wrap_future(threaded), asyncio.iscoroutine(old(0)))

        asyncio.run(main())
        print(asyncio.run(old(12)), asyncio.get_event_loop().run_until_complete(old(13)))
    """
    output, warnings = legacy(code)
    assert output == ["1 2 3", "4 [5, 6]", "[7] 8 9", "[10]", "11 True", "12 13"]
    if SINCE_3_12:
        assert warnings.count("generators are no coroutines from Python 3.12 on; use async def") == 1


def test_a_generator_that_is_never_run_is_just_a_generator() -> None:
    assert printed("""
        import types
        def numbers():
            yield from range(3)
        print(list(numbers()), isinstance(numbers(), types.GeneratorType))
    """) == ["[0, 1, 2] True"]


# ---------------------------------------------------------------- arguments


def test_loop_is_taken_wherever_it_was_a_parameter() -> None:
    code = """
        async def two():
            return 2

        async def serve(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        async def main(loop):
            print(await asyncio.sleep(0, 1, loop=loop))
            print(await asyncio.gather(two(), two(), loop=loop, return_exceptions=True))
            done, pending = await asyncio.wait([asyncio.ensure_future(two(), loop=loop)], loop=loop, timeout=5)
            print(len(done), len(pending), await asyncio.wait_for(two(), 5, loop=loop))
            print(await asyncio.shield(two(), loop=loop))
            print([await one for one in asyncio.as_completed([two()], loop=loop, timeout=5)])
            server = await asyncio.start_server(serve, "127.0.0.1", 0, loop=loop)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, loop=loop)
            writer.write(b"line\\n")
            print(await reader.readline())
            writer.close()
            server.close()
            for kind in asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore, asyncio.BoundedSemaphore:
                print(kind.__name__, isinstance(kind(loop=loop), kind), isinstance(kind(), kind))
            for kind in asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue:
                print(kind.__name__, kind(3, loop=loop).maxsize, isinstance(kind(loop=loop), asyncio.Queue))
            reader = asyncio.StreamReader(loop=loop)
            reader.feed_data(b"fed")
            reader.feed_eof()
            print(await reader.read())

        loop = asyncio.get_event_loop()
        loop.run_until_complete(main(loop))
        loop.close()
    """
    output, warnings = legacy(code)
    assert output == [
        "1",
        "[2, 2]",
        "1 0 2",
        "2",
        "[2]",
        "b'line\\n'",
        "Lock True True",
        "Event True True",
        "Condition True True",
        "Semaphore True True",
        "BoundedSemaphore True True",
        "Queue 3 True",
        "LifoQueue 3 True",
        "PriorityQueue 3 True",
        "b'fed'",
    ]
    # Each thing that was given a loop warns, and no thing twice.
    assert "the loop argument of asyncio.sleep() went with Python 3.10; leave it out" in warnings
    assert "the loop argument of asyncio.PriorityQueue went with Python 3.10; leave it out" in warnings
    assert len(warnings) == len(set(warnings)) >= 16


def test_loop_says_whose_the_tasks_are_while_none_runs() -> None:
    assert printed("""
        async def two():
            return asyncio.get_running_loop()

        loop = asyncio.new_event_loop()
        print(loop.run_until_complete(asyncio.gather(two(), loop=loop)) == [loop])
        same = two()
        print(loop.run_until_complete(asyncio.gather(same, same, loop=loop)) == [loop, loop])
        print(loop.run_until_complete(asyncio.gather(loop=loop)))
        print(loop.run_until_complete(asyncio.shield(two(), loop=loop)) is loop)
        loop.close()
    """) == ["True", "True", "[]", "True"]


def test_classes_that_take_loop_can_be_derived_from() -> None:
    assert printed("""
        import abc, collections.abc

        class Jobs(asyncio.Queue):
            def __init__(self, name, *, loop=None):
                super().__init__(2, loop=loop)
                self.name = name

            def _put(self, item):
                super()._put((self.name, item))

        class Named(asyncio.Lock, abc.ABC):
            pass

        class MyTask(asyncio.Task):
            pass

        async def main():
            jobs = Jobs("jobs", loop=asyncio.get_event_loop())
            await jobs.put(1)
            print(await jobs.get(), jobs.maxsize, isinstance(jobs, asyncio.Queue), issubclass(Jobs, asyncio.Queue))
            print(isinstance(asyncio.Lock(), Named), isinstance(Named(), asyncio.Lock), asyncio.Queue[int] is not None)
            task = MyTask(asyncio.sleep(0, 5), loop=asyncio.get_event_loop())
            print(await task, isinstance(task, asyncio.Task), isinstance(asyncio.current_task(), MyTask))

        asyncio.get_event_loop().run_until_complete(main())
    """) == ["('jobs', 1) 2 True True", "False True True", "5 True False"]


def test_wait_takes_coroutines() -> None:
    code = """
        async def one(n):
            await asyncio.sleep(0.001 * n)
            return n

        loop = asyncio.get_event_loop()
        done, pending = loop.run_until_complete(asyncio.wait([one(1), one(2)]))
        print(sorted(task.result() for task in done), pending)

        async def main():
            done, pending = await asyncio.wait({one(1), one(60000)}, return_when=asyncio.FIRST_COMPLETED)
            print([task.result() for task in done], len(pending))
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)
            try:
                await asyncio.wait([])
            except ValueError as error:
                print(error)
            stray = one(1)
            try:
                await asyncio.wait(stray)
            except TypeError as error:
                print(str(error)[:32])
            stray.close()

        loop.run_until_complete(main())
    """
    output, warnings = legacy(code)
    assert output == ["[1, 2] set()", "[1] 1", output[2], "expect a list of futures, not co"]
    assert (
        warnings.count("asyncio.wait() takes no coroutines from Python 3.11 on; use asyncio.create_task()")
        == 1
    )


# ---------------------------------------------------------------- locks


def test_locks_are_held_by_with_yield_from_and_with_await() -> None:
    assert printed("""
        @asyncio.coroutine
        def old(lock):
            with (yield from lock):
                print("held", lock.locked())
            print("released", not lock.locked())

        async def main():
            for lock in asyncio.Lock(), asyncio.Semaphore(1), asyncio.BoundedSemaphore(1), asyncio.Condition():
                await old(lock)
            lock = asyncio.Lock()
            try:
                with await lock:
                    raise ValueError("inside")
            except ValueError as error:
                print(error, lock.locked())
            async with lock:
                print("new")

        asyncio.get_event_loop().run_until_complete(main())
    """) == ["held True", "released True"] * 4 + ["inside False", "new"]


# ---------------------------------------------------------------- loops and names


def test_get_event_loop_makes_a_loop_in_the_main_thread() -> None:
    code = """
        import threading
        loop = asyncio.get_event_loop()
        print(type(loop).__module__, asyncio.get_event_loop() is loop)
        future = asyncio.Future()
        print(future.get_loop() is loop)

        def elsewhere():
            try:
                asyncio.get_event_loop()
            except RuntimeError as error:
                print(error)

        thread = threading.Thread(target=elsewhere, name="elsewhere")
        thread.start()
        thread.join()
        loop.close()
        new = asyncio.new_event_loop()
        asyncio.set_event_loop(new)
        print(asyncio.get_event_loop() is new)
        new.close()
    """
    output, warnings = legacy(code)
    assert output == ["sabio True", "True", "There is no current event loop in thread 'elsewhere'.", "True"]
    assert warnings == ["asyncio.get_event_loop() makes no loop from Python 3.14 on; use asyncio.run()"]


def test_names_that_went_are_back() -> None:
    code = """
        async def two():
            await asyncio.sleep(0)
            return 2

        async def main(loop):
            task = getattr(asyncio, "async")(two(), loop=loop)
            print(asyncio.Task.current_task() is asyncio.current_task(), task in asyncio.Task.all_tasks(loop=loop))
            print(await task, asyncio.Task.current_task(loop=loop) is asyncio.current_task())
            queue = asyncio.JoinableQueue(maxsize=2)
            queue.put_nowait(1)
            queue.task_done()
            await queue.join()
            print(isinstance(queue, asyncio.Queue), queue.maxsize)

        loop = asyncio.get_event_loop()
        asyncio.Task.all_tasks()
        loop.run_until_complete(main(loop))
        print(asyncio.selectors.__name__)
        print(asyncio.futures.CancelledError is asyncio.CancelledError is asyncio.tasks.CancelledError)
        print(asyncio.streams.IncompleteReadError is asyncio.IncompleteReadError)
        watcher = asyncio.get_child_watcher()
        watcher.attach_loop(loop)
    """
    output, warnings = legacy(code)
    assert output == ["True True", "2 True", "True 2", "selectors", "True", "True"]
    assert len(warnings) == len(set(warnings))
    for gone in ("asyncio.async()", "asyncio.JoinableQueue", "asyncio.Task.all_tasks()"):
        assert any(warning.startswith(f"{gone} went with Python 3.") for warning in warnings), gone


@pytest.mark.skipif(not SINCE_3_14, reason="asyncio has child watchers itself")
def test_child_watchers_still_watch() -> None:
    assert printed("""
        import os, queue, subprocess, sys
        ended = queue.Queue()
        child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        with asyncio.SafeChildWatcher() as watcher:
            watcher.add_child_handler(child.pid, lambda *args: ended.put(args), "more")
            print(ended.get(timeout=20)[1:], watcher.is_active(), watcher.remove_child_handler(child.pid))
        child.returncode = 3
        asyncio.set_child_watcher(watcher)
    """) == ["(3, 'more') True False"]


def test_warnings_point_to_the_line_of_the_program() -> None:
    done = run_python(
        "-m",
        "sabio",
        "--legacy",
        "-c",
        "import asyncio\nasyncio.get_event_loop().close()\nasyncio.Lock(loop=1)\n",
    )
    assert done.returncode == 0
    assert [line.partition(" Deprecation")[0] for line in done.stderr.splitlines() if "Warning" in line] == [
        "<string>:2:",
        "<string>:3:",
    ]


def test_warnings_can_be_errors() -> None:
    done = run_python(
        "-W", "error", "-m", "sabio", "--legacy", "-c", "import asyncio\nasyncio.Lock(loop=1)\n"
    )
    assert done.returncode == 1
    assert done.stderr.endswith("the loop argument of asyncio.Lock went with Python 3.10; leave it out\n")


# ---------------------------------------------------------------- putting it in and taking it out


def test_uninstall_takes_legacy_mode_away() -> None:
    code = (
        SNAPSHOT
        + """
import sabio
sabio.install(legacy=True)
sabio.uninstall()  # what it imports is there from here on
before = snapshot()
for calls in ([True], [False, True], [True, False], [False], [True, True]):
    for call in calls:
        sabio.install(legacy=call)
    print(difference(before, snapshot()) != [], hasattr(asyncio, "coroutine") == any(calls))
    sabio.uninstall()
    print(difference(before, snapshot()))
"""
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True True", "[]"] * 5


def test_without_legacy_nothing_of_it_is_there(sabio: Any) -> None:
    sabio.install()
    try:
        for name in ("coroutine", "async", "JoinableQueue", "selectors"):
            assert not hasattr(asyncio, name)
        assert not hasattr(asyncio.Task, "all_tasks")
        with pytest.raises(TypeError):
            asyncio.Lock(loop=None)
    finally:
        sabio.uninstall()


def test_legacy_mode_is_not_imported_unless_asked_for() -> None:
    code = "import sabio, sys\nsabio.install()\nprint([m for m in sys.modules if '_legacy' in m])"
    assert run_python("-c", code).stdout == "[]\n"


def test_the_current_loop_stays_when_legacy_mode_is_added(sabio: Any) -> None:
    sabio.install()
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        sabio.install(legacy=True)
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        sabio.uninstall()


@pytest.mark.skipif(not SINCE_3_12, reason="generators are coroutines for asyncio of 3.11")
def test_the_interpreter_remembers_that_generators_were_coroutines() -> None:
    """The accelerator of asyncio keeps the types that it has found to be coroutines, and no one can empty that."""
    code = """
import asyncio, sabio
def old():
    yield
    return 1
async def main():
    return await asyncio.Task(old())
sabio.install(legacy=True)
print(sabio.run(main()))
sabio.uninstall()
print(asyncio.iscoroutine(old()))
print(asyncio.run(main()))
try:
    asyncio.run(old())
except (TypeError, ValueError) as error:
    print("refused")
"""
    done = run_python("-W", "ignore", "-c", code)
    assert done.stdout.splitlines() == ["1", "False", "1", "refused"]


def test_every_wrapper_stands_before_a_name_that_asyncio_has() -> None:
    arguments = importlib.import_module("sabio._legacy._argument")
    for module, name in (*arguments._FUNCTIONS, *arguments._CLASSES):
        assert name in vars(importlib.import_module(f"asyncio.{module}"))


def test_the_option_stands_before_what_names_a_program(tmp_path: Path) -> None:
    program = "import asyncio, sys\nprint(hasattr(asyncio, 'coroutine'), sys.argv[1:])\n"
    (tmp_path / "old.py").write_text(program)
    for options in (["old.py"], ["-m", "old"], ["-c", program]):
        for legacy_mode in ([], ["--legacy"]):
            done = run_python("-m", "sabio", *legacy_mode, *options, "--legacy", cwd=tmp_path)
            assert done.stdout == f"{bool(legacy_mode)} ['--legacy']\n"
    done = run_python("-m", "sabio", "--legacy", stdin=program, cwd=tmp_path)
    assert done.stdout == "True []\n"
