"""Making sabio the asyncio of the process: `install` and `uninstall`.

Two things are changed: the event loop policy, through which asyncio makes its loops, and the names of the asyncio
package and its modules that sabio has native objects for (`_places`); legacy mode changes more of them (`_legacy`).
On 3.14 the package's `__getattr__` makes way besides, for what it costs all other names (`_deferred`).
Invariant: `uninstall` leaves the process as `install` found it, but never takes away what somebody else has put there
since.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from sabio._deferred import Deferred
from sabio._places import NATIVE
from sabio._policy import EventLoopPolicy, current_policy, set_policy
from sabio._replacement import Replacements
from sabio._selector_loop import stand_in


class _Installed:
    """What was installed, in the order in which it was."""

    def __init__(self) -> None:
        self.is_legacy = False
        self._policy: EventLoopPolicy | None = None
        self._policies: list[tuple[object, EventLoopPolicy]] = []
        self._names = [_put_native_names()]
        self._deferred = Deferred(asyncio)

    def has_policy(self) -> bool:
        return self._policy is not None and current_policy() is self._policy

    def set_policy(self, policy: EventLoopPolicy) -> None:
        # None stood there if nobody has asked for a loop: asyncio then makes its default policy when it needs it.
        self._policies.append((current_policy(), policy))
        self._policy = policy
        set_policy(policy)

    def put_legacy(self) -> None:
        from sabio import _legacy  # What few programs need is not imported for all.

        self.is_legacy = True
        self.set_policy(_legacy.LegacyEventLoopPolicy())
        self._names.append(_legacy.put_names())

    def renew_policy(self) -> None:
        if self.is_legacy:
            from sabio import _legacy

            self.set_policy(_legacy.LegacyEventLoopPolicy())
        else:
            self.set_policy(EventLoopPolicy())

    def undo(self) -> None:
        self._deferred.undo()
        for names in reversed(self._names):
            names.undo()
        for replaced, policy in reversed(self._policies):
            if current_policy() is policy:
                set_policy(replaced)  # type: ignore[arg-type]


_lock = threading.Lock()
_installed: _Installed | None = None


def install(*, legacy: bool = False) -> None:
    """Let every event loop that asyncio makes from now on be a `sabio.Loop`, and asyncio's names the native objects.

    `asyncio.run`, `asyncio.Runner`, `asyncio.new_event_loop` and `asyncio.get_event_loop` then use sabio's loops, in
    any thread and however they were imported; `asyncio.SelectorEventLoop()` is one, too, unless it is given a selector.
    The names that sabio has native objects for stand for these, in the
    `asyncio` package and in its modules; a name that was taken with `from asyncio import ...` before stays what it
    was, and so do loops and other objects that exist already. Both kinds work together.

    `legacy` brings back what asyncio has lost since Python 3.4: generators as coroutines, `asyncio.coroutine`, `loop`
    arguments, coroutines for `asyncio.wait`, loops by `asyncio.get_event_loop()`, and old names. Each gives one
    DeprecationWarning, when it is first used.

    May be called at any time, also while a loop runs, and in any thread. Calling it again changes nothing, unless
    another policy was set in between: sabio's then takes its place. `legacy` can be added by a later call; only
    `uninstall` takes it away.
    """
    global _installed
    with _lock:
        if _installed is None:
            _installed = _Installed()
        if legacy and not _installed.is_legacy:
            _installed.put_legacy()
        elif not _installed.has_policy():
            _installed.renew_policy()


def uninstall() -> None:
    """Put back what `install` replaced; without a call of `install` before it does nothing.

    A policy that somebody else has set since then stays, and so does what somebody else has put into asyncio. Loops
    and other objects that exist already stay what they are.
    """
    global _installed
    with _lock:
        if _installed is not None:
            _installed.undo()
            _installed = None


def options() -> dict[str, bool] | None:
    """What `install` was called with; None while sabio is not installed."""
    with _lock:
        return None if _installed is None else {"legacy": _installed.is_legacy}


def _put_native_names() -> Replacements:
    done = Replacements()
    for module, natives in NATIVE.items():
        for name, native in natives.items():
            done.replace(module, name, _always(native))
    done.replace("unix_events", "SelectorEventLoop", stand_in)
    return done


def _always(native: Any) -> Callable[[Any], Any]:
    return lambda _original: native
