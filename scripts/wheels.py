"""Builds a wheel for every supported interpreter of this machine into `dist/` (`make wheels`).

The wheels are stripped and tagged for the oldest C library that the build machine's own allows; maturin checks that
they link to nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import interpreters
from environment import ROOT, Environment, require_tools, target_directory


def main() -> None:
    """Builds the wheels."""
    require_tools()
    builder = Environment(interpreters.default())
    builder.prepare("build", build=False)
    env = interpreters.clean_environment()
    for interpreter in interpreters.find().values():
        env["CARGO_TARGET_DIR"] = str(target_directory() / "python" / interpreter.version)
        command: list[str | Path] = [
            builder.directory / "bin" / "maturin",
            "build",
            "--release",
            "--strip",
            "--locked",
        ]
        command += ["--interpreter", interpreter.path, "--out", ROOT / "dist"]
        if subprocess.run(command, cwd=ROOT, env=env).returncode != 0:
            sys.exit(f"sabio: the wheel for CPython {interpreter.version} could not be built")


if __name__ == "__main__":
    main()
