"""The engines of TLS: which there are, and how to force one."""

from __future__ import annotations

import importlib

import pytest

#: By loop; asyncio has one only.
ENGINES = {"asyncio": ["ssl"], "sabio": ["portable", "libssl"]}
VARIABLE = "SABIO_TLS_ENGINE"


def available() -> list[str]:
    """The engines that sabio has on this interpreter."""
    usual, _why = importlib.import_module("sabio._sabio")._tls_engine()
    return ["portable", "libssl"] if usual == "libssl" else ["portable"]


def choose(engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force an engine for the time of a test, which is skipped where there is no such engine."""
    if engine != "ssl":
        if engine not in available():
            pytest.skip(f"no engine {engine} here")
        monkeypatch.setenv(VARIABLE, engine)
    return engine
