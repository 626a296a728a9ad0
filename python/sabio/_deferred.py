"""Names that a module gives only when it is asked, without a `__getattr__` in the module.

asyncio of 3.14 has a `__getattr__` for two old names, and so has this package. The interpreter of 3.14 remembers where
a name of a module lies only if the module has none: `asyncio.sleep` in a loop costs 200 instructions more with it, an
eighth of all that `await asyncio.sleep(0)` costs. It does remember for a module of another class, so that the names
can be attributes of the class. 3.15 remembers in any case, and interpreters before 3.14 for no module of another class.

Called when the package is imported, and by `install`. Invariant: who uses the module sees the same names, values,
warnings and errors as with the `__getattr__`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from operator import methodcaller
from types import FunctionType, ModuleType
from typing import Any

_HELPS = sys.version_info[:2] == (3, 14)
#: A `__getattr__` in which these are not found is not understood, and stays.
_KNOWN = {"AbstractEventLoopPolicy", "DefaultEventLoopPolicy"}


class Deferred:
    """What was made of a module's `__getattr__`, to be undone."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._class: type[ModuleType] | None = None
        function = vars(module).get("__getattr__")
        if not _HELPS or type(module) is not ModuleType or type(function) is not FunctionType:
            return
        # It raises AttributeError for whatever else is among its constants.
        names = set(_identifiers(function.__code__.co_consts)) - vars(module).keys()
        if names >= _KNOWN:
            # The class first: names are missing at no time.
            module.__class__ = self._class = _class_that_gives(names, function)
            del vars(module)["__getattr__"]
            self._function = function

    def undo(self) -> None:
        """Give the module its `__getattr__` back, unless somebody has given it one since, or another class."""
        if type(self._module) is self._class:
            vars(self._module).setdefault("__getattr__", self._function)
            self._module.__class__ = ModuleType


def _identifiers(constants: Iterable[Any]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str) and constant.isidentifier():
            yield constant
        elif isinstance(constant, tuple | frozenset):
            yield from _identifiers(constant)


def _class_that_gives(names: Iterable[str], function: FunctionType) -> type[ModuleType]:
    attributes = {name: _attribute(name) for name in names}
    special = {"_sabio_deferred": staticmethod(function), "__reduce__": _reduce}
    return type("module", (ModuleType,), {**attributes, **special})


def _reduce(module: ModuleType) -> tuple[Any, ...]:
    # Pickles that go by value, as cloudpickle's of a function, name the modules that it uses. For a module they know
    # what to do by its class, for an object of any other class they ask it. Whoever reads the pickle needs no sabio.
    return importlib.import_module, (module.__name__,)


def _attribute(name: str) -> property:
    def put(module: ModuleType, value: Any) -> None:
        delattr(type(module), name)
        vars(module)[name] = value

    # Not a function of Python: a warning goes to the line that asks, which the stack of calls tells.
    return property(methodcaller("_sabio_deferred", name), put)
