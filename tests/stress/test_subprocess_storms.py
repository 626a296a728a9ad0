"""Processes by the hundred, started and killed: every status is had, and nothing is left."""

import asyncio
import contextlib
import gc
import os
import random
import signal

import pytest

from tests.support.children import BLOCKED, ProcessRecorder, children, open_files
from tests.support.waiting import turns, until

pytestmark = pytest.mark.timeout(120, method="signal")

#: A small program that waits for its input to end.
CAT = ("/bin/cat",)


async def test_200_rounds_of_starting_and_killing(sabio):
    loop = asyncio.get_running_loop()
    generator = random.Random(7)
    before, files = children(), open_files()
    for turn in range(200):
        transport, protocol = await loop.subprocess_exec(ProcessRecorder, *CAT)
        if turn % 2:
            await turns(generator.randrange(4))
        how = generator.randrange(4)
        if how == 0:
            transport.kill()
        elif how == 1:
            transport.close()
        elif how == 2:
            transport.terminate()
        else:
            transport.get_pipe_transport(0).close()
        await protocol.ended
        assert transport.get_returncode() in ((0,) if how == 3 else (-signal.SIGKILL, -signal.SIGTERM))
        transport.close()
    assert children() <= before
    assert open_files() == files


async def test_300_processes_at_once(sabio):
    before, files = children(), open_files()
    started, go = [], asyncio.Event()

    async def run(number):
        process = await sabio.create_subprocess_exec(
            "/bin/sh", "-c", f"read line; exit {number % 200}", stdin=-1
        )
        started.append(process)
        await go.wait()
        process.stdin.close()
        return await process.wait()

    running = [asyncio.ensure_future(run(number)) for number in range(300)]
    await until(lambda: len(started) == 300, 60)
    assert len(children() - before) == 300
    go.set()
    assert await asyncio.gather(*running) == [number % 200 for number in range(300)]
    started.clear()
    del running
    await turns(5)
    gc.collect()
    assert children() <= before
    assert open_files() == files


async def test_starts_that_are_cancelled_at_random(sabio):
    generator = random.Random(11)
    before, files = children(), open_files()

    async def run():
        process = await sabio.create_subprocess_exec(*CAT, stdin=-1, stdout=-1)
        try:
            return await process.communicate(b"data")
        finally:
            process._transport.close()
            await process.wait()

    running = [asyncio.ensure_future(run()) for _ in range(150)]
    while not all(task.done() for task in running):
        generator.choice(running).cancel()
        await turns(generator.randrange(3))
    for task in running:
        assert task.cancelled() or task.result() == (b"data", None)
    del task, running
    # Who is cancelled a second time does not wait for the end of the child; the loop sees to it.
    await until(lambda: children() <= before)
    gc.collect()
    assert open_files() == files


async def test_strangers_end_beside_ours(sabio):
    """Children of somebody else come and go all the time, and keep their statuses."""
    strangers = [os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {n}"], {}) for n in range(20)]  # noqa: ASYNC221
    for number in range(20):
        process = await sabio.create_subprocess_shell(f"exit {100 + number}")
        assert await process.wait() == 100 + number
    for number, pid in enumerate(strangers):
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == number  # noqa: ASYNC222


async def test_processes_that_end_before_anybody_looks(sabio):
    loop = asyncio.get_running_loop()
    for _ in range(50):
        transport, protocol = await loop.subprocess_exec(
            ProcessRecorder, *BLOCKED[:1], "-S", "-c", "", stdin=None
        )
        # On a busy machine the loop may have looked before this line is reached.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        transport.send_signal(signal.SIGTERM)
        transport.close()
        await protocol.ended
        assert transport.get_returncode() == 0
