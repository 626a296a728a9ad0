"""The command line of `python -m sabio` itself: usage, errors, and on which loop programs run.

That programs cannot tell the difference from plain `python` is the matter of test_program.py.
"""

import os
import platform
import pty
import subprocess
import sys

import pytest

from tests.support.process import run_python

WHICH_LOOP = """
import asyncio

async def main():
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

print(asyncio.run(main()))
"""

pytestmark = pytest.mark.usefixtures("sabio")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(WHICH_LOOP)
    return path


def cli(*args, **kwargs):
    return run_python("-m", "sabio", *args, **kwargs)


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_way_to_give_a_program(option):
    done = cli(option)
    assert done.returncode == 0
    assert done.stderr == ""
    for way in ("FILE", "-m MODULE", "-c CODE", "ARGS"):
        assert way in done.stdout


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_names_sabio_and_the_interpreter(option, sabio):
    done = cli(option)
    assert done.returncode == 0
    assert sabio.__version__ in done.stdout
    assert platform.python_version() in done.stdout


@pytest.mark.parametrize("option", ["-c", "-m"])
def test_option_without_its_argument_is_an_error(option):
    done = cli(option)
    assert done.returncode == 2
    assert f"argument expected for the {option} option" in done.stderr


def test_unknown_option_is_an_error():
    done = cli("--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


def test_file_that_does_not_exist_is_an_error_and_no_traceback(tmp_path):
    done = cli(str(tmp_path / "missing.py"))
    assert done.returncode == 2
    assert "can't open file" in done.stderr
    assert "Traceback" not in done.stderr


def test_module_that_does_not_exist_is_an_error():
    done = cli("-m", "no_such_module_anywhere")
    assert done.returncode == 1
    assert "No module named no_such_module_anywhere" in done.stderr


# ---------------------------------------------------------------- which loop


def test_file_runs_on_sabio(script):
    assert cli(str(script)).stdout == "sabio\n"


def test_code_runs_on_sabio():
    assert cli("-c", WHICH_LOOP).stdout == "sabio\n"


def test_module_runs_on_sabio(script):
    assert cli("-m", "script", cwd=script.parent).stdout == "sabio\n"


def test_standard_input_runs_on_sabio():
    assert cli("-", stdin=WHICH_LOOP).stdout == "sabio\n"


def test_without_arguments_a_program_that_is_piped_in_runs_on_sabio():
    assert cli(stdin=WHICH_LOOP).stdout == "sabio\n"


@pytest.mark.parametrize("options", [[], ["--legacy"]], ids=["plain", "legacy"])
def test_without_arguments_a_terminal_gets_a_prompt_that_runs_on_sabio(options):
    ours, theirs = pty.openpty()
    settings = {"TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sabio", *options],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, **settings},
    )
    os.close(theirs)

    def read_until(text, times=1):
        said = ""
        while said.count(text) < times:
            said += os.read(ours, 10_000).decode()
        return said

    try:
        # It imports asyncio before it asks, and shows that it does.
        read_until(">>> ", times=2)
        os.write(ours, b"await asyncio.sleep(0, type(asyncio.get_running_loop()).__module__ * 2)\n")
        assert "sabiosabio" in read_until("sabiosabio")
        os.write(ours, b"hasattr(asyncio, 'async'), 1 + 1\n")
        assert f"({bool(options)}, 2)" in read_until(", 2)")
        os.write(ours, b"exit()\n")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_every_way_to_get_a_loop_gives_one_of_sabio():
    code = """
import asyncio, threading

def name(loop):
    loop.close()
    return type(loop).__module__.partition(".")[0]

async def running():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

print(name(asyncio.new_event_loop()))
print(asyncio.run(running()))
with asyncio.Runner() as runner:
    print(runner.run(running()))
results = []
thread = threading.Thread(target=lambda: results.append(asyncio.run(running())))
thread.start()
thread.join()
print(*results)
"""
    assert cli("-c", code).stdout.split() == ["sabio"] * 4


# ---------------------------------------------------------------- how programs end


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(7)", 7),
        ("import sys; sys.exit('message')", 1),
        ("raise ValueError('failed')", 1),
        ("import os; os._exit(9)", 9),
    ],
)
def test_exit_status_is_that_of_the_program(statement, status):
    code = f"import asyncio\nasync def main():\n    {statement}\nasyncio.run(main())"
    assert cli("-c", code).returncode == status


def test_traceback_shows_the_program_and_not_what_started_it(script):
    script.write_text("import asyncio\n\nasync def main():\n    1 / 0\n\nasyncio.run(main())\n")
    done = cli(str(script))
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert f'File "{script}", line 6, in <module>' in done.stderr
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "_program.py" not in done.stderr
    assert "runpy" not in done.stderr


def test_arguments_reach_the_program(script):
    script.write_text("import sys\nprint(sys.argv)\n")
    assert cli(str(script), "-x", "--flag", "value").stdout == f"{[str(script), '-x', '--flag', 'value']}\n"
    assert cli("-c", "import sys; print(sys.argv)", "-m", "x").stdout == "['-c', '-m', 'x']\n"


def test_options_of_the_interpreter_keep_their_meaning():
    done = run_python(
        "-X", "dev", "-W", "error", "-m", "sabio", "-c", "import sys; print(sys.flags.dev_mode)"
    )
    assert done.stdout == "True\n"


def test_program_is_main(script):
    script.write_text("import sys\nprint(__name__, sys.modules['__main__'].__file__ == __file__)\n")
    assert cli(str(script)).stdout == "__main__ True\n"


def test_interpreter_of_the_program_is_this_one():
    assert cli("-c", "import sys; print(sys.executable)").stdout == f"{sys.executable}\n"
