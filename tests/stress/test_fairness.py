"""A loop that always has something to run still looks at descriptors, timers and other threads."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

pytestmark = pytest.mark.alone


class Busy:
    """Keeps the ready queue from ever being empty while it is entered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds_a_turn: float = 0) -> None:
        self.loop = loop
        self.seconds = seconds_a_turn
        self.turns = 0
        self.going = False

    def turn(self) -> None:
        self.turns += 1
        if self.seconds:
            end = time.perf_counter() + self.seconds
            while time.perf_counter() < end:
                pass
        if self.going:
            self.loop.call_soon(self.turn)

    def __enter__(self) -> Busy:
        self.going = True
        self.turn()
        return self

    def __exit__(self, *_: object) -> None:
        self.going = False


@pytest.mark.parametrize("seconds_a_turn", [0, 0.001])
async def test_descriptors_are_served_while_callbacks_are_always_ready(seconds_a_turn: float) -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    right.setblocking(False)
    with Busy(loop, seconds_a_turn) as busy:
        longest = 0.0
        for _ in range(30):
            waiting = loop.create_task(loop.sock_recv(right, 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            start = time.perf_counter()
            left.send(b"x")
            assert await waiting == b"x"
            longest = max(longest, time.perf_counter() - start)
    left.close()
    right.close()
    assert busy.turns > 30
    assert longest < 0.25, f"one byte took {longest:.3f} s"


@pytest.mark.parametrize("seconds_a_turn", [0, 0.001])
async def test_timers_are_on_time_while_callbacks_are_always_ready(seconds_a_turn: float) -> None:
    loop = asyncio.get_running_loop()
    with Busy(loop, seconds_a_turn):
        for delay in (0.0, 0.002, 0.01, 0.02):
            start = loop.time()
            await asyncio.sleep(delay)
            late = loop.time() - start - delay
            assert 0 <= late < 0.2, f"{late:.3f} s late"


async def test_slow_turns_after_fast_ones_do_not_starve_descriptors() -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    right.setblocking(False)
    with Busy(loop) as busy:
        # The loop has learnt that turns are short; now they become long.
        await asyncio.sleep(0.05)
        waiting = loop.create_task(loop.sock_recv(right, 1))
        await asyncio.sleep(0)
        busy.seconds = 0.002
        left.send(b"x")
        start = time.perf_counter()
        assert await waiting == b"x"
        took = time.perf_counter() - start
    left.close()
    right.close()
    assert took < 0.5, f"one byte took {took:.3f} s"


async def test_other_threads_are_heard_while_callbacks_are_always_ready() -> None:
    loop = asyncio.get_running_loop()
    heard = loop.create_future()
    with Busy(loop):
        thread = threading.Thread(
            target=lambda: loop.call_soon_threadsafe(heard.set_result, time.perf_counter())
        )
        thread.start()
        asked = await asyncio.wait_for(heard, 5)
        assert time.perf_counter() - asked < 0.5
    thread.join()
