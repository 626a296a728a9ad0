"""Programs of the system that tests talk to: `openssl`, `curl` and the like."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

import pytest

PATIENCE_SECONDS = 20


def program(name: str) -> str:
    """The path of a program. A test that needs one that is missing is skipped, and says which."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"the program {name} is MISSING: install it to run this test")
    return path


def run(arguments: Sequence[object], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end, with what it reads; for a thread."""
    words = [str(argument) for argument in arguments]
    return subprocess.run(
        words, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_SECONDS
    )
