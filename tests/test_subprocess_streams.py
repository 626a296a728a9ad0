"""`create_subprocess_exec`, `create_subprocess_shell` and `Process` (asyncio docs, "Subprocesses"): asyncio's own over
each loop, and sabio's over each loop.
"""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import weakref

import pytest

from tests.support.children import BLOCKED, children
from tests.support.combinations import everywhere, natively
from tests.support.waiting import turns, until

ECHO = (
    sys.executable,
    "-S",
    "-c",
    "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.exit(7)",
)


@everywhere
async def test_communicate(module):
    process = await module.create_subprocess_exec(*ECHO, stdin=-1, stdout=-1)
    assert await process.communicate(b"data") == (b"data", None)
    assert process.returncode == 7


@everywhere
async def test_communicate_takes_more_than_fits_into_pipes(module):
    code = (
        "import sys; data = sys.stdin.buffer.read();"
        "sys.stderr.buffer.write(data[::-1]); sys.stdout.buffer.write(data)"
    )
    process = await module.create_subprocess_exec(
        sys.executable, "-S", "-c", code, stdin=-1, stdout=-1, stderr=-1
    )
    data = os.urandom(1_000_000)
    assert await process.communicate(data) == (data, data[::-1])
    assert process.returncode == 0


@everywhere
async def test_communicate_without_streams(module):
    process = await module.create_subprocess_shell("exit 3")
    assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
    assert await process.communicate() == (None, None)
    assert process.returncode == 3


@everywhere
async def test_communicate_with_what_reads_no_input(module):
    for size in (10, 1_000_000):
        process = await module.create_subprocess_shell("exec <&-; echo out", stdin=-1, stdout=-1)
        assert await process.communicate(bytes(size)) == (b"out\n", None)


@everywhere
async def test_communicate_without_input_for_what_does_not_read(module):
    process = await module.create_subprocess_shell("echo out", stdin=-1, stdout=-1)
    assert await process.communicate() == (b"out\n", None)


@everywhere
async def test_communicate_with_wrong_input(module):
    process = await module.create_subprocess_exec(*ECHO, stdin=-1, stdout=-1)
    with pytest.raises(AssertionError):
        await process.communicate("text")
    process.stdin.close()
    assert await process.wait() == 7


@everywhere
async def test_cancelled_communicate_leaves_the_process_alone(module):
    process = await module.create_subprocess_shell("echo first; sleep 100", stdin=None, stdout=-1)
    communicating = asyncio.create_task(process.communicate())
    await asyncio.sleep(0.02)
    communicating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await communicating
    assert process.returncode is None
    process._transport.close()
    assert await process.wait() == -signal.SIGKILL


@everywhere
async def test_lines_both_ways(module):
    code = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    process = await module.create_subprocess_exec(sys.executable, "-S", "-c", code, stdin=-1, stdout=-1)
    for word in (b"one\n", b"two\n", b"three\n"):
        process.stdin.write(word)
        await process.stdin.drain()
        assert await process.stdout.readline() == word.upper()
    process.stdin.close()
    await process.stdin.wait_closed()
    assert await process.stdout.read() == b""
    assert await process.wait() == 0


@everywhere
async def test_limit_of_a_line(module):
    process = await module.create_subprocess_shell("printf %0200d 0; echo; echo next", stdout=-1, limit=100)
    with pytest.raises(ValueError, match="limit"):
        await process.stdout.readline()
    assert (await process.stdout.read()).endswith(b"next\n")
    await process.wait()


@everywhere
async def test_much_output_waits_until_it_is_read(module):
    process = await module.create_subprocess_shell(
        "head -c 3000000 /dev/zero; echo end >&2", stdout=-1, stderr=-1
    )
    pipe = process._transport.get_pipe_transport(1)
    await until(lambda: not pipe.is_reading())
    assert process.returncode is None
    assert len(await process.stdout.readexactly(3_000_000)) == 3_000_000
    assert await process.stderr.readline() == b"end\n"
    assert await process.wait() == 0


@everywhere
async def test_drain_waits_for_the_reader(module):
    process = await module.create_subprocess_shell("sleep 0.05; wc -c", stdin=-1, stdout=-1)
    process.stdin.write(bytes(1_000_000))
    draining = asyncio.ensure_future(process.stdin.drain())
    await turns(3)
    assert not draining.done()
    await draining
    process.stdin.write_eof()
    assert int(await process.stdout.read()) == 1_000_000
    assert await process.wait() == 0


@everywhere
async def test_input_that_is_no_longer_read(module):
    process = await module.create_subprocess_shell("exec <&-; echo; exec sleep 100", stdin=-1, stdout=-1)
    await process.stdout.readline()

    async def write_on():
        while True:
            process.stdin.write(bytes(100_000))
            await process.stdin.drain()

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await write_on()
    process.kill()
    await process.wait()
    await process.stdout.read()


@everywhere
async def test_wait_from_many_tasks(module):
    process = await module.create_subprocess_exec(*BLOCKED, stdin=-1)
    waiting = [asyncio.ensure_future(process.wait()) for _ in range(3)]
    await turns(2)
    process.terminate()
    assert await asyncio.gather(*waiting) == [-signal.SIGTERM] * 3
    assert await process.wait() == -signal.SIGTERM


@everywhere
async def test_wait_can_be_cancelled(module):
    process = await module.create_subprocess_exec(*BLOCKED, stdin=-1)
    waiting = asyncio.ensure_future(process.wait())
    await turns(3)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    process.send_signal(signal.SIGHUP)
    assert await process.wait() == -signal.SIGHUP


@everywhere
async def test_signal_after_the_end(module):
    process = await module.create_subprocess_shell("exit 0")
    await process.wait()
    await turns(5)
    for send in (process.kill, process.terminate, lambda: process.send_signal(signal.SIGHUP)):
        with pytest.raises(ProcessLookupError):
            send()


@everywhere
async def test_what_a_process_is(module):
    process = await module.create_subprocess_exec(*BLOCKED, stdin=-1, stdout=-1, stderr=subprocess.STDOUT)
    assert isinstance(process, asyncio.subprocess.Process)
    assert isinstance(process._protocol, asyncio.subprocess.SubprocessStreamProtocol)
    assert isinstance(process._protocol, asyncio.SubprocessProtocol)
    assert isinstance(process.stdin, module.StreamWriter)
    assert isinstance(process.stdout, module.StreamReader)
    assert process.stderr is None
    assert repr(process) == f"<Process {process.pid}>"
    assert process.pid in children()
    assert process.returncode is None
    assert repr(process._protocol).startswith("<SubprocessStreamProtocol stdin=<StreamWriter")
    process.stdin.close()
    assert await process.wait() == 0
    assert process.pid not in children()
    await process.stdout.read()


@everywhere
async def test_wrong_arguments(module):
    with pytest.raises(TypeError):
        await module.create_subprocess_exec()
    with pytest.raises(TypeError):
        await module.create_subprocess_shell()
    with pytest.raises(ValueError, match="universal_newlines must be False"):
        await module.create_subprocess_shell("true", universal_newlines=True)
    with pytest.raises(ValueError, match="cmd must be a string"):
        await module.create_subprocess_shell(["true"])
    with pytest.raises(FileNotFoundError):
        await module.create_subprocess_exec("/no/such/program")


@everywhere
async def test_many_at_once(module):
    async def run(number):
        process = await module.create_subprocess_shell(f"cat; echo {number}", stdin=-1, stdout=-1)
        return await process.communicate(b"%d-" % number)

    found = await asyncio.gather(*(run(number) for number in range(20)))
    assert found == [(b"%d-%d\n" % (number, number), None) for number in range(20)]


@natively
async def test_limit_must_be_positive(module):
    with pytest.raises(ValueError, match="Limit cannot be <= 0"):
        await module.create_subprocess_exec("true", limit=0)


async def test_output_goes_past_the_protocol(sabio):
    """Data is put into the reader without a call, unless somebody has overridden something."""
    process = await sabio.create_subprocess_shell("read line; echo out", stdin=-1, stdout=-1)
    calls = []

    class Counting(sabio.subprocess.SubprocessStreamProtocol):
        def pipe_data_received(self, fd, data):
            calls.append((fd, data))
            super().pipe_data_received(fd, data)

    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_shell(
        lambda: Counting(limit=1024, loop=loop), "echo counted", stdin=None, stderr=None
    )
    counted = sabio.subprocess.Process(transport, protocol, loop)
    assert await counted.communicate() == (b"counted\n", None)
    assert calls == [(1, b"counted\n")]
    assert await process.communicate(b"\n") == (b"out\n", None)


async def test_reader_that_is_put_in_the_place_of_another(sabio):
    process = await sabio.create_subprocess_shell("read line; echo out", stdin=-1, stdout=-1)
    other = asyncio.StreamReader()
    process._protocol.stdout = other
    process.stdin.write(b"\n")
    assert await other.readline() == b"out\n"
    await process.wait()


async def test_native_names_of_the_module(sabio):
    assert issubclass(sabio.subprocess.Process, asyncio.subprocess.Process)
    assert sabio.subprocess.create_subprocess_exec is sabio.create_subprocess_exec
    assert sabio.subprocess.PIPE == subprocess.PIPE
    assert not hasattr(sabio, "Process")
    assert not hasattr(sabio, "SubprocessStreamProtocol")


@pytest.mark.debug_mode
async def test_debug_mode_of_communicate(sabio, caplog):
    caplog.set_level("DEBUG", "asyncio")
    process = await sabio.create_subprocess_exec(*ECHO, stdin=-1, stdout=-1)
    assert await process.communicate(b"data") == (b"data", None)
    assert f"{process!r} communicate: feed stdin (4 bytes)" in caplog.text


def test_process_that_is_forgotten_can_be_collected(sabio):
    references = []

    async def main():
        process = await sabio.create_subprocess_exec(*ECHO, stdin=-1, stdout=-1)
        await process.communicate(b"data")
        references.extend(weakref.ref(thing) for thing in (process, process._transport, process.stdout))

    sabio.run(main())
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_install_puts_them_into_asyncio(sabio):
    before = asyncio.create_subprocess_exec
    sabio.install()
    try:
        assert asyncio.create_subprocess_exec is asyncio.subprocess.create_subprocess_exec
        assert asyncio.create_subprocess_exec is sabio.create_subprocess_exec
        assert asyncio.subprocess.Process is sabio.subprocess.Process
        assert asyncio.subprocess.SubprocessStreamProtocol is sabio.subprocess.SubprocessStreamProtocol
    finally:
        sabio.uninstall()
    assert asyncio.create_subprocess_exec is before
