"""Names of modules that were given other values, so that they can be given back.

Invariant: `undo` leaves every namespace as it was found, in the same order, but never takes away what somebody else
has put there since.
"""

from __future__ import annotations

from typing import Any

_MISSING = object()


class Replacements:
    """What was put into namespaces, and what stood there before."""

    def __init__(self) -> None:
        self._done: list[tuple[dict[str, Any], str, Any, Any]] = []

    def put(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        """Let `name` mean `value` in the namespace, whether or not it meant anything before."""
        self._done.append((namespace, name, namespace.get(name, _MISSING), value))
        namespace[name] = value

    def undo(self) -> None:
        """Put back what was there, the last replacement first. A second call does nothing."""
        while self._done:
            namespace, name, before, value = self._done.pop()
            if namespace.get(name, _MISSING) is not value:
                continue
            if before is _MISSING:
                del namespace[name]
            else:
                namespace[name] = before
