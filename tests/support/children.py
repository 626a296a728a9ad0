"""Child processes of the tests, and a protocol that writes down what it is told of one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from tests.support.waiting import until

#: Does nothing until its standard input ends.
BLOCKED = (sys.executable, "-S", "-c", "import sys; sys.stdin.buffer.read()")


def children() -> set[int]:
    """The processes that this one has not waited for yet, zombies among them."""
    lists = []
    for path in Path("/proc/self/task").glob("*/children"):
        # A thread that ends meanwhile has none.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            lists.append(path.read_text())
    return {int(pid) for text in lists for pid in text.split()}


def open_files() -> set[str]:
    """The numbers of this process's descriptors."""
    return set(os.listdir("/proc/self/fd"))


class ProcessRecorder(asyncio.SubprocessProtocol):
    """Keeps the calls it got, in order, and the bytes; `ended` is done once the last call has come."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.calls: list[Any] = []
        self.received = {1: bytearray(), 2: bytearray()}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append("connection_made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if ("pipe_data_received", fd) not in self.calls:
            self.calls.append(("pipe_data_received", fd))
        self.received[fd] += data

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        self.calls.append(("pipe_connection_lost", fd, exc))

    def process_exited(self) -> None:
        self.calls.append("process_exited")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append(("connection_lost", exc))
        self.ended.set_result(None)

    async def receive(self, fd: int, size: int) -> bytes:
        """Wait until `size` bytes have come from a pipe; all that has come."""
        await until(lambda: len(self.received[fd]) >= size)
        return bytes(self.received[fd])


async def run_shell(command: str, **options: Any) -> tuple[Any, ProcessRecorder]:
    """Start a shell command on the running loop."""
    return await asyncio.get_running_loop().subprocess_shell(ProcessRecorder, command, **options)


async def run_program(*args: Any, **options: Any) -> tuple[Any, ProcessRecorder]:
    """Start a program on the running loop."""
    return await asyncio.get_running_loop().subprocess_exec(ProcessRecorder, *args, **options)
