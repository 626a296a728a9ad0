"""Starts of processes that fail, in every step: asyncio's exception, no descriptor, no process left behind."""

import asyncio
import errno
import gc
import os
import signal
import subprocess
import threading

import pytest

from tests.support.children import BLOCKED, ProcessRecorder, children, open_files, run_program, run_shell
from tests.support.descriptors import exhaust, exhausted
from tests.support.waiting import turns, until


@pytest.fixture(autouse=True)
def nothing_stays():
    """No process is left behind, and no descriptor."""
    before = children()
    yield
    assert children() <= before


async def test_program_that_does_not_exist():
    before = open_files()
    for program in ("/no/such/program", "no-such-program-anywhere"):
        with pytest.raises(FileNotFoundError):
            await run_program(program)
    assert open_files() == before


async def test_program_that_may_not_be_run(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o600)
    before = open_files()
    for program in (script, tmp_path):
        with pytest.raises(PermissionError):
            await run_program(program)
    assert open_files() == before


async def test_program_of_no_known_format(tmp_path):
    script = tmp_path / "script"
    script.write_bytes(b"\x00\x01\x02\x03")
    script.chmod(0o700)
    with pytest.raises(OSError, match="Exec format error"):
        await run_program(script)


async def test_directory_that_does_not_exist():
    with pytest.raises(FileNotFoundError):
        await run_program("true", cwd="/no/such/directory")


async def test_function_before_the_program_that_fails():
    def fail():
        raise LookupError

    with pytest.raises(subprocess.SubprocessError):
        await run_program("true", preexec_fn=fail)


async def test_factory_that_fails_starts_nothing():
    def fail():
        raise LookupError("no protocol")

    with pytest.raises(LookupError, match="no protocol"):
        await asyncio.get_running_loop().subprocess_exec(fail, *BLOCKED)


async def test_descriptor_that_cannot_be_used():
    with pytest.raises(OSError, match="Bad file descriptor"):
        await run_program("true", stdin=10_000)


@pytest.mark.parametrize("spare", range(13))
async def test_descriptors_run_out_in_each_step(sabio, spare):
    """The start fails with EMFILE or succeeds; what it needed is given back in either case."""
    before = open_files()
    with exhausted(spare):
        try:
            transport, protocol = await run_program("/bin/cat")
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        else:
            transport.close()
            await protocol.ended
    await turns(3)
    assert open_files() == before


def no_thread(self):
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("threads", [True, False], ids=["thread", "no thread"])
async def test_no_descriptor_is_left_to_watch_the_process(sabio, monkeypatch, threads):
    """The process is killed and waited for; without even a thread to do it, at once."""
    before = open_files()
    opened = []
    popen = subprocess.Popen

    def start_and_exhaust(*args, **kwargs):
        process = popen(*args, **kwargs)
        opened.extend(exhaust())
        return process

    monkeypatch.setattr(subprocess, "Popen", start_and_exhaust)
    if not threads:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
    with exhausted(10):
        try:
            with pytest.raises(OSError if threads else RuntimeError, match=r"open files|thread"):
                await run_program("/bin/cat")
        finally:
            for descriptor in opened:
                os.close(descriptor)
    await turns(3)
    assert open_files() == before


async def test_cancelled_start_leaves_nothing(sabio):
    before = open_files()
    for turn in range(3):
        starting = asyncio.ensure_future(run_program(*BLOCKED))
        await turns(turn + 1)
        if starting.done():
            transport, protocol = await starting
            transport.close()
            await protocol.ended
            continue
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await turns(5)
    assert open_files() == before


async def test_transport_of_a_start_that_fails_is_collected(sabio):
    class Deaf:
        """Cannot be told that there is a process."""

    for _ in range(3):
        try:
            await asyncio.get_running_loop().subprocess_exec(Deaf, *BLOCKED)
        except AttributeError:
            continue
        raise AssertionError
    await turns(5)
    gc.collect()
    assert "ProcessTransport" not in {type(thing).__name__ for thing in gc.get_objects()}


def test_loop_that_stops_in_the_middle_of_a_start(sabio, loop, reports):
    starting = loop.create_task(loop.subprocess_exec(ProcessRecorder, *BLOCKED))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(children()) == 1
    transport, protocol = loop.run_until_complete(starting)
    transport.close()
    loop.run_until_complete(protocol.ended)


def test_closed_loop_starts_nothing(loop_factory):
    loop = loop_factory()
    starting = loop.subprocess_exec(ProcessRecorder, *BLOCKED)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(starting)
    starting.close()


async def test_input_that_is_closed_early():
    transport, protocol = await run_shell("exec <&-; read line <&1; exit 3", stdout=None, stderr=None)
    stdin = transport.get_pipe_transport(0)
    while not stdin.is_closing():
        stdin.write(bytes(10_000))
        await asyncio.sleep(0.001)
    await protocol.ended
    lost = [call for call in protocol.calls if call[:2] == ("pipe_connection_lost", 0)]
    assert len(lost) == 1
    assert lost[0][2] is None or isinstance(lost[0][2], BrokenPipeError)
    transport.close()


async def test_grandchild_that_keeps_the_pipes():
    transport, protocol = await run_shell("sleep 30 & echo $!; exit 3", stdin=None, stderr=None)
    pid = int(await protocol.receive(1, 2))
    await until(lambda: transport.get_returncode() is not None)
    assert not protocol.ended.done()
    # The process has ended, its output has not: to close the transport is to close the pipe.
    transport.close()
    await protocol.ended
    os.kill(pid, signal.SIGKILL)
