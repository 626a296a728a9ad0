"""The row of the README that says how uvicorn runs on sabio: taken from there, started, asked and stopped.

Each test asks uvicorn on asyncio the same.
"""

import contextlib
import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from tests.support.process import REPOSITORY, environment

pytest.importorskip("uvicorn", reason="`pip install -r requirements/test.txt` brings it")

APPLICATION = """
import asyncio, os, pathlib

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/echo":
        return await echo(receive, send)
    if scope["path"] == "/held":
        pathlib.Path("entered").touch()
        while not os.path.exists("go on"):
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.001)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    body = f"{scope['path']} {type(loop).__module__} {type(task).__module__} {os.getpid()}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

async def echo(receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
"""


def options_of_the_readme():
    """What follows `uvicorn` in the README's command."""
    (command,) = re.findall(r"`uvicorn (app:app [^`]+)`", (REPOSITORY / "README.md").read_text())
    return shlex.split(command)


@contextlib.contextmanager
def running(options, directory, through=()):
    """Start uvicorn with these options on a free port; gives the process and the address that it announces.

    `through` are arguments of the interpreter in front of `-m uvicorn`.
    """
    command = [
        sys.executable,
        *through,
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


def until(condition, seconds=25):
    """Waits for something that the processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def options(loop_name, tmp_path):
    """The options for a server on the loop under test, with the application at its place."""
    (tmp_path / "app.py").write_text(APPLICATION)
    return options_of_the_readme() if loop_name == "sabio" else ["app:app", "--loop", "asyncio"]


def ask(address, path):
    """What the application says of itself: the path, the modules of loop and task, and the process."""
    with urllib.request.urlopen(f"{address}{path}", timeout=25) as response:
        assert response.status == 200
        said, loop, task, process = response.read().decode().split()
    return said, loop.partition(".")[0], task.partition(".")[0], int(process)


def modules(loop_name):
    return ("sabio", "sabio") if loop_name == "sabio" else ("asyncio", "_asyncio")


def ended(process):
    """Waits for the end; gives the exit status if nothing went wrong."""
    _, said = process.communicate(timeout=25)
    assert "Traceback" not in said
    return process.returncode, "Finished server process" in said


def test_uvicorn_runs_on_the_loop_that_its_option_names(loop_name, options, tmp_path):
    with running(options, tmp_path) as (process, address):
        assert ask(address, "/some/path")[:3] == ("/some/path", *modules(loop_name))
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, True)


@pytest.mark.parametrize("more", [[], ["--loop", "asyncio"]])
def test_uvicorn_without_an_option_runs_on_what_runs_it(loop_name, more, options, tmp_path):
    through = ["-m", "sabio"] if loop_name == "sabio" else []
    with running(["app:app", *more], tmp_path, through) as (process, address):
        assert ask(address, "/")[:3] == ("/", *modules(loop_name))
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, True)


def test_uvicorn_sends_back_what_it_gets(options, tmp_path):
    data = os.urandom(3_000_000)
    with running(options, tmp_path) as (_, address):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=25)
        for body in (data, b"", data[:70_000]):
            # The application sends while it still receives, so somebody has to read meanwhile.
            connection.putrequest("POST", "/echo")
            connection.putheader("content-length", str(len(body)))
            connection.endheaders()
            sender = threading.Thread(target=connection.send, args=(body,))
            sender.start()
            with connection.getresponse() as response:
                assert response.read() == body
            sender.join()
        connection.close()


def test_uvicorn_answers_before_it_ends(loop_name, options, tmp_path):
    said = []
    with running(options, tmp_path) as (process, address):
        asking = threading.Thread(target=lambda: said.append(ask(address, "/held")))
        asking.start()
        until(lambda: (tmp_path / "entered").exists())
        process.send_signal(signal.SIGTERM)
        # It listens no more, and still answers.
        until(lambda: refused(address))
        (tmp_path / "go on").touch()
        asking.join()
        assert said[0][:3] == ("/held", *modules(loop_name))
        assert ended(process) == (-signal.SIGTERM, True)


def refused(address):
    host, port = address.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=25).close()
    except ConnectionRefusedError:
        return True
    return False


def test_uvicorn_runs_on_it_in_every_worker(loop_name, options, tmp_path):
    with running([*options, "--workers", "2"], tmp_path) as (process, address):
        seen = set()
        # The address is announced before a worker listens.
        until(lambda: not refused(address))

        def both():
            *said, worker = ask(address, "/")
            assert said == ["/", *modules(loop_name)]
            seen.add(worker)
            return len(seen) == 2

        until(both)
        assert process.pid not in seen
        process.send_signal(signal.SIGTERM)
        status, _ = ended(process)
    assert status == 0
