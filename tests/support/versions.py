"""Which standard library the asyncio half of a test runs on, and where that one differs.

`conftest.py` reads `is_affected` to decide whether the asyncio half of a test marked with
`asyncio_lacks` is expected to fail; tests name the versions through the constants.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from packaging.specifiers import SpecifierSet

Version = tuple[int, ...]

PYTHON: Version = tuple(sys.version_info[:3])

SINCE_3_12 = PYTHON >= (3, 12)
SINCE_3_13 = PYTHON >= (3, 13)
SINCE_3_14 = PYTHON >= (3, 14)
SINCE_3_15 = PYTHON >= (3, 15)


def is_affected(where: str | Sequence[str], python: Version = PYTHON) -> bool:
    """Whether `python` is one of the versions that `where` describes.

    `where` holds version specifiers as in PEP 440 (`"<3.14"`, `"==3.13.0"`), one or several, of
    which any may match; the empty string matches every version.
    """
    specifiers = [where] if isinstance(where, str) else where
    version = ".".join(str(part) for part in python)
    return any(SpecifierSet(one).contains(version, prereleases=True) for one in specifiers)
