"""The project's own scripts, for the tests of them: they lie in a folder of their own and import each other by name."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@contextlib.contextmanager
def imported(modules: Mapping[str, str]) -> Iterator[SimpleNamespace]:
    """Modules of `scripts/`, each under the name that is given with it; forgotten with the block."""
    known = set(sys.modules)
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(module) for name, module in modules.items()})
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SCRIPTS)):
                del sys.modules[name]
