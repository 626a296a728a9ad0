"""A process that has no descriptor left."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator


def exhaust() -> list[int]:
    """Open descriptors until there are none left: the descriptors, for the caller to close."""
    opened: list[int] = []
    while True:
        try:
            opened.append(os.dup(0))
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            return opened


@contextlib.contextmanager
def exhausted(spare: int = 0) -> Iterator[None]:
    """Within the block no more than `spare` descriptors can be had; the limit is that of the whole process."""
    saved = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, saved[1]))
    opened = exhaust()
    try:
        for _ in range(spare):
            os.close(opened.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, saved)
        for descriptor in opened:
            os.close(descriptor)
