"""How much memory the process has, and how to see the growth that things cause.

Two things hide it. A process keeps memory that it has freed, so that what is made next costs nothing new: `fill()` uses
that up. And the kernel's quick count of resident pages (`/proc/self/statm`) is off by up to 256 KiB on two processors:
`anonymous_bytes()` asks for the exact one, which counts every page.
"""

from __future__ import annotations

import gc
from pathlib import Path

#: What the header and the end of a bytes object take.
BYTES_OVERHEAD = b"".__sizeof__()
#: The classes of size of Python's own allocator, and some sizes that go to malloc.
SIZES = (*range(48, 513, 16), 600, 800, 1_200, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
LOT_BYTES = 128 * 1024
#: More than any process here keeps.
MOST_LOTS = 400


def anonymous_bytes() -> int:
    """What the process has of memory of its own, in bytes: no files, no code. Garbage is collected first."""
    gc.collect()
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say how much memory there is")


def fill() -> list[object]:
    """Takes the free memory that the process keeps, for as long as what this gives is held.

    Of each size so much is allocated that the process has to grow by it.
    """
    held: list[object] = []
    for size in SIZES:
        for _ in range(MOST_LOTS):
            before = anonymous_bytes()
            held.append([b"x" * (size - BYTES_OVERHEAD) for _ in range(LOT_BYTES // size)])
            if anonymous_bytes() - before > LOT_BYTES * 0.9:
                break
    return held
