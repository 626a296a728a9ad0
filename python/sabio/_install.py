"""Making sabio the process's way to get event loops: `install`, `uninstall` and the policy behind them.

asyncio makes its loops through one object, the event loop policy: `asyncio.run`, `asyncio.Runner`,
`asyncio.new_event_loop` and `asyncio.get_event_loop` all ask it, however they were imported. `install` puts sabio's
in its place. Invariant: `uninstall` leaves the process as `install` found it, but never takes away what somebody
else has put there since.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import events, unix_events
from typing import Any

from sabio._sabio import Loop

# Policies are deprecated from 3.14: their public names warn, and the warning is not for the users of sabio.
if sys.version_info >= (3, 14):
    _DefaultPolicy = unix_events._DefaultEventLoopPolicy
    _set_policy = events._set_event_loop_policy
else:
    _DefaultPolicy = asyncio.DefaultEventLoopPolicy
    _set_policy = asyncio.set_event_loop_policy


class EventLoopPolicy(_DefaultPolicy):
    """asyncio's default policy with `sabio.Loop` for the loops it makes (asyncio: Policies)."""

    _loop_factory = Loop


class _Installed:
    """What stood where `install` has put something of its own."""

    def __init__(self) -> None:
        # None as long as nobody has asked for a loop: asyncio then makes its default policy when it needs it.
        self.replaced_policy: Any = _current_policy()
        self.policy = EventLoopPolicy()
        self.replaced_loop_class: Any = getattr(asyncio, "EventLoop", None)
        _set_policy(self.policy)
        if self.replaced_loop_class is not None:
            _set_loop_class(Loop)

    def is_in_place(self) -> bool:
        return _current_policy() is self.policy

    def undo(self) -> None:
        if self.is_in_place():
            _set_policy(self.replaced_policy)
        if self.replaced_loop_class is not None and getattr(asyncio, "EventLoop", None) is Loop:
            _set_loop_class(self.replaced_loop_class)


_lock = threading.Lock()
_installed: _Installed | None = None


def install() -> None:
    """Let every event loop that asyncio makes from now on, in any thread, be a `sabio.Loop`.

    `asyncio.run`, `asyncio.Runner`, `asyncio.new_event_loop` and `asyncio.get_event_loop` then use sabio, and
    `asyncio.EventLoop` (from 3.13) is `sabio.Loop`. Loops that exist or run already stay what they are. Calling it
    again changes nothing, unless another policy was set in between: sabio's then takes its place.
    """
    global _installed
    with _lock:
        if _installed is not None:
            if _installed.is_in_place():
                return
            _installed.undo()
        _installed = _Installed()


def uninstall() -> None:
    """Put back what `install` replaced; without a call of `install` before it does nothing.

    A policy that somebody else has set since then stays. Loops that exist already stay what they are.
    """
    global _installed
    with _lock:
        if _installed is not None:
            _installed.undo()
            _installed = None


def _current_policy() -> Any:
    return vars(events)["_event_loop_policy"]


def _set_loop_class(loop_class: Any) -> None:
    vars(asyncio)["EventLoop"] = loop_class
