"""Checks that the crates below the binding do not depend on PyO3, not even in their tests.

Exits with 1 if one does, naming what it found. Called by `check.py`.
"""

from __future__ import annotations

import subprocess
import sys

from environment import ROOT

PURE_CRATES = ("sabio-sync", "sabio-reactor")


def trespassers(crate: str) -> list[str]:
    """The dependencies of a crate, direct or not, that bring Python in. Raises CalledProcessError."""
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--package", crate, "--target", "all", "--prefix", "none"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return sorted({line for line in tree.stdout.splitlines() if "pyo3" in line})


def main() -> None:
    """Prints what was found for each crate."""
    found = {crate: trespassers(crate) for crate in PURE_CRATES}
    for crate, names in found.items():
        print(f"{crate}: {', '.join(names) or 'ok'}")
    if any(found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
