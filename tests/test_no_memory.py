"""Every single allocation of the interpreter's, in the middle of anything, may fail: that is a MemoryError and no more.

CPython's own `_testcapi.set_nomemory` makes the allocation of a given number fail. Each attempt is made in a forked
child, with one number after the other, until an operation comes through without any having failed.
"""

from __future__ import annotations

import pytest

from tests.support.process import output_of

pytest.importorskip("_testcapi", reason="this interpreter comes without CPython's test helpers")

#: More allocations than any of the operations makes.
MOST = 120

PROGRAM = """
import faulthandler, gc, logging, os, sys, _testcapi
import sabio

logging.disable(logging.CRITICAL)
sys.unraisablehook = lambda report: None

{operation}

def attempt(number):
    "What comes of the operation when the allocation of this number fails."
    loop = new_event_loop()
    loop.run_until_complete(main(loop))
    told = []

    def handler(loop, context):
        told.append(context["exception"])
        # A task whose step could not be made waits for ever, as asyncio's does; one whose exception nobody has asked
        # for has ended.
        if "never retrieved" not in context["message"]:
            loop.stop()

    loop.set_exception_handler(handler)
    coroutine = main(loop)
    try:
        _testcapi.set_nomemory(number, number + 1)
        loop.run_until_complete(coroutine)
        _testcapi.remove_mem_hooks()
        outcome = b"done"
    except MemoryError:
        _testcapi.remove_mem_hooks()
        outcome = b"MemoryError"
    except BaseException as error:
        _testcapi.remove_mem_hooks()
        # A group of tasks tells of what its children lacked.
        lack = isinstance(error, ExceptionGroup) and error.split(MemoryError)[1] is None
        lack |= isinstance(told[0] if told else None, MemoryError)
        outcome = b"MemoryError" if lack else repr(error).encode()
    # The loop is in order: it can be run, and closed.
    loop.set_exception_handler(lambda loop, context: None)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.0001))
    loop.run_until_complete(main(loop))
    loop.close()
    return outcome

def in_child(number):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(15, exit=True)
        try:
            os.write(writing, attempt(number))
            os._exit(0)
        except BaseException as error:
            os.write(writing, b"afterwards: " + repr(error).encode())
            os._exit(1)
    os.close(writing)
    outcome = os.read(reading, 1000).decode()
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return outcome if status == 0 else f"status {{status}}, {{outcome}}"

outcomes = [in_child(number) for number in range({most})]
last = max(number for number, outcome in enumerate(outcomes) if outcome != "done")
print("not all were tried" if last > {most} - 20 else "all were tried")
for number, outcome in enumerate(outcomes):
    if outcome not in ("done", "MemoryError"):
        print(number, outcome)
print("some failed" if "MemoryError" in outcomes else "none failed")
"""

CALLBACKS = """
async def main(loop):
    for _ in range(3):
        loop.call_soon(int)
    loop.call_later(0.0001, int)
    loop.call_later(60, int).cancel()
    loop.call_soon_threadsafe(int)
    await sabio.sleep(0)
    await sabio.sleep(0.0002)
"""

TASKS = """
async def body():
    await sabio.sleep(0)
    return 7

async def main(loop):
    assert await loop.create_task(body()) == 7
    task = loop.create_task(body())
    await sabio.wait([task])
"""

FUTURES = """
def done(future):
    pass

async def main(loop):
    future = loop.create_future()
    future.add_done_callback(done)
    loop.call_soon(future.set_result, 7)
    assert await future == 7
"""

GATHER = """
async def body():
    await sabio.sleep(0)
    return 7

async def main(loop):
    assert await sabio.gather(body(), body()) == [7, 7]
"""

GROUPS = """
async def main(loop):
    async with sabio.timeout(60), sabio.TaskGroup() as group:
        group.create_task(sabio.sleep(0))
        group.create_task(sabio.sleep(0.0001))
"""

LOCKS = """
async def body(lock, queue):
    async with lock:
        await queue.put(await sabio.sleep(0, 7))
        return await queue.get()

async def main(loop):
    lock, queue = sabio.Lock(), sabio.Queue(1)
    assert await sabio.gather(body(lock, queue), body(lock, queue)) == [7, 7]
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "operation",
    [CALLBACKS, TASKS, FUTURES, GATHER, GROUPS, LOCKS],
    ids=["callbacks", "tasks", "futures", "gather", "groups", "locks"],
)
def test_any_allocation_may_fail_once(sabio, operation):
    program = PROGRAM.format(operation=operation, most=MOST)
    assert output_of("sabio", program) == ["all were tried", "some failed"]


NO_ROOM = """
import resource, subprocess

async def in_a_thread():
    assert await asyncio.get_running_loop().run_in_executor(None, len, "seven") == 5

async def resolve():
    assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)

async def talk():
    async def answer(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\\n")
    assert await reader.readline() == b"line\\n"
    writer.close()
    server.close()

async def run_a_program():
    process = await asyncio.create_subprocess_exec("/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert await process.communicate(b"data") == (b"data", None)

async def attempt(operation):
    try:
        await operation()
    except (RuntimeError, OSError, MemoryError):
        return "refused"
    return "works"

async def main():
    # What is imported and set up at the first call is there.
    "localhost".encode("idna")
    await talk()
    with open("/proc/self/status") as status:
        size = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 20), resource.RLIM_INFINITY))
    operations = [in_a_thread, resolve, talk, run_a_program]
    limited = [await attempt(operation) for operation in operations]
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(limited[:3])
    print([await attempt(operation) for operation in operations])

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def test_what_needs_a_thread_is_refused_where_there_is_no_room_for_one(loop_name):
    assert output_of(loop_name, NO_ROOM) == [str(["refused", "refused", "works"]), str(["works"] * 4)]
