"""asyncio's public names for the package `sabio`, so that `import sabio as asyncio` works.

Each name of the running version's asyncio is there: the native object where there is one (`_places`), asyncio's own
otherwise. The modules of asyncio are there as well, as attributes and for `import` statements (`sabio.subprocess`,
`from sabio.exceptions import ...`): those that have native parts as modules of sabio's, the others are asyncio's own.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from sabio._deferred import Deferred
from sabio._places import NATIVE, SABIO_ONLY
from sabio._policy import EventLoopPolicy

_PACKAGE = "sabio"
_WITH_NATIVE_PARTS = NATIVE.keys() | SABIO_ONLY.keys()


def fill(namespace: dict[str, Any]) -> None:
    """Put asyncio's names into the package's namespace, and its modules into `sys.modules`. What is there stays."""
    native = {name: found for module in _WITH_NATIVE_PARTS for name, found in _public_parts(module).items()}
    for name, value in list(vars(asyncio).items()):
        if isinstance(value, ModuleType):
            # That asyncio imports other modules is not part of its interface.
            if value.__name__ == f"asyncio.{name}":
                namespace[name] = sys.modules[f"{_PACKAGE}.{name}"] = _module(name, value)
        elif not name.startswith("__"):
            namespace.setdefault(name, native.get(name, value))
    for name, value in native.items():
        namespace.setdefault(name, value)


def public_names() -> Iterator[str]:
    """The names that `from asyncio import *` brings, and those of native objects that this version does not know."""
    yield from asyncio.__all__
    for module in sorted(_WITH_NATIVE_PARTS):
        yield from (name for name in _public_parts(module) if name not in asyncio.__all__)


def get(name: str) -> Any:
    """A name that asyncio itself only gives when it is asked: from 3.14 on, the classes of policies."""
    if name not in ("AbstractEventLoopPolicy", "DefaultEventLoopPolicy"):
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    message = f"'sabio.{name}' is deprecated and slated for removal in Python 3.16"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    if name == "DefaultEventLoopPolicy":
        return EventLoopPolicy
    return vars(asyncio.events)["_AbstractEventLoopPolicy"]


def defer(package: str) -> None:
    """Spare all other names what `__getattr__` costs them, where there is nothing to be asked for or another way."""
    module = sys.modules[package]
    if sys.version_info >= (3, 14):
        Deferred(module)
    else:
        del vars(module)["__getattr__"]


def _native_parts(module: str) -> dict[str, Any]:
    return {**SABIO_ONLY.get(module, {}), **NATIVE.get(module, {})}


def _public_parts(module: str) -> dict[str, Any]:
    """Those that the package has as well: not what asyncio keeps in the module alone (`subprocess.Process`)."""
    original = vars(vars(asyncio)[module])
    parts = _native_parts(module).items()
    return {name: native for name, native in parts if name not in original or hasattr(asyncio, name)}


def _module(name: str, original: ModuleType) -> ModuleType:
    if name not in _WITH_NATIVE_PARTS:
        return original
    module = ModuleType(f"{_PACKAGE}.{name}", original.__doc__)
    known = vars(original)
    vars(module).update((key, value) for key, value in _native_parts(name).items() if key in known)
    # The rest is looked up when it is asked for, private names included.
    rest: Callable[[str], Any] = original.__getattribute__
    vars(module)["__getattr__"] = rest
    vars(module)["__dir__"] = original.__dir__
    vars(module)["__all__"] = known.get("__all__", ())
    return module
