"""What a test must give back: descriptors, threads and loops.

`conftest.py` takes a `Snapshot` before each test and asks it afterwards what is left over. The
check waits a little, because threads and peers may still be on their way out when a body returns.
"""

from __future__ import annotations

import gc
import os
import threading
import time

SETTLE_SECONDS = 2.0


def open_descriptors() -> dict[int, str]:
    """The descriptors of this process and what each refers to, as in proc(5)."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            # The descriptor with which the directory itself was read.
            continue
    return found


class Snapshot:
    """The descriptors and threads at one moment."""

    def __init__(self) -> None:
        self.descriptors = open_descriptors()
        self.threads = set(threading.enumerate())

    def left_over(self) -> list[str]:
        """What is open or running now and was not then, in words; empty when nothing leaked."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            gc.collect()
            found = self._compare()
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    def _compare(self) -> list[str]:
        found = [
            f"descriptor {fd} -> {target}"
            for fd, target in open_descriptors().items()
            if self.descriptors.get(fd) != target
        ]
        found += [f"thread {t!r}" for t in threading.enumerate() if t not in self.threads]
        return found
