"""Processes that multiprocessing starts anew run on sabio, too, if the program was started by `python -m sabio`.

With the start methods `spawn` and `forkserver`, the usual one since 3.14, a child is a fresh interpreter, which knows
nothing of how its parent was started. What multiprocessing sends to it is a dict, pickled, which comes before anything
of the program's own is imported there. An entry is added to it that is this file, run, when it is unpickled.

Invariant: nothing is sent while sabio is not installed, and children that fail to find sabio run without it, loudly.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

#: The module whose function makes that dict.
_SPAWN = "multiprocessing.spawn"
#: The name of this file where it is run.
_IN_CHILD = "sabio_in_child"


class _InChild:
    """Installs sabio where it is unpickled."""

    def __init__(self, options: dict[str, bool]) -> None:
        self.options = options

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Not a function of this package: nobody knows yet whether the child finds that.
        return runpy.run_path, (__file__, {"options": self.options}, _IN_CHILD)


def _change(spawn: ModuleType) -> None:
    original: Callable[[str], dict[str, Any]] = vars(spawn)["get_preparation_data"]

    def get_preparation_data(name: str) -> dict[str, Any]:
        from sabio import _install

        data = original(name)
        options = _install.options()
        if options is not None:
            data["sabio"] = _InChild(options)
        return data

    vars(spawn)["get_preparation_data"] = get_preparation_data


class _Loader(Loader):
    """Runs the module as its own loader does, and changes it then."""

    def __init__(self, loader: Loader, finder: MetaPathFinder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        module.__loader__ = self._loader
        if spec is not None:
            spec.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
            _change(module)


class _Finder(MetaPathFinder):
    """Waits for the module to be imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _SPAWN:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


def follow() -> None:
    """From now on children that are started anew get sabio as it is installed when they are started."""
    spawn = sys.modules.get(_SPAWN)
    if spawn is not None:
        _change(spawn)
    else:
        sys.meta_path.insert(0, _Finder())


def _install_here(options: dict[str, bool]) -> None:
    """In the child. multiprocessing sets its search path later, so sabio may have to be looked for beside this file."""
    root = os.path.dirname(os.path.dirname(__file__))
    sys.path.append(root)
    try:
        import sabio

        sabio.install(**options)
    except Exception as error:
        print(f"sabio: this process of multiprocessing runs on asyncio: {error}", file=sys.stderr)
    finally:
        sys.path.remove(root)


if __name__ == _IN_CHILD:
    _install_here(globals()["options"])
