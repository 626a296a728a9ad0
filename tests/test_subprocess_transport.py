"""`subprocess_exec`, `subprocess_shell` and their transport (asyncio docs, "Running Subprocesses", "Subprocess
Transports" and "Subprocess Protocols").
"""

import asyncio
import contextvars
import gc
import logging
import os
import signal
import subprocess
import sys

import pytest

from tests.support.children import BLOCKED, ProcessRecorder, children, run_program, run_shell
from tests.support.waiting import turns, until


async def test_calls_of_the_protocol_come_in_order():
    transport, protocol = await run_shell("read line; echo out $line; echo err >&2; exit 7")
    assert protocol.transport is transport
    transport.get_pipe_transport(0).write(b"in\n")
    await protocol.ended
    assert bytes(protocol.received[1]) == b"out in\n"
    assert bytes(protocol.received[2]) == b"err\n"
    assert transport.get_returncode() == 7
    calls = protocol.calls
    assert calls[0] == "connection_made"
    assert calls[-1] == ("connection_lost", None)
    for fd in (1, 2):
        assert calls.index(("pipe_data_received", fd)) < calls.index(("pipe_connection_lost", fd, None))
    assert ("pipe_connection_lost", 0, None) in calls
    assert calls.count("process_exited") == 1
    assert len(calls) == 8
    transport.close()


async def test_what_the_transport_is():
    transport, protocol = await run_program(*BLOCKED)
    assert isinstance(transport, asyncio.SubprocessTransport)
    popen = transport.get_extra_info("subprocess")
    assert isinstance(popen, subprocess.Popen)
    assert transport.get_extra_info("pid") is None
    assert transport.get_extra_info("pid", 5) == 5
    assert transport.get_pid() == popen.pid
    assert transport.get_pid() in children()
    assert transport.get_returncode() is None
    assert transport.get_protocol() is protocol
    assert not transport.is_closing()
    assert isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport)
    for fd in (1, 2):
        assert isinstance(transport.get_pipe_transport(fd), asyncio.ReadTransport)
    for fd in (3, -1, "1", None):
        assert transport.get_pipe_transport(fd) is None
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        assert transport.get_pipe_transport(fd).get_extra_info("pipe") is getattr(popen, name)
    transport.close()
    assert transport.is_closing()
    await protocol.ended
    assert transport.get_extra_info("subprocess") is popen
    assert popen.returncode == transport.get_returncode() == -signal.SIGKILL
    assert transport.get_pid() == popen.pid
    assert transport.get_pid() not in children()


async def test_repr_tells_the_state():
    transport, protocol = await run_program(*BLOCKED, stderr=None)
    pid = transport.get_pid()
    text = repr(transport)
    assert f" pid={pid} running stdin=<" in text
    assert " stdout=<" in text
    assert "stderr" not in text
    transport.close()
    assert f" closed pid={pid} running" in repr(transport)
    await protocol.ended
    assert f" closed pid={pid} returncode=-9" in repr(transport)


async def test_streams_are_what_was_asked_for(tmp_path):
    with open(tmp_path / "out", "w+b") as file:
        transport, protocol = await run_shell(
            "cat; echo err >&2", stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        assert all(transport.get_pipe_transport(fd) is None for fd in range(3))
        await protocol.ended
        file.seek(0)
        assert file.read() == b"err\n"
    assert protocol.calls == ["connection_made", "process_exited", ("connection_lost", None)]
    transport.close()


async def test_options_of_popen_are_passed_on(tmp_path):
    code = "import os; print(os.getcwd(), os.environ['NAME'], os.getpgrp() == os.getpid(), os.nice(0))"
    transport, protocol = await run_program(
        sys.executable,
        "-S",
        "-c",
        code,
        cwd=tmp_path,
        env={"NAME": "value"},
        start_new_session=True,
        preexec_fn=lambda: os.nice(3),
        stdin=None,
    )
    await protocol.ended
    assert protocol.received[1].split() == [
        str(tmp_path).encode(),
        b"value",
        b"True",
        b"%d" % (os.nice(0) + 3),
    ]
    transport.close()


async def test_descriptors_can_be_passed():
    reader, writer = os.pipe()
    code = f"import os; os.write({writer}, b'passed')"
    transport, protocol = await run_program(sys.executable, "-S", "-c", code, pass_fds=[writer])
    os.close(writer)
    await protocol.ended
    assert os.read(reader, 100) == b"passed"
    os.close(reader)
    transport.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"bufsize": 4096}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ],
)
async def test_options_that_have_one_value_only(options, message):
    for run in (run_program, run_shell):
        with pytest.raises(ValueError, match=f"^{message}$"):
            await run("true", **options)


async def test_bufsize_is_a_whole_number():
    with pytest.raises(TypeError, match="bufsize must be an integer"):
        await asyncio.get_running_loop().subprocess_exec(ProcessRecorder, "true", bufsize=0.0)


async def test_shell_is_as_the_method_says():
    with pytest.raises(ValueError, match=r"^shell must be False$"):
        await run_program("true", shell=True)
    with pytest.raises(ValueError, match=r"^shell must be True$"):
        await run_shell("true", shell=False)
    for command in (["true"], 5, None):
        with pytest.raises(ValueError, match=r"^cmd must be a string$"):
            await run_shell(command)


async def test_commands_can_be_bytes_and_paths(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho script $1\n")
    script.chmod(0o755)
    for start in (
        run_program(script, b"one"),
        run_program(bytes(script), "one"),
        run_shell(b"echo script one"),
    ):
        transport, protocol = await start
        await protocol.ended
        assert bytes(protocol.received[1]) == b"script one\n"
        transport.close()


async def test_wrong_arguments():
    loop = asyncio.get_running_loop()
    for call in (
        lambda: loop.subprocess_exec(),
        lambda: loop.subprocess_exec(ProcessRecorder),
        lambda: loop.subprocess_shell(ProcessRecorder),
        lambda: loop.subprocess_shell(ProcessRecorder, "true", "more"),
        lambda: loop.subprocess_shell(ProcessRecorder, "true", cmd="true"),
    ):
        with pytest.raises(TypeError):
            await call()
    with pytest.raises(TypeError):
        await loop.subprocess_exec(ProcessRecorder, "true", no_such_option=1)
    with pytest.raises(TypeError):
        await loop.subprocess_exec(ProcessRecorder, 5)


@pytest.mark.parametrize("method", ["terminate", "kill", "send_signal"])
async def test_signals_reach_the_process(method):
    transport, protocol = await run_program(*BLOCKED)
    if method == "send_signal":
        transport.send_signal(signal.SIGHUP)
    else:
        getattr(transport, method)()
    await protocol.ended
    wanted = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL, "send_signal": signal.SIGHUP}[method]
    assert transport.get_returncode() == -wanted
    transport.close()


async def test_signal_that_is_none():
    transport, protocol = await run_program(*BLOCKED)
    with pytest.raises(TypeError):
        transport.send_signal("TERM")
    with pytest.raises(OSError, match="Invalid argument"):
        transport.send_signal(1000)
    transport.send_signal(0)
    transport.close()
    await protocol.ended


async def test_signals_after_the_end():
    transport, protocol = await run_shell("exit 0")
    await protocol.ended
    for send in (transport.terminate, transport.kill, lambda: transport.send_signal(signal.SIGHUP)):
        with pytest.raises(ProcessLookupError):
            send()
    transport.close()


async def test_stopped_process_goes_on():
    transport, protocol = await run_shell("read line; echo done")
    transport.send_signal(signal.SIGSTOP)
    transport.get_pipe_transport(0).write(b"\n")
    await asyncio.sleep(0.05)
    assert transport.get_returncode() is None
    assert not protocol.received[1]
    transport.send_signal(signal.SIGCONT)
    await protocol.ended
    assert transport.get_returncode() == 0
    transport.close()


async def test_closed_twice():
    transport, protocol = await run_program(*BLOCKED)
    transport.close()
    transport.close()
    await protocol.ended
    transport.close()
    await turns(3)
    assert protocol.calls.count(("connection_lost", None)) == 1


async def test_closed_after_the_end_kills_nobody():
    transport, protocol = await run_shell("exit 3")
    await protocol.ended
    transport.close()
    assert transport.get_returncode() == 3


async def test_pipes_can_be_closed_one_by_one():
    transport, protocol = await run_shell("cat; echo more")
    transport.get_pipe_transport(1).close()
    await until(lambda: ("pipe_connection_lost", 1, None) in protocol.calls)
    assert "process_exited" not in protocol.calls
    transport.get_pipe_transport(0).close()
    await protocol.ended
    assert not protocol.received[1]
    transport.close()


async def test_flow_of_stdin_is_told_to_the_protocol():
    class Flowing(ProcessRecorder):
        def pause_writing(self):
            self.calls.append("pause_writing")

        def resume_writing(self):
            self.calls.append("resume_writing")

    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_shell(Flowing, "read line; cat | wc -c", stderr=None)
    stdin = transport.get_pipe_transport(0)
    stdin.write(b"\n" + bytes(500_000))
    assert protocol.calls == ["connection_made", "pause_writing"]
    await until(lambda: "resume_writing" in protocol.calls)
    stdin.write_eof()
    await protocol.ended
    assert int(protocol.received[1]) == 500_000
    transport.close()


async def test_protocol_can_be_replaced():
    transport, first = await run_shell("read line; echo out; exit 2")
    second = ProcessRecorder()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    transport.get_pipe_transport(0).close()
    await second.ended
    assert first.calls == ["connection_made"]
    assert bytes(second.received[1]) == b"out\n"
    transport.close()


@pytest.mark.asyncio_lacks("may wait for ever for the process that it has killed", run=False)
async def test_protocol_that_can_not_be_told_of_the_process():
    class Deaf:
        def pipe_connection_lost(self, fd, exc):
            pass

        def process_exited(self):
            pass

        def connection_lost(self, exc):
            pass

    with pytest.raises(AttributeError, match="'Deaf' object has no attribute 'connection_made'"):
        await asyncio.get_running_loop().subprocess_exec(Deaf, "sleep", "60")


async def test_exceptions_of_the_protocol_are_reported_and_everything_goes_on():
    class Failing(ProcessRecorder):
        def fail(self, name, *args):
            getattr(ProcessRecorder, name)(self, *args)
            raise ValueError(name)

        def connection_made(self, transport):
            self.fail("connection_made", transport)

        def pipe_data_received(self, fd, data):
            self.fail("pipe_data_received", fd, data)

        def pipe_connection_lost(self, fd, exc):
            self.fail("pipe_connection_lost", fd, exc)

        def process_exited(self):
            self.fail("process_exited")

        def connection_lost(self, exc):
            self.fail("connection_lost", exc)

    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    transport, protocol = await loop.subprocess_shell(Failing, "echo out", stdin=None, stderr=None)
    await protocol.ended
    await turns(2)
    assert sorted(str(context["exception"]) for context in contexts) == [
        "connection_lost",
        "connection_made",
        "pipe_connection_lost",
        "pipe_data_received",
        "process_exited",
    ]
    for context in contexts:
        # It names who has failed, whatever called it.
        assert context["message"].startswith("Exception in callback ")
        if str(context["exception"]) != "connection_lost":
            assert f"Failing.{context['exception']}(" in context["message"]
    transport.close()


@pytest.mark.asyncio_lacks("a thread tells of the end, in a context of its own", "<3.12", run=False)
async def test_callbacks_run_in_the_context_of_the_start():
    variable = contextvars.ContextVar("variable", default="outer")
    seen = set()

    class Looking(ProcessRecorder):
        def look(self):
            seen.add(variable.get())

        def connection_made(self, transport):
            self.look()

        def pipe_data_received(self, fd, data):
            self.look()

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self.look()

    variable.set("inner")
    transport, protocol = await asyncio.get_running_loop().subprocess_shell(Looking, "read line; echo out")
    variable.set("later")
    transport.get_pipe_transport(0).close()
    await protocol.ended
    assert "inner" in seen
    assert "outer" not in seen
    transport.close()


@pytest.mark.debug_mode
async def test_debug_mode_logs(caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    transport, protocol = await run_program(
        "sh", "-c", "exit 5", stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    await protocol.ended
    transport.close()
    transport, protocol = await run_shell("exec sleep 100")
    transport.close()
    await protocol.ended
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "execute program 'sh' stdin=-3 stdout=stderr=<pipe>"
    assert messages[1].startswith("process 'sh' created: pid ")
    assert any(message.startswith("execute program 'sh': <") for message in messages)
    assert any(message.endswith(" exited with return code 5") for message in messages)
    assert "run shell command 'exec sleep 100' stdin=<pipe> stdout=<pipe> stderr=<pipe>" in messages
    assert any(message.startswith("Close running child process: kill <") for message in messages)


def test_forgotten_transport_warns_and_kills(sabio, loop_factory, reports):
    loop = loop_factory()

    async def forget():
        transport, _ = await run_program(*BLOCKED, stdin=None, stdout=None, stderr=None)
        return transport.get_extra_info("subprocess")

    popen = loop.run_until_complete(forget())
    loop.close()
    del loop
    with pytest.warns(ResourceWarning, match="unclosed transport <"):
        gc.collect()
    assert popen.wait(10) == -signal.SIGKILL
    reports.take_unraisable()


async def test_replaced_methods_of_the_loop_connect_the_pipes(sabio):
    loop = asyncio.get_running_loop()
    connected = []
    read, write = loop.connect_read_pipe, loop.connect_write_pipe

    async def connect_read_pipe(factory, pipe):
        connected.append("read")
        await asyncio.sleep(0.01)
        return await read(factory, pipe)

    async def connect_write_pipe(factory, pipe):
        connected.append("write")
        return await write(factory, pipe)

    loop.connect_read_pipe = connect_read_pipe
    loop.connect_write_pipe = connect_write_pipe
    transport, protocol = await run_shell("echo out; exit 4")
    await protocol.ended
    assert connected == ["write", "read", "read"]
    assert protocol.calls[0] == "connection_made"
    assert bytes(protocol.received[1]) == b"out\n"
    assert transport.get_returncode() == 4
    transport.close()


async def test_any_object_may_be_asked_for_as_a_pipe_that_can_be_a_key():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(
        asyncio.SubprocessProtocol, "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
    )
    assert transport.get_pipe_transport(True) is transport.get_pipe_transport(1.0) is not None
    for other in (2, -1, 1 << 70, "0", None, 0.5, float("nan"), (), object()):
        assert transport.get_pipe_transport(other) is None
    for unhashable in ([], {}, bytearray()):
        with pytest.raises(TypeError, match="unhashable type"):
            transport.get_pipe_transport(unhashable)
    transport.close()
    await transport._wait()
    await turns(3)


@pytest.mark.parametrize("number", [1 << 31, 1 << 70, "9", 9.0, None])
async def test_what_is_no_signal_is_refused_as_by_kill(number):
    transport, protocol = await run_program(*BLOCKED)
    with pytest.raises((OSError, OverflowError, TypeError)) as expected:
        os.kill(os.getpid(), number)
    with pytest.raises(type(expected.value)) as raised:
        transport.send_signal(number)
    assert str(raised.value) == str(expected.value)
    transport.close()
    await protocol.ended
