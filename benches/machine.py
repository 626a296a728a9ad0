"""Where figures were taken: processor, kernel, interpreter, versions, and whether the machine was quiet.

Figures without this are worth little, so it goes into every raw record; nothing in it names a user, a path
or a host. Called before a script measures.
"""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import loops
from rounds import say

#: Share of the machine's time that others may use before the figures are called disturbed.
QUIET = 0.05
#: What the build of wheels says of itself.
GUIDED = "guided by a profile"


def describe(names: Sequence[str]) -> dict[str, object]:
    """A description of the machine and of the named loops. Warns when figures cannot be trusted."""
    busy = busy_share(1.0)
    if busy > QUIET:
        say(f"!!! the machine is BUSY: others use {busy:.0%} of its processors; expect disturbed figures")
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        say("!!! only ONE core may be used: server and load generator share it, do not trust server rows")
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return {
        "machine": f"{_processor()}, {cores} cores, {system}, {interpreter}, TCP by {_congestion_control()}, "
        f"sabio's build: {_build()}",
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "others_used": round(busy, 3),
        "loops": {name: loops.version(name) for name in names},
    }


def _build() -> str:
    """How sabio is built. Warns if that is not how wheels are."""
    try:
        build: str = importlib.import_module("sabio._sabio")._build
    except ImportError:
        return "none"
    if build != GUIDED:
        say(f"!!! sabio's build is {build}, not {GUIDED}: expect lower figures (`make bench` has it)")
    return build


def busy_share(seconds: float) -> float:
    """The share of all cores' time that was used while this process slept."""
    before = _times()
    time.sleep(seconds)
    after = _times()
    used = [new - old for new, old in zip(after, before, strict=True)]
    # The fourth and fifth columns are time without work: idle, and idle while waiting for a disk.
    return 1 - (used[3] + used[4]) / max(sum(used), 1)


def _times() -> list[int]:
    line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    return [int(field) for field in line.split()[1:9]]


def _congestion_control() -> str:
    """What paces data over TCP: rows with much data depend on it, on loopback too."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
