"""Programs that end while a loop has work pending: they end as on asyncio, in good order and with the same status.

Nobody closes the loop, so the interpreter tears everything down in an order that it chooses, with debug checks of its
allocator on: memory that is used after it was freed would end the process by a signal.
"""

from __future__ import annotations

import signal

import pytest

from tests.support.process import run_program

PREAMBLE = """
import atexit, os, signal, socket, subprocess, sys, threading, warnings

HOST = "127.0.0.1"

class Quiet(asyncio.Protocol, asyncio.DatagramProtocol):
    "Keeps its transport, and says nothing."
    def connection_made(self, transport):
        self.transport = transport

async def never():
    await asyncio.Event().wait()

loop = new_event_loop()
asyncio.set_event_loop(loop)
"""

TASKS = """
async def cleaning_up():
    try:
        await never()
    finally:
        print("cleaned up")

kept = [loop.create_task(never()) for _ in range(3)]
kept.append(loop.create_task(asyncio.sleep(60)))
kept.append(loop.create_task(cleaning_up()))
loop.run_until_complete(asyncio.sleep(0.001))
"""

FORGOTTEN_TASKS = """
async def start():
    for _ in range(3):
        loop.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)

loop.run_until_complete(start())
"""

TIMERS = """
for number in range(100):
    loop.call_later(60 + number, print, "never")
    loop.call_soon(print, "never")
loop.call_soon_threadsafe(print, "never")
"""

FUTURES = """
failed = loop.create_future()
failed.set_exception(ValueError("never retrieved"))
waiting = loop.create_future()
waiting.add_done_callback(print)

async def fail():
    raise KeyError("neither")

task = loop.create_task(fail())
loop.run_until_complete(asyncio.sleep(0.001))
"""

EXECUTOR = """
release = threading.Event()

def work():
    release.wait(20)
    print("worked", flush=True)

async def start():
    loop.run_in_executor(None, work)
    asyncio.ensure_future(asyncio.to_thread(work))
    await asyncio.sleep(0.01)

loop.run_until_complete(start())
release.set()
"""

TRANSPORTS = """
async def start():
    server = await loop.create_server(Quiet, HOST, 0)
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(Quiet, *address)
    transport.set_write_buffer_limits(1)
    # More than the kernel takes, for a peer that does not read.
    for accepted in range(200):
        await asyncio.sleep(0)
    transport.write(b"x" * 20_000_000)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"y" * 20_000_000)
    draining = asyncio.ensure_future(writer.drain())
    udp, _ = await loop.create_datagram_endpoint(Quiet, local_addr=(HOST, 0))
    udp.sendto(b"datagram", udp.get_extra_info("sockname"))
    reading, writing = os.pipe()
    pipe, _ = await loop.connect_read_pipe(Quiet, open(reading, "rb", 0))
    write_pipe, _ = await loop.connect_write_pipe(Quiet, open(writing, "wb", 0))
    write_pipe.write(b"z" * 1_000_000)
    near, far = socket.socketpair()
    loop.add_reader(near, print)
    near.setblocking(False)
    receiving = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    return locals()

kept = loop.run_until_complete(start())
"""

EXIT_IN_A_TASK = """
async def leave():
    loop.call_soon(print, "as far as this turn")
    kept.append(loop.create_task(never()))
    await asyncio.sleep(0)
    loop.call_soon(print, "never")
    sys.exit(7)

kept = []
loop.run_until_complete(leave())
"""

EXIT_UNDER_A_RUNNER = """
async def child():
    try:
        await never()
    finally:
        print("cancelled")

async def main():
    kept = asyncio.ensure_future(child())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_soon(sys.exit, 5)
    await never()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""

GENERATORS = """
async def numbers():
    try:
        yield 1
        yield 2
    finally:
        print("closed")

async def use():
    global kept
    kept = numbers()
    await anext(kept)

loop.run_until_complete(use())
coroutine = never()
coroutine.close()
"""

PROCESS = """
async def start():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", "import sys; sys.stdin.read()", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    waiting = asyncio.ensure_future(process.wait())
    reading = asyncio.ensure_future(process.stdout.read())
    await asyncio.sleep(0)
    return process, waiting, reading

kept = loop.run_until_complete(start())
"""

SIGNALS = """
loop.add_signal_handler(signal.SIGUSR1, print)
loop.add_signal_handler(signal.SIGINT, print)
loop.run_until_complete(asyncio.sleep(0.001))
"""

AT_EXIT = """
async def last():
    await asyncio.sleep(0.001)
    print("a run at exit")

pending = loop.create_task(never())
atexit.register(lambda: loop.run_until_complete(last()))
atexit.register(loop.call_soon, print, "a callback at exit")
atexit.register(loop.call_later, 60, print)
loop.run_until_complete(asyncio.sleep(0.001))
"""

FINALIZERS = """
class AtTheEnd:
    "Calls back when the interpreter clears its module, or later."
    def __init__(self, name):
        self.name = name
        self.loop = loop

    def __del__(self):
        self.loop.call_soon(self.name.upper)
        self.loop.call_later(60, self.name.upper).cancel()
        future = self.loop.create_future()
        future.add_done_callback(len)
        self.loop.is_running()
        try:
            self.loop.call_soon_threadsafe(self.name.upper)
            self.loop.stop()
        except RuntimeError:
            pass

global_one = AtTheEnd("a global")
loop.call_later(60, AtTheEnd("an argument").name.upper)
loop.call_later(60, print, AtTheEnd("an argument"))
cycle = [AtTheEnd("in a cycle")]
cycle.append(cycle)
future = loop.create_future()
future.kept = AtTheEnd("in a future's dictionary") if hasattr(future, "__dict__") else None
queue = asyncio.Queue()
queue.put_nowait(AtTheEnd("in a queue"))
sys.kept = AtTheEnd("in a module")
"""

THREADS = """
def run():
    other = new_event_loop()
    other.call_later(0.02, other.stop)
    other.run_forever()
    print("a thread's loop ended", flush=True)
    other.close()

thread = threading.Thread(target=run)
thread.start()
loop.call_soon(print, "never")
"""

KILLED = """
loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
kept = loop.create_task(never())
loop.run_forever()
"""

UNCAUGHT_EXCEPTION = """
async def fail():
    kept.append(loop.create_task(never()))
    await asyncio.sleep(0)
    raise ValueError("uncaught")

kept = []
loop.run_until_complete(fail())
"""

AT_ONCE = """
loop.call_soon(os._exit, 3)
kept = [loop.create_task(never())]
loop.run_forever()
"""

#: Name -> program, the status with which it ends, and what it prints.
PROGRAMS = {
    "tasks": (TASKS, 0, ["cleaned up"]),
    "forgotten tasks": (FORGOTTEN_TASKS, 0, []),
    "timers": (TIMERS, 0, []),
    "futures": (FUTURES, 0, []),
    "executor": (EXECUTOR, 0, ["worked", "worked"]),
    "transports": (TRANSPORTS, 0, []),
    "exit in a task": (EXIT_IN_A_TASK, 7, ["as far as this turn"]),
    "exit under a runner": (EXIT_UNDER_A_RUNNER, 5, ["cancelled"]),
    "generators": (GENERATORS, 0, []),
    "process": (PROCESS, 0, []),
    "signals": (SIGNALS, 0, []),
    "at exit": (AT_EXIT, 0, ["a callback at exit", "a run at exit"]),
    "finalizers": (FINALIZERS, 0, []),
    "threads": (THREADS, 0, ["a thread's loop ended"]),
    "killed": (KILLED, -signal.SIGTERM, []),
    "uncaught exception": (UNCAUGHT_EXCEPTION, 1, []),
    "at once": (AT_ONCE, 3, []),
}

#: What must be on standard error; nothing else may be there but what debug mode says of its own accord.
SAID = {
    "tasks": "Task was destroyed but it is pending!",
    "futures": "ValueError: never retrieved",
    "at exit": "Task was destroyed but it is pending!",
    "uncaught exception": "ValueError: uncaught",
}

#: What tells of something that went wrong while the interpreter was torn down.
WRONG = (
    "Fatal Python error",
    "panicked",
    "PanicException",
    "ImportError",
    "Exception ignored",
    "AttributeError",
)


def end(loop_name, name, *options, env):
    code, status, output = PROGRAMS[name]
    done = run_program(loop_name, PREAMBLE + code, *options, env=env)
    assert (done.returncode, done.stdout.splitlines()) == (status, output), done.stderr
    assert SAID.get(name, "") in done.stderr
    assert not [word for word in WRONG if word in done.stderr], done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_ends_with_work_pending_ends_in_good_order(loop_name, name):
    end(loop_name, name, env={"PYTHONMALLOC": "debug"})


@pytest.mark.parametrize(
    "name", ["tasks", "futures", "transports", "generators", "at exit", "finalizers", "uncaught exception"]
)
def test_a_program_that_ends_with_work_pending_in_development_mode(sabio, name):
    end("sabio", name, "-X", "dev", env={})
