"""What the rows about pipes and processes do: move much data through a pipe, and run small programs.

Called by `bench_processes.py`.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop
from typing import cast

from body import Body, batches, expect
from loops import Sleep

MIB = 1024 * 1024
CHUNK = bytes(range(256)) * 256
CHUNKS = MIB // len(CHUNK)
AT_ONCE = 20
WORDS = b"words to communicate\n"


class Counting(asyncio.Protocol):
    """The end that is read from: counts what comes."""

    def __init__(self) -> None:
        self.size = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


class Pushing(asyncio.BaseProtocol):
    """The end that is written to: writes so many chunks as fast as it may, then closes."""

    transport: asyncio.WriteTransport

    def __init__(self, chunks: int) -> None:
        self.left = chunks
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.push()

    def push(self) -> None:
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(CHUNK)
        if not self.left:
            # Not at once: asyncio loses what is written and closed in resume_writing().
            asyncio.get_running_loop().call_soon(self.transport.close)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.push()


async def pipe(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    reader, writer = os.pipe()
    with open(reader, "rb", 0) as into, open(writer, "wb", 0) as out:
        _, counting = await loop.connect_read_pipe(Counting, into)
        await loop.connect_write_pipe(lambda: Pushing(count * CHUNKS), out)
        await counting.ended
    return counting.size // MIB


async def spawn_one_by_one(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    done = 0
    for _ in range(count):
        process = await asyncio.create_subprocess_exec("/bin/true")
        done += await process.wait() == 0
    return done


async def spawn_and_communicate(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    async def one() -> bool:
        process = await asyncio.create_subprocess_exec(
            "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(WORDS)
        return out == WORDS and process.returncode == 0

    done = 0
    for size in batches(count, AT_ONCE):
        done += sum(await asyncio.gather(*[one() for _ in range(size)]))
    return done


BODIES = {
    body.name: body
    for body in (
        Body(
            "pipe, MiB",
            "64 KiB at a time through a pipe, both ends in the process, as fast as the transports take them",
            pipe,
            step=16,
            by_processor_time=True,
        ),
        Body(
            "spawn and wait, one by one",
            "create_subprocess_exec('/bin/true') and wait(), one after the other",
            spawn_one_by_one,
            step=10,
            by_processor_time=True,
        ),
        Body(
            "spawn and communicate, 20 at once",
            "create_subprocess_exec('/bin/cat') with two pipes and communicate(), 20 at a time",
            spawn_and_communicate,
            step=AT_ONCE,
            by_processor_time=True,
        ),
    )
}


def check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    """Asks whether the statuses of processes and what they write come back."""
    expect("statuses", [str(status) for status in loop.run_until_complete(_statuses())], ["0", "7", "-15"])


async def _statuses() -> list[int]:
    ended = await asyncio.create_subprocess_exec("/bin/true")
    exited = await asyncio.create_subprocess_shell("exit 7")
    killed = await asyncio.create_subprocess_exec("/bin/sleep", "100")
    killed.terminate()
    return [await ended.wait(), await exited.wait(), await killed.wait()]
