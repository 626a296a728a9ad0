"""A program in C that has the interpreter in it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig

import pytest

from tests.support.process import environment

pytestmark = pytest.mark.usefixtures("sabio")

PROGRAM = """
#include <Python.h>
#include <stdio.h>

/* Runs the script so many times, each time in an interpreter that is started anew. */
int main(int count, char **arguments) {
    for (int round = 0; round < atoi(arguments[2]); round++) {
        PyConfig config;
        PyConfig_InitPythonConfig(&config);
        PyConfig_SetBytesString(&config, &config.program_name, arguments[1]);
        PyStatus status = Py_InitializeFromConfig(&config);
        PyConfig_Clear(&config);
        if (PyStatus_Exception(status)) Py_ExitStatusException(status);
        PyRun_SimpleString(arguments[3]);
        if (Py_FinalizeEx() < 0) return 1;
    }
    return 0;
}
"""

SCRIPT = """
import asyncio

async def main():
    return await asyncio.sleep(0, type(asyncio.get_running_loop()).__module__)

try:
    import sabio
except ImportError as error:
    print(error, flush=True)
else:
    print(sabio.run(main()), flush=True)
"""


@pytest.fixture(scope="module")
def embedding(tmp_path_factory):
    """Runs a script in a program that has the interpreter in it."""
    folder = tmp_path_factory.mktemp("embedding")
    (folder / "program.c").write_text(PROGRAM)
    settings = sysconfig.get_config_vars()
    folders = [settings["LIBDIR"], settings["LIBPL"]]
    command = [
        "cc",
        "program.c",
        f"-I{sysconfig.get_path('include')}",
        *(f"-L{folder}" for folder in folders),
        f"-Wl,-rpath,{settings['LIBDIR']}",
        f"-lpython{settings['LDVERSION']}",
        *shlex.split(f"{settings['LINKFORSHARED']} {settings['LIBS']} {settings['SYSLIBS']}"),
        *("-o", "program"),
    ]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=25, check=False)
    if built.returncode != 0:
        pytest.skip(f"this interpreter cannot be embedded: {built.stderr}")

    def run(rounds, script=SCRIPT):
        done = subprocess.run(
            [folder / "program", sys.executable, str(rounds), script],
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
            env=environment({}),
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return run


def test_an_embedded_interpreter_runs_on_sabio(embedding):
    assert embedding(1) == ["sabio"]


def test_an_interpreter_that_was_started_again_is_refused(embedding):
    first, *later = embedding(3)
    assert first == "sabio"
    assert [line.partition(":")[0] for line in later] == [
        "sabio cannot be used in an interpreter that was ended and started again in the same process"
    ] * 2
