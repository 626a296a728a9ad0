"""Processes that are stopped (SIGSTOP) and go on (SIGCONT): nothing is lost, and time that has passed meanwhile counts.

Linux ends an epoll_wait(2) with EINTR when its process goes on, even if it handles no signal.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.children import BLOCKED
from tests.support.net import HOST, listener
from tests.support.process import environment, program
from tests.support.waiting import until

SECONDS = 20


def state(pid):
    """The state of a process as in proc(5): T for one that is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state(pid) == "T")


def go_on(pid):
    os.kill(pid, signal.SIGCONT)


class Program:
    """A program on the loop under test that is spoken with by lines."""

    def __init__(self, loop_name, code):
        self.process = subprocess.Popen(
            [sys.executable, "-c", program(loop_name, code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment({}),
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.communicate()

    def line(self):
        assert select.select([self.process.stdout], [], [], SECONDS)[0], "it says nothing"
        return self.process.stdout.readline().strip()

    def end(self):
        """What it has printed to its end."""
        output, _ = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0
        return output.splitlines()


SERVER = """
import ssl

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

async def echo(reader, writer):
    while data := await reader.read(100_000):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    loop = asyncio.get_running_loop()
    if {streams}:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
    else:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def exchange(client, data, sent=0, until_blocked=False):
    """Sends and receives at once, to the end or until the peer takes no more; what came, and how much was sent."""
    received = bytearray()
    deadline = time.monotonic() + SECONDS
    while len(received) < len(data) and time.monotonic() < deadline:
        writing = [client] if sent < len(data) else []
        readable, writable, _ = select.select([client], writing, [], 0.1 if until_blocked else 1.0)
        if until_blocked and not readable and not writable:
            break
        if readable and not (chunk := client.recv(1 << 20)):
            break
        if readable:
            received += chunk
        if writable:
            sent += client.send(data[sent : sent + (1 << 20)])
    return bytes(received), sent


@pytest.mark.parametrize("streams", [False, True], ids=["protocol", "streams"])
def test_a_server_that_is_stopped_in_the_middle_of_traffic_answers_everything_later(loop_name, streams):
    data = os.urandom(1 << 20) * 24
    with Program(loop_name, SERVER.format(streams=streams)) as server:
        address = (HOST, int(server.line()))
        with socket.create_connection(address) as client:
            client.setblocking(False)
            received, sent = exchange(client, data[: 1 << 20])
            assert received == data[: 1 << 20]
            stop(server.pid)
            received, sent = exchange(client, data, until_blocked=True)
            assert len(received) < len(data)
            # The kernel accepts connections for it.
            with socket.create_connection(address) as late:
                late.sendall(b"late")
                go_on(server.pid)
                rest, sent = exchange(client, data[len(received) :], sent - len(received))
                assert received + rest == data
                late.settimeout(SECONDS)
                assert late.recv(10) == b"late"


CLIENT = """
import sys

async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", {port})
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    while line := await reader.readline():
        writer.write(line)
    print("end", ticks > 0, flush=True)
    ticking.cancel()
    writer.close()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def test_a_client_that_is_stopped_gets_what_came_meanwhile_and_the_end(loop_name):
    with listener() as server, Program(loop_name, CLIENT.format(port=server.getsockname()[1])) as client:
        server.settimeout(SECONDS)
        peer, _ = server.accept()
        with peer:
            peer.settimeout(SECONDS)
            for _ in range(20):
                peer.sendall(b"one\n")
                assert peer.recv(10) == b"one\n"
                stop(client.pid)
                peer.sendall(b"two\n")
                go_on(client.pid)
                assert peer.recv(10) == b"two\n"
            stop(client.pid)
            peer.sendall(b"three\n" * 1000)
            peer.shutdown(socket.SHUT_WR)
            go_on(client.pid)
            answers = b""
            while chunk := peer.recv(10_000):
                answers += chunk
            assert answers == b"three\n" * 1000
        assert client.end() == ["end True"]


TIMERS = """
import os, sys

async def main():
    loop = asyncio.get_running_loop()
    order, started = [], loop.time()
    for number in range(5):
        loop.call_at(started + 0.05 + number / 1000, order.append, number)
    loop.call_at(started + 60, order.append, "not yet")
    cancelled = loop.call_at(started + 0.06, order.append, "cancelled")
    loop.call_at(started + 0.04, cancelled.cancel)
    reading, writing = os.pipe()
    loop.add_reader(reading, lambda: (order.append(os.read(reading, 1)), loop.remove_reader(reading)))
    print("ready", flush=True)
    # Not before it was stopped, which ends with this line.
    sys.stdin.readline()
    os.write(writing, b"x")
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    print(order)
    try:
        async with asyncio.timeout_at(started + 0.05):
            await asyncio.sleep(60)
    except TimeoutError:
        print("timeout")

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def test_timers_that_were_due_while_the_process_was_stopped_run_once_and_in_order(loop_name):
    with Program(loop_name, TIMERS) as timers:
        assert timers.line() == "ready"
        stop(timers.pid)
        time.sleep(0.2)
        print(file=timers.process.stdin, flush=True)
        go_on(timers.pid)
        assert timers.line() == "[b'x', 0, 1, 2, 3, 4]"
        assert timers.line() == "timeout"


IDLE = """
import sys, time

async def main():
    loop = asyncio.get_running_loop()
    calls = []
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    started = loop.time()
    loop.call_later(0.3, calls.append, "timer")
    used = time.process_time()
    print("waiting", flush=True)
    assert await reader.readline() == b"\\n"
    await asyncio.sleep(max(0, started + 0.31 - loop.time()))
    print(calls, loop.time() - started >= 0.3, flush=True)
    # Neither the stops nor the wait itself have kept it busy.
    print(time.process_time() - used < 0.25)

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def test_stopping_a_loop_that_waits_does_not_end_the_wait(loop_name):
    with Program(loop_name, IDLE) as idle:
        assert idle.line() == "waiting"
        for _ in range(50):
            stop(idle.pid)
            go_on(idle.pid)
        print(file=idle.process.stdin, flush=True)
        assert idle.end() == ["['timer'] True", "True"]


HANDLERS = """
import os, signal

async def main():
    loop = asyncio.get_running_loop()
    heard = []
    gone_on, suspended = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGCONT, gone_on.set)
    loop.add_signal_handler(signal.SIGTSTP, suspended.set)
    print("ready", flush=True)
    await asyncio.wait_for(gone_on.wait(), 20)
    print("gone on", flush=True)
    await asyncio.wait_for(suspended.wait(), 20)
    print("suspended", flush=True)

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def test_signals_of_job_control_can_have_handlers(loop_name):
    with Program(loop_name, HANDLERS) as handlers:
        assert handlers.line() == "ready"
        stop(handlers.pid)
        go_on(handlers.pid)
        assert handlers.line() == "gone on"
        os.kill(handlers.pid, signal.SIGTSTP)
        assert handlers.line() == "suspended"


async def test_a_child_process_that_is_stopped_has_not_ended():
    child = await asyncio.create_subprocess_exec(*BLOCKED, stdin=subprocess.PIPE)
    child.send_signal(signal.SIGSTOP)
    await until(lambda: state(child.pid) == "T")
    waiting = asyncio.ensure_future(child.wait())
    await asyncio.sleep(0.02)
    assert child.returncode is None
    assert not waiting.done()
    child.send_signal(signal.SIGCONT)
    await until(lambda: state(child.pid) != "T")
    await asyncio.sleep(0.02)
    assert child.returncode is None
    child.stdin.close()
    assert await waiting == 0


async def test_a_child_process_that_is_stopped_can_be_killed():
    child = await asyncio.create_subprocess_exec(*BLOCKED, stdin=subprocess.PIPE)
    child.send_signal(signal.SIGSTOP)
    await until(lambda: state(child.pid) == "T")
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    child.stdin.close()
