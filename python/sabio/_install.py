"""Making sabio the asyncio of the process: `install` and `uninstall`.

Two things are changed: the event loop policy, through which asyncio makes its loops, and the names of the asyncio
package and its modules that sabio has native objects for (`_places`). Invariant: `uninstall` leaves the process as
`install` found it, but never takes away what somebody else has put there since.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from sabio._places import NATIVE
from sabio._policy import EventLoopPolicy, current_policy, set_policy
from sabio._replacement import Replacements


class _Policy:
    """The policy that `install` has set, and the one that it replaced."""

    def __init__(self, policy: EventLoopPolicy) -> None:
        self._replaced = current_policy()
        self._policy = policy
        set_policy(policy)

    def is_in_place(self) -> bool:
        return current_policy() is self._policy

    def undo(self) -> None:
        if self.is_in_place():
            set_policy(self._replaced)


_lock = threading.Lock()
_policy: _Policy | None = None
_names: Replacements | None = None


def install() -> None:
    """Let every event loop that asyncio makes from now on be a `sabio.Loop`, and asyncio's names the native objects.

    `asyncio.run`, `asyncio.Runner`, `asyncio.new_event_loop` and `asyncio.get_event_loop` then use sabio's loops, in
    any thread and however they were imported. The names that sabio has native objects for stand for these, in the
    `asyncio` package and in its modules; a name that was taken with `from asyncio import ...` before stays what it
    was, and so do loops and other objects that exist already. Both kinds work together.

    May be called at any time, also while a loop runs, and in any thread. Calling it again changes nothing, unless
    another policy was set in between: sabio's then takes its place.
    """
    global _policy, _names
    with _lock:
        if _policy is None or not _policy.is_in_place():
            _policy = _Policy(EventLoopPolicy())
        if _names is None:
            _names = _put_native_names()


def uninstall() -> None:
    """Put back what `install` replaced; without a call of `install` before it does nothing.

    A policy that somebody else has set since then stays, and so does what somebody else has put into asyncio. Loops
    and other objects that exist already stay what they are.
    """
    global _policy, _names
    with _lock:
        if _names is not None:
            _names.undo()
        if _policy is not None:
            _policy.undo()
        _policy = _names = None


def _put_native_names() -> Replacements:
    """Replace asyncio's objects wherever a module of asyncio has them under their own name."""
    done = Replacements()
    for home, natives in NATIVE.items():
        for name, native in natives.items():
            found = vars(importlib.import_module(f"asyncio.{home}"))
            # What this version of asyncio does not have yet is not for programs that are written for it.
            if name not in found:
                continue
            original = found[name]
            for namespace in _namespaces():
                if namespace.get(name) is original:
                    done.put(namespace, name, native)
    return done


def _namespaces() -> Iterator[dict[str, Any]]:
    for name, module in list(sys.modules.items()):
        if module is not None and (name == "asyncio" or name.startswith("asyncio.")):
            yield vars(module)
