"""Child watchers, which Python 3.14 has removed: programs attached their loop to one to hear of subprocesses' ends.

Loops find out by themselves now, so there is nothing to attach; whoever watches a child of its own is served by a
thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

from sabio._legacy._warning import warn_once


class ChildWatcher:
    """What programs called of a child watcher (Python 3.13: Process watchers)."""

    def __init__(self, *_args: Any) -> None:
        _warn()

    def attach_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Nothing to do: every loop hears of its own subprocesses."""

    def add_child_handler(self, pid: int, callback: Callable[..., object], *args: Any) -> None:
        """Wait for the child in a thread and call `callback(pid, returncode, *args)` there, where it is safe to."""
        threading.Thread(target=_wait_for_child, args=(pid, callback, args), daemon=True).start()

    def remove_child_handler(self, pid: int) -> bool:
        """False: who waits for a child goes on."""
        return False

    def is_active(self) -> bool:
        """Always true."""
        return True

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> ChildWatcher:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass


def watcher_names() -> dict[str, Any]:
    """The names that had to do with watchers, as they stood in the package."""
    watchers = ("Abstract", "Safe", "Fast", "MultiLoop", "Threaded", "Pidfd")
    return {
        **{f"{kind}ChildWatcher": ChildWatcher for kind in watchers},
        "get_child_watcher": _get_child_watcher,
        "set_child_watcher": _set_child_watcher,
    }


def _get_child_watcher() -> ChildWatcher:
    return ChildWatcher()


def _set_child_watcher(watcher: Any) -> None:
    _warn()


def _warn() -> None:
    warn_once("asyncio's child watchers went with Python 3.14", "leave them out")


def _wait_for_child(pid: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        # Somebody else has waited for it: asyncio's watchers said 255 then.
        callback(pid, 255, *args)
    else:
        callback(pid, os.waitstatus_to_exitcode(status), *args)
