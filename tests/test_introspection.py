"""Looking at tasks from outside: all_tasks, the call graph, `python -m asyncio ps` (asyncio docs, "Introspection")."""

import asyncio
import contextlib
import importlib
import json
import subprocess
import sys
import threading

import pytest

from tests.support.process import environment, output_of, program
from tests.support.versions import SINCE_3_14
from tests.support.waiting import turns

since_3_14 = pytest.mark.skipif(not SINCE_3_14, reason="new in 3.14")


async def hang():
    await asyncio.get_running_loop().create_future()


async def stop(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_tasks_of_the_running_loop():
    tasks = {asyncio.create_task(hang(), name=f"task {number}") for number in range(20)}
    assert asyncio.all_tasks() == tasks | {asyncio.current_task()}
    await turns(1)
    assert asyncio.all_tasks(asyncio.get_running_loop()) == tasks | {asyncio.current_task()}
    await stop(*tasks)


def test_all_tasks_of_a_loop_that_does_not_run(loop):
    task = loop.create_task(asyncio.sleep(0))
    assert asyncio.all_tasks(loop) == {task}
    loop.run_until_complete(task)
    assert asyncio.all_tasks(loop) == set()


def test_all_tasks_outside_of_a_loop_is_an_error():
    with pytest.raises(RuntimeError, match=r"no running event loop"):
        asyncio.all_tasks()


async def test_all_tasks_can_be_asked_for_by_another_thread():
    loop = asyncio.get_running_loop()
    tasks = {asyncio.create_task(hang()) for _ in range(10)}
    await turns(1)
    seen = await asyncio.to_thread(asyncio.all_tasks, loop)
    assert seen == tasks | {asyncio.current_task()}
    await stop(*tasks)


def test_loops_of_several_threads_have_their_own_tasks(loop_factory):
    barrier = threading.Barrier(3, timeout=10)
    counts = []

    async def main(count):
        tasks = [asyncio.create_task(hang()) for _ in range(count)]
        await turns(1)
        barrier.wait()
        counts.append((count, len(asyncio.all_tasks())))
        barrier.wait()
        await stop(*tasks)

    def work(count):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main(count))

    threads = [threading.Thread(target=work, args=(count,), daemon=True) for count in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [(1, 2), (2, 3), (3, 4)]


async def test_current_task_of_another_loop_is_none(loop_factory):
    other = loop_factory()
    assert asyncio.current_task(other) is None
    assert asyncio.current_task(asyncio.get_running_loop()) is asyncio.current_task()
    other.close()


async def test_tasks_of_every_make_are_listed():
    loop = asyncio.get_running_loop()
    mine, other = loop.create_task(hang()), asyncio.tasks._CTask(hang(), loop=loop)
    await turns(1)
    assert asyncio.all_tasks() >= {mine, other}
    await stop(mine, other)


# ---------------------------------------------------------------- the call graph


@since_3_14
async def test_call_graph_shows_who_awaits_whom():
    async def inner():
        await asyncio.get_running_loop().create_future()

    async def outer(task):
        await task

    bottom = asyncio.create_task(inner(), name="bottom")
    top = asyncio.create_task(outer(bottom), name="top")
    await turns(2)
    graph = asyncio.capture_call_graph(bottom)
    assert [entry.future.get_name() for entry in graph.awaited_by] == ["top"]
    assert graph.call_stack[0].frame.f_code.co_name == "inner"
    text = asyncio.format_call_graph(bottom)
    assert "* Task(name='bottom'" in text
    assert "* Task(name='top'" in text
    await stop(bottom)
    await asyncio.gather(top, return_exceptions=True)


@since_3_14
async def test_call_graph_of_several_awaiters():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        await future

    tasks = [asyncio.create_task(wait(), name=f"waiter {number}") for number in range(3)]
    await turns(1)
    graph = asyncio.capture_call_graph(future)
    assert {entry.future.get_name() for entry in graph.awaited_by} == {"waiter 0", "waiter 1", "waiter 2"}
    future.set_result(None)
    await asyncio.gather(*tasks)
    assert asyncio.capture_call_graph(future).awaited_by == ()


@since_3_14
async def test_call_graph_forgets_a_cancelled_awaiter():
    inner = asyncio.create_task(hang())

    async def wait():
        await asyncio.shield(inner)

    outer = asyncio.create_task(wait())
    await turns(2)
    await stop(outer)
    await turns(2)
    assert [entry for entry in asyncio.capture_call_graph(inner).awaited_by if entry.future is outer] == []
    await stop(inner)


@since_3_14
async def test_call_graph_of_the_current_task():
    graph = asyncio.capture_call_graph()
    assert graph.future is asyncio.current_task()
    assert graph.call_stack[0].frame.f_code.co_name == "test_call_graph_of_the_current_task"
    del graph


# ---------------------------------------------------------------- python -m asyncio

OBSERVED = """
    async def leaf():
        await asyncio.get_running_loop().create_future()

    async def branch(number):
        await asyncio.create_task(leaf(), name=f"leaf {number}")

    async def main():
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(branch(number), name=f"branch {number}")
            await asyncio.sleep(0.01)
            print("ready", flush=True)

    loop = new_event_loop()
    loop.run_until_complete(loop.create_task(main(), name="root"))
"""


BELOW_WAIT_FOR = """
    wait_for = getattr(__import__("{loop_name}"), "wait_for")

    async def below():
        await asyncio.get_running_loop().create_future()

    async def above():
        await wait_for(below(), 1000)

    async def main():
        task = asyncio.create_task(above(), name="waiter")
        await asyncio.sleep(0.01)
        graph = asyncio.capture_call_graph(task)
        print(*[entry.frame.f_code.co_name for entry in graph.call_stack if entry.frame], flush=True)
        await task

    loop = new_event_loop()
    loop.run_until_complete(main())
"""


@contextlib.contextmanager
def running(loop_name, code):
    """A program that waits for ever, in a process of its own, and has said so in a line: its number and the line."""
    with subprocess.Popen(
        [sys.executable, "-c", program(loop_name, code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
        text=True,
    ) as child:
        try:
            yield child.pid, child.stdout.readline()
        finally:
            child.kill()
            child.communicate()


@pytest.fixture
def observed(loop_name):
    with running(loop_name, OBSERVED) as (pid, line):
        assert line == "ready\n"
        yield pid


def observe(command, pid):
    done = subprocess.run(
        [sys.executable, "-m", "asyncio", command, str(pid)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode and ("ermission" in done.stderr or "ptrace" in done.stderr):
        pytest.skip("this machine does not let processes be looked at")
    assert done.returncode == 0, done.stderr
    return done.stdout


@since_3_14
def test_ps_lists_the_tasks_with_their_awaiters(observed):
    rows = observe("ps", observed).splitlines()
    for name in ("root", "branch 0", "branch 1", "leaf 0", "leaf 1"):
        assert any(name in row for row in rows), rows
    [leaf] = [row for row in rows if "leaf 0" in row.split("branch 0")[0] and "leaf 0" in row]
    assert "branch 0" in leaf


@since_3_14
def test_pstree_shows_the_tree(observed):
    text = observe("pstree", observed)
    order = [text.index(name) for name in ("root", "branch 0", "leaf 0")]
    assert order == sorted(order)
    assert "branch 1" in text
    assert "leaf 1" in text


@since_3_14
def test_what_is_below_a_native_coroutine_is_seen_from_inside_only(loop_name):
    # A difference (docs/differences.md): from outside, the interpreter follows frames of Python code alone.
    with running(loop_name, BELOW_WAIT_FOR.replace("{loop_name}", loop_name)) as (pid, line):
        inside = line.split()
        assert inside[0] == "below"
        assert inside[-1] == "above"
        tree = observe("pstree", pid)
    assert "above" in tree
    assert ("below" in tree) == (loop_name == "asyncio")


def test_tasks_of_a_live_program_can_be_dumped_from_inside(loop_name):
    code = """
        import json

        async def work():
            await asyncio.get_running_loop().create_future()

        async def main():
            tasks = [asyncio.create_task(work(), name=f"task {n}") for n in range(3)]
            await asyncio.sleep(0)
            print(json.dumps(sorted(task.get_name() for task in asyncio.all_tasks() if task in tasks)))
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    assert json.loads(output_of(loop_name, code)[0]) == ["task 0", "task 1", "task 2"]


@since_3_14
async def test_a_task_that_is_put_aside_is_not_current(loop_name):
    objects = importlib.import_module(loop_name)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    asyncio.tasks._leave_task(loop, task)
    try:
        assert asyncio.current_task() is None
        for make in (lambda: objects.timeout(1), objects.TaskGroup):
            with pytest.raises(RuntimeError):
                await make().__aenter__()
    finally:
        asyncio.tasks._enter_task(loop, task)


@since_3_14
async def test_a_task_that_is_put_in_the_place_of_the_one_that_runs_is_current(loop_name):
    objects = importlib.import_module(loop_name)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    other = asyncio.create_task(asyncio.sleep(10))
    queue = objects.Queue()
    queue.put_nowait("item")
    asyncio.tasks._swap_current_task(loop, other)
    try:
        await objects.timeout(0.01).__aenter__()
        assert await queue.get() == "item"
    finally:
        asyncio.tasks._swap_current_task(loop, task)
    with pytest.raises(asyncio.CancelledError):
        await other
