"""Names of modules that were given other values, so that they can be given back.

Invariant: `undo` leaves every namespace as it was found, in the same order, but never takes away what somebody else
has put there since.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
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

    def replace(self, home: str, name: str, make: Callable[[Any], Any]) -> None:
        """Replace what `name` means in the module `home` of asyncio by what `make` makes of it.

        In all of asyncio, wherever a module has the same object under the same name. If `home` has no such name,
        nothing is done: what this version of asyncio does not have yet is not for programs that are written for it.
        """
        found = vars(importlib.import_module(f"asyncio.{home}"))
        if name not in found:
            return
        original = found[name]
        value = make(original)
        for namespace in list(_namespaces_of_asyncio()):
            if namespace.get(name) is original:
                self.put(namespace, name, value)

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


def _namespaces_of_asyncio() -> Iterator[dict[str, Any]]:
    for name, module in list(sys.modules.items()):
        if module is not None and (name == "asyncio" or name.startswith("asyncio.")):
            yield vars(module)
