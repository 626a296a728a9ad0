"""A process that has no descriptor left."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def exhausted(spare: int = 0) -> Iterator[None]:
    """Within the block no more than `spare` descriptors can be had; the limit is that of the whole process."""
    saved = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, saved[1]))
    try:
        while True:
            try:
                opened.append(os.dup(0))
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                break
        for _ in range(spare):
            os.close(opened.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, saved)
        for descriptor in opened:
            os.close(descriptor)
