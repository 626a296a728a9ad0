"""Programs in a fresh interpreter: what must not share this process' state or must be able to die.

`run_program` gives the code two names, `asyncio` and `new_event_loop`, the second being the loop
under test, so that one program serves both halves of a differential test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

PREAMBLES = {
    "asyncio": "import asyncio\nnew_event_loop = asyncio.SelectorEventLoop\n",
    "sabio": "import asyncio\nimport sabio\nnew_event_loop = sabio.new_event_loop\n",
}

#: For programs that fork, as indented as they are: a function runs in a child, which says how that ended.
IN_CHILD = """
    def in_child(function):
        "Run function in a forked child and give its exit status; an exception is 1."
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

#: What debug mode says of a machine that is busy.
SLOW_CALLBACK = re.compile(r"^Executing .* took [\d.]+ seconds\n", re.MULTILINE)

EMPTY: Mapping[str, str] = MappingProxyType({})
REPOSITORY = Path(__file__).resolve().parents[2]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process without what would change an interpreter's behaviour.

    The search path stays, or programs might import another sabio than the one under test.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    if path := os.environ.get("PYTHONPATH"):
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return env | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(extra)


def run_python(
    *args: str,
    stdin: str | None = None,
    cwd: Path | None = None,
    timeout: float = 25.0,
    env: Mapping[str, str] = EMPTY,
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with `args` and wait at most `timeout` seconds."""
    return subprocess.run(
        [sys.executable, *args],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        cwd=cwd or REPOSITORY,
        env=environment(env),
        timeout=timeout,
        check=False,
    )


def lines(code: str, *options: str) -> list[str]:
    """The lines that `code` prints, which knows no loop under test; it must end well and write no complaint."""
    done = run_python(*options, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def complaints(done: subprocess.CompletedProcess[str]) -> str:
    """What a program has written to standard error, but for what is the machine's fault."""
    return SLOW_CALLBACK.sub("", done.stderr)


def program(loop_name: str, code: str) -> str:
    """The source of a program that finds the loop under test as `new_event_loop`."""
    return PREAMBLES[loop_name] + textwrap.dedent(code)


def run_program(
    loop_name: str, code: str, *options: str, timeout: float = 25.0, env: Mapping[str, str] = EMPTY
) -> subprocess.CompletedProcess[str]:
    """Run `code` on the loop under test in a fresh interpreter started with `options`."""
    return run_python(*options, "-c", program(loop_name, code), timeout=timeout, env=env)


def output_of(loop_name: str, code: str, *options: str, env: Mapping[str, str] = EMPTY) -> list[str]:
    """The lines that `code` prints; a program that fails fails the test with its traceback."""
    done = run_program(loop_name, code, *options, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
