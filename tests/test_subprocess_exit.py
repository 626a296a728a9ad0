"""How the end of a process is seen and its status had: once, and of that process (asyncio docs, "Subprocesses")."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time

import pytest

from tests.support.children import BLOCKED, children, run_program, run_shell
from tests.support.process import output_of
from tests.support.versions import SINCE_3_14


@pytest.mark.parametrize("status", [0, 1, 127, 255])
async def test_status_of_an_exit(status):
    transport, protocol = await run_shell(f"exit {status}")
    await protocol.ended
    assert transport.get_returncode() == status
    assert transport.get_extra_info("subprocess").returncode == status
    transport.close()


async def test_wait_gives_the_status_to_all_who_wait():
    transport, protocol = await run_program(*BLOCKED)
    waiters = [asyncio.create_task(transport._wait()) for _ in range(3)]
    cancelled = asyncio.create_task(transport._wait())
    await asyncio.sleep(0)
    cancelled.cancel()
    transport.terminate()
    assert await asyncio.gather(*waiters) == [-signal.SIGTERM] * 3
    assert await transport._wait() == -signal.SIGTERM
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    transport.close()
    await protocol.ended


@pytest.mark.asyncio_lacks("wait() also waits for the pipes", "<3.14", run=False)
async def test_wait_does_not_wait_for_pipes_that_others_hold():
    transport, protocol = await run_shell("sleep 30 & echo $!; exit 3", stdin=None, stderr=None)
    pid = int(await protocol.receive(1, 2))
    assert await asyncio.wait_for(transport._wait(), 10) == 3
    assert not protocol.ended.done()
    os.kill(pid, signal.SIGKILL)
    await protocol.ended
    transport.close()


async def test_who_waits_goes_on_after_the_protocol_was_told():
    transport, protocol = await run_program("/bin/sleep", "30", stdin=None, stdout=None, stderr=None)
    waiting = asyncio.create_task(transport._wait())
    await asyncio.sleep(0.01)
    transport.terminate()
    assert await waiting == -signal.SIGTERM
    assert protocol.ended.done()
    with pytest.raises(ProcessLookupError):
        transport.terminate()
    transport.close()


async def test_no_thread_and_no_signal_handler(sabio):
    before = threading.active_count(), signal.getsignal(signal.SIGCHLD)
    started = [await run_program(*BLOCKED) for _ in range(5)]
    assert (threading.active_count(), signal.getsignal(signal.SIGCHLD)) == before
    for transport, protocol in started:
        transport.close()
        await protocol.ended
    assert (threading.active_count(), signal.getsignal(signal.SIGCHLD)) == before


async def test_nothing_turns_while_a_process_runs(sabio):
    transport, protocol = await run_program(*BLOCKED)
    before = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - before < 0.1
    transport.close()
    await protocol.ended


async def test_status_that_popen_has_taken(sabio):
    transport, protocol = await run_shell("exit 9")
    # The loop does not run meanwhile.
    assert transport.get_extra_info("subprocess").wait() == 9
    await protocol.ended
    assert transport.get_returncode() == 9
    transport.close()


async def test_status_that_popen_takes_in_a_thread(sabio):
    for _ in range(20):
        transport, protocol = await run_shell("read line; exit 9")
        waiting = asyncio.create_task(asyncio.to_thread(transport.get_extra_info("subprocess").wait))
        await asyncio.sleep(0.005)
        transport.get_pipe_transport(0).close()
        assert await waiting == 9
        await protocol.ended
        assert transport.get_returncode() == 9
        transport.close()


@pytest.mark.asyncio_lacks("a thread waits for the end and is faster", "<3.12", run=False)
async def test_status_that_somebody_else_has_taken(caplog):
    transport, protocol = await run_program(*BLOCKED)
    transport.kill()
    os.waitpid(transport.get_pid(), 0)  # noqa: ASYNC222
    await protocol.ended
    assert transport.get_returncode() == 255
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "255" in caplog.text
    transport.close()


async def test_process_of_somebody_else_is_left_alone():
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 6"], {})  # noqa: ASYNC221
    transport, protocol = await run_shell("exit 9")
    await protocol.ended
    await asyncio.sleep(0.05)
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222
    assert os.waitstatus_to_exitcode(status) == 6
    transport.close()


def test_ignored_sigchld(loop_name):
    code = """
    import logging, signal, subprocess
    logging.disable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=-1)
        process.stdin.close()
        print(await process.wait())

    asyncio.Runner(loop_factory=new_event_loop).run(main())
    """
    assert output_of(loop_name, code) == ["255"]


@pytest.mark.skipif(not SINCE_3_14, reason="the watcher of the policy belongs to the main thread's loop")
def test_loops_of_many_threads(loop_factory):
    results = []

    def work(number):
        async def main():
            transport, protocol = await run_shell(f"read line; exit {number}")
            transport.get_pipe_transport(0).close()
            await protocol.ended
            transport.close()
            return transport.get_returncode()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            results.append(runner.run(main()) == number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_loop_of_another_thread(sabio):
    async def main():
        transport, protocol = await run_shell("exit 3")
        await protocol.ended
        transport.close()
        return transport.get_returncode()

    results = []
    thread = threading.Thread(target=lambda: results.append(sabio.run(main())))
    thread.start()
    thread.join()
    assert results == [3]


#: Has one system call fail in this process and its children, as an old kernel or a policy has it.
WITHOUT_A_CALL = """
    import ctypes, errno, platform, struct
    RETURN_ERRNO, ALLOW = 0x00050000, 0x7FFF0000
    def instruction(code, k, true=0, false=0):
        return struct.pack("HBBI", code, true, false, k)
    program = b"".join([
        instruction(0x20, 0),                      # load the number of the call
        instruction(0x15, {call}, 0, 1),           # equal?
        instruction(0x06, RETURN_ERRNO | {number}),
        instruction(0x06, ALLOW),
    ])
    buffer = ctypes.create_string_buffer(program)
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter):
        print("no filter")
        raise SystemExit
"""

WITHOUT_PIDFD = (
    WITHOUT_A_CALL.replace("{call}", "434")
    + """
    import os
    try:
        os.pidfd_open(os.getpid())
    except OSError as error:
        assert error.errno == {number}
    else:
        raise AssertionError("there is a pidfd")
"""
)


@pytest.mark.parametrize("number", [1, 38], ids=["EPERM", "ENOSYS"])
def test_thread_waits_where_there_is_no_pidfd(sabio, number):
    code = (
        WITHOUT_PIDFD.replace("{number}", str(number))
        + """
    import threading

    async def main():
        process = await asyncio.create_subprocess_exec("sh", "-c", "read line; exit 5", stdin=-1)
        print([thread.name == f"sabio-waitpid-{process.pid}" for thread in threading.enumerate()])
        process.stdin.close()
        print(await process.wait())
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process.kill()
        print(await process.wait())
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process._transport.close()
        print(await process.wait())
        many = await asyncio.gather(*[
            asyncio.create_subprocess_exec("sh", "-c", f"exit {number}") for number in range(20)])
        print(await asyncio.gather(*[process.wait() for process in many]) == list(range(20)))

    asyncio.Runner(loop_factory=new_event_loop).run(main())
    """
    )
    lines = output_of("sabio", code)
    if lines == ["no filter"]:
        pytest.skip("seccomp filters cannot be set here")
    assert lines == ["[False, True]", "5", "-9", "-9", "True"]


@pytest.mark.parametrize("number", [1, 38], ids=["EPERM", "ENOSYS"])
def test_signals_go_by_number_where_none_can_be_sent_by_pidfd(loop_name, number):
    code = (
        WITHOUT_A_CALL.replace("{call}", "424").replace("{number}", str(number))
        + """
    import signal

    async def main():
        for send in ("terminate", "kill"):
            process = await asyncio.create_subprocess_exec("sleep", "100")
            getattr(process, send)()
            print(await process.wait())
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process.send_signal(signal.SIGINT)
        print(await process.wait())

    asyncio.Runner(loop_factory=new_event_loop).run(main())
    """
    )
    lines = output_of(loop_name, code)
    if lines == ["no filter"]:
        pytest.skip("seccomp filters cannot be set here")
    assert lines == ["-15", "-9", "-2"]


@pytest.mark.asyncio_lacks("it loses what ends between a signal and the call of its handler", run=False)
def test_handler_that_takes_the_status_of_every_child_leaves_ours_alone(loop_name):
    # As a process with the number 1 does, for those that its children leave behind.
    code = """
    import os, signal, time

    taken = []

    def take_all():
        try:
            while (taking := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                taken.append(taking)
        except ChildProcessError:
            pass

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, take_all)
        orphan = os.fork()
        if orphan == 0:
            os._exit(100)
        processes = []
        for number in range(20):
            processes.append(await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}"))
            # It ends meanwhile, and the handler is called when the next one has been started.
            time.sleep(0.01)
        print([await process.wait() for process in processes] == list(range(20)))
        await asyncio.sleep(0.01)
        print([os.waitstatus_to_exitcode(status) for _, status in taken])

    asyncio.Runner(loop_factory=new_event_loop).run(main())
    """
    assert output_of(loop_name, code) == ["True", "[100]"]


def test_thread_waits_for_a_process_whose_loop_is_closed(sabio):
    code = (
        WITHOUT_PIDFD.replace("{number}", "38")
        + """
    import os, time, threading, warnings, logging
    warnings.simplefilter("ignore")
    logging.disable()
    loop = new_event_loop()
    process = loop.run_until_complete(loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "0.2"))
    loop.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("nobody is left")
    """
    )
    lines = output_of("sabio", code)
    if lines == ["no filter"]:
        pytest.skip("seccomp filters cannot be set here")
    assert lines == ["nobody is left"]


async def test_process_that_ignores_sigterm_is_killed():
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(100)"
    transport, protocol = await run_program(sys.executable, "-S", "-c", code)
    await protocol.receive(1, 6)
    transport.terminate()
    await asyncio.sleep(0.05)
    assert transport.get_returncode() is None
    transport.close()
    await protocol.ended
    assert transport.get_returncode() == -signal.SIGKILL


async def test_process_that_is_killed_by_somebody_else():
    transport, protocol = await run_program(*BLOCKED)
    os.kill(transport.get_pid(), signal.SIGKILL)
    await protocol.ended
    assert transport.get_returncode() == -signal.SIGKILL
    assert transport.get_pid() not in children()
    transport.close()


def test_child_of_a_fork_leaves_the_process_of_its_parent_alone(sabio):
    code = """
    import os

    async def main():
        process = await asyncio.create_subprocess_exec("sh", "-c", "read line; exit 5", stdin=-1)
        pid = os.fork()
        if pid == 0:
            # Everything of the parent's is let go here, and nothing must come of it.
            os._exit(0)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        process.stdin.close()
        print(os.waitstatus_to_exitcode(status), await process.wait())

    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.Runner(loop_factory=new_event_loop).run(main())
    """
    assert output_of("sabio", code) == ["0 5"]
