"""Thousands of signals of several kinds, while a loop with handlers for them is busy (asyncio docs, "Unix signals")."""

from __future__ import annotations

import pytest

from tests.support.process import output_of, run_program

STORM = """
import os, signal, socket, subprocess, sys

KINDS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGALRM, signal.SIGRTMIN, signal.SIGRTMIN + 1)
COUNT = 2000
SENDER = '''
import os, sys, time
process, count, *kinds = map(int, sys.argv[1:])
for round in range(count):
    for kind in kinds:
        os.kill(process, kind)
    if round % 100 == 0:
        time.sleep(0.001)
'''

async def send(count):
    numbers = [str(int(number)) for number in (os.getpid(), count, *KINDS)]
    sender = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, *numbers)
    assert await sender.wait() == 0

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)

async def main():
    loop = asyncio.get_running_loop()
    calls = dict.fromkeys(KINDS, 0)
    rounds = 0

    def called(kind):
        calls[kind] += 1

    async def echo(reader, writer):
        nonlocal rounds
        while True:
            writer.write(b"x" * 1000)
            assert await reader.readexactly(1000) == b"x" * 1000
            rounds += 1

    for kind in KINDS:
        loop.add_signal_handler(kind, called, kind)
    left, right = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=left)
    reader, other = await asyncio.open_connection(sock=right)
    busy = asyncio.create_task(echo(reader, writer))
    await send(COUNT)
    before = dict(calls)
    await send(1)
    await until(lambda: all(calls[kind] > before[kind] for kind in KINDS))
    print("each handler was called after the last signal")
    # The kernel queues those, so each of them is told of.
    await until(lambda: all(calls[kind] == COUNT + 1 for kind in KINDS if kind >= signal.SIGRTMIN))
    print("nothing is lost but what Unix merges")
    so_far = rounds
    await until(lambda: rounds > so_far)
    busy.cancel()
    writer.close()
    other.close()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
print("end")
"""


@pytest.mark.asyncio_lacks(
    "its pipe of signals overflows, and the interpreter reports that endlessly", run=False
)
def test_every_handler_is_called_after_the_last_signal(loop_name):
    assert output_of(loop_name, STORM) == [
        "each handler was called after the last signal",
        "nothing is lost but what Unix merges",
        "end",
    ]


INTERRUPTED = """
import os, signal

async def main():
    loop = asyncio.get_running_loop()
    for kind in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(kind, int)
    for _ in range(200):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(200):
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
