"""Timers follow the monotonic clock, wherever it stands and whatever happens meanwhile (`loop.time()`)."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.support.process import environment, output_of, program

TIMERS = """
import os, signal, subprocess, sys, time

async def main():
    loop = asyncio.get_running_loop()
    before, there, after = time.monotonic(), loop.time(), time.monotonic()
    assert before <= there <= after, (before, there, after)
    order = []
    start = loop.time()
    ended = loop.create_future()
    def due(delay):
        assert loop.time() >= start + delay
        order.append(delay)
        if len(order) == 5:
            ended.set_result(None)
    for delay in (0.05, 0.01, 0.03, 0.02, 0.04):
        loop.call_at(start + delay, due, delay)
{between}
    await asyncio.wait_for(ended, 20)
    print(order)

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""

IN_ORDER = "[0.01, 0.02, 0.03, 0.04, 0.05]"

#: The process is stopped until all timers are due.
STOPPED = """
    code = "import os, signal, sys, time; time.sleep(0.2); os.kill(int(sys.argv[1]), signal.SIGCONT)"
    waker = subprocess.Popen([sys.executable, "-c", code, str(os.getpid())])
    os.kill(os.getpid(), signal.SIGSTOP)
    waker.wait()
"""


def test_timers_that_become_due_while_the_process_is_stopped_run_in_order(loop_name):
    assert output_of(loop_name, TIMERS.format(between=STOPPED.strip("\n"))) == [IN_ORDER]


#: How far the clock is from that of the machine, in seconds: three decades, and as much as the kernel allows.
OFFSETS = [10**9, 4 * 10**9]


@pytest.mark.parametrize("offset", OFFSETS)
def test_timers_where_the_clock_stands_elsewhere(loop_name, offset):
    unshare = shutil.which("unshare")
    enter = [unshare or "unshare", "--time", "--fork", "--monotonic", str(offset)]
    if unshare is None or subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs unshare(1) and the right to make a time namespace")
    done = subprocess.run(
        [*enter, sys.executable, "-c", program(loop_name, TIMERS.format(between=""))],
        capture_output=True,
        text=True,
        env=environment({}),
        timeout=25,
        check=False,
    )
    assert done.stdout.splitlines() == [IN_ORDER], done.stderr
