"""The row of the README that says how uvicorn runs on sabio: taken from there, started, asked and stopped."""

import contextlib
import re
import shlex
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.support.process import REPOSITORY, environment

pytest.importorskip("uvicorn", reason="`pip install -r requirements/test.txt` brings it")

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await asyncio.sleep(0.001)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    body = f"{scope['path']} {type(loop).__module__} {type(task).__module__}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


def options_of_the_readme():
    """What follows `uvicorn` in the README's command."""
    (command,) = re.findall(r"`uvicorn (app:app [^`]+)`", (REPOSITORY / "README.md").read_text())
    return shlex.split(command)


@contextlib.contextmanager
def running(options, directory):
    """Start uvicorn with these options on a free port; gives the process and the address that it announces."""
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        *options,
        "--port",
        "0",
        "--no-use-colors",
        "--lifespan",
        "off",
    ]
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment({}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            said = ""
            while not (announced := re.search(r"running on (http://[\d.]+:\d+)", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield process, announced[1]
        finally:
            process.kill()


def test_uvicorn_runs_on_the_loop_that_its_option_names(loop_name, tmp_path):
    (tmp_path / "app.py").write_text(APPLICATION)
    options = options_of_the_readme() if loop_name == "sabio" else ["app:app", "--loop", "asyncio"]
    with running(options, tmp_path) as (process, address):
        with urllib.request.urlopen(f"{address}/some/path", timeout=10) as response:
            assert response.status == 200
            path, loop, task = response.read().decode().split()
        assert path == "/some/path"
        assert (loop.partition(".")[0], task.partition(".")[0]) == (
            ("sabio", "sabio") if loop_name == "sabio" else ("asyncio", "_asyncio")
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert "Finished server process" in said
    assert "Traceback" not in said
    assert process.returncode == 0
