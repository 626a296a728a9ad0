"""Thousands of signals of several kinds, while a loop with handlers for them is busy (asyncio docs, "Unix signals")."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from tests.support.net import socket_pair
from tests.support.process import run_program
from tests.support.waiting import until

KINDS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGALRM, signal.SIGRTMIN, signal.SIGRTMIN + 1)
#: How often each of them comes.
COUNT = 2000

SENDER = """
import os, sys, time
process, count, *kinds = map(int, sys.argv[1:])
for round in range(count):
    for kind in kinds:
        os.kill(process, kind)
    if round % 100 == 0:
        time.sleep(0.001)
"""


async def send(count: int) -> int | None:
    arguments = [str(int(number)) for number in (os.getpid(), count, *KINDS)]
    sender = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, *arguments)
    return await sender.wait()


# asyncio's pipe of signals is small: more than it holds is reported by the interpreter, and lost.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_every_handler_is_called_after_the_last_signal(loop_name, capfd):
    loop = asyncio.get_running_loop()
    calls = dict.fromkeys(KINDS, 0)

    def called(kind: int) -> None:
        calls[kind] += 1

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal rounds
        while True:
            writer.write(b"x" * 1000)
            assert await reader.readexactly(1000) == b"x" * 1000
            rounds += 1

    rounds = 0
    for kind in KINDS:
        loop.add_signal_handler(kind, called, kind)
    with socket_pair() as (left, right):
        _, writer = await asyncio.open_connection(sock=left)
        reader, other = await asyncio.open_connection(sock=right)
        busy = asyncio.create_task(echo(reader, writer))
        assert await send(COUNT) == 0
        before = dict(calls)
        assert await send(1) == 0
        await until(lambda: all(calls[kind] > before[kind] for kind in KINDS))
        if loop_name == "sabio":
            # The kernel queues those, so each of them is told of.
            await until(lambda: all(calls[kind] == COUNT + 1 for kind in KINDS if kind >= signal.SIGRTMIN))
        so_far = rounds
        await until(lambda: rounds > so_far)
        busy.cancel()
        for each in (writer, other):
            each.close()
        await asyncio.gather(busy, return_exceptions=True)
    for kind in KINDS:
        assert loop.remove_signal_handler(kind)
    capfd.readouterr()


INTERRUPTED = """
import os, signal

async def main():
    loop = asyncio.get_running_loop()
    for kind in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(kind, int)
    for _ in range(2000):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(2000):
        os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.sleep(20)

try:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_heard_in_a_storm(loop_name):
    done = run_program(loop_name, INTERRUPTED)
    assert done.stdout == "interrupted\n", done.stderr
