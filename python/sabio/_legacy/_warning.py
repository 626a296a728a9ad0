"""The warnings of legacy mode: one for each thing that a program uses, at the line that used it first."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_given: set[str] = set()


def warn_once(gone: str, instead: str) -> None:
    """A DeprecationWarning about what is `gone` and what to use `instead`, unless it was given before.

    It points to the innermost line that belongs neither to asyncio nor to this package.
    """
    if gone in _given:
        return
    _given.add(gone)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inside(frame):
        frame = frame.f_back
    message = f"{gone}; {instead}"
    if frame is None:
        warnings.warn_explicit(message, DeprecationWarning, "sys", 1)
        return
    warnings.warn_explicit(
        message,
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def forget() -> None:
    """Give every warning again."""
    _given.clear()


def _is_inside(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in ("asyncio", "sabio")
