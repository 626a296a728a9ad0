"""The event loops that are compared, each by the name that tables and options use.

A loop is made by the factory that its own documentation names, with no option set, so that each runs as
its authors ship it. Importing this module imports no loop; `factory` and `installed` do so on demand.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Awaitable, Callable
from typing import cast

Factory = Callable[[], asyncio.AbstractEventLoop]
Sleep = Callable[[float], Awaitable[object]]

OURS = "sabio"

#: Name in tables and options -> module and attribute of the factory. Peers first, in the order of tables.
FACTORIES = {
    "asyncio": ("asyncio", "SelectorEventLoop"),
    "uvloop": ("uvloop", "new_event_loop"),
    "rloop": ("rloop", "new_event_loop"),
    "rsloop": ("rsloop", "new_event_loop"),
    "zuvloop": ("zuvloop", "new_event_loop"),
    OURS: ("sabio", "new_event_loop"),
}

#: Loops with aiofastnet's transports in the place of their own -> the loop below.
WITH_AIOFASTNET = {"asyncio+aiofastnet": "asyncio", "uvloop+aiofastnet": "uvloop"}

#: All that `factory` makes.
NAMES = (*FACTORIES, *WITH_AIOFASTNET)


def is_installed(name: str) -> bool:
    """Whether the package of a loop can be found; it is not imported."""
    if name in WITH_AIOFASTNET:
        return importlib.util.find_spec("aiofastnet") is not None and is_installed(WITH_AIOFASTNET[name])
    module, _ = FACTORIES[name]
    return importlib.util.find_spec(module) is not None


def with_aiofastnet() -> tuple[str, ...]:
    """The loops that run with aiofastnet's transports here."""
    return tuple(name for name in WITH_AIOFASTNET if is_installed(name))


def factory(name: str) -> Factory:
    """The callable that makes a loop. Raises whatever the import of the loop's package raises."""
    if name in WITH_AIOFASTNET:
        patching = importlib.import_module("aiofastnet").loop_factory
        return cast(Factory, patching(factory(WITH_AIOFASTNET[name])))
    module, attribute = FACTORIES[name]
    return cast(Factory, getattr(importlib.import_module(module), attribute))


def install(name: str) -> None:
    """Puts a loop's package's own locks, queues, streams and so on in the place of asyncio's, where it has any."""
    if name == OURS:
        importlib.import_module(OURS).install()


def best_sleep(name: str) -> Sleep:
    """The quickest `sleep` that a loop's own package offers: asyncio's where it has none of its own."""
    module, _ = FACTORIES[WITH_AIOFASTNET.get(name, name)]
    return cast(Sleep, getattr(importlib.import_module(module), "sleep", asyncio.sleep))


def version(name: str) -> str:
    """The version of an installed loop; asyncio's is that of the interpreter."""
    if name == "asyncio":
        return platform.python_version()
    try:
        return importlib.metadata.version(FACTORIES[name][0])
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
