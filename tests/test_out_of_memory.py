"""A program that runs out of memory gets a MemoryError where asyncio raises one, and can go on."""

from __future__ import annotations

import pytest

from tests.support.process import output_of

#: How much more memory than at the start of the coroutine there may be, in MiB.
MORE = 24

PROGRAM = """
import resource
import {primitives} as primitives

async def main():
    loop = asyncio.get_running_loop()
    # For what must be kept when nothing can grow any more.
    room = [None] * 100_000
    with open("/proc/self/status") as status:
        size = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (size + ({more} << 20), resource.RLIM_INFINITY))
    count = 0
    try:
{body}
    except MemoryError:
        told = count > 1000
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("MemoryError", told)
    await after()
    assert await asyncio.sleep(0.001, "still here") == "still here"

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
print("end")
"""

TIMERS = """
        kept = []
        async def after():
            for handle in kept:
                handle.cancel()
        while True:
            kept.append(loop.call_later(1000, print))
            count += 1
"""

CALLBACKS = """
        done = 0
        def callback():
            nonlocal done
            done += 1
        async def after():
            while done < count:
                await asyncio.sleep(0)
            print("all of them were called", done == count)
        while True:
            loop.call_soon(callback)
            count += 1
"""

ITEMS = """
        queue = primitives.Queue()
        item = object()
        async def after():
            print("all of them are there", queue.qsize() == count)
        while True:
            queue.put_nowait(item)
            count += 1
"""

TASKS = """
        async def after():
            kept = {task for task in room if task}
            print("there are no others", asyncio.all_tasks() == kept | {asyncio.current_task()})
            for task in kept:
                task.cancel()
            await asyncio.wait(kept)
            print("all of them ended", all(task.cancelled() for task in kept))
        forever = asyncio.Event()
        while True:
            coro = forever.wait()
            try:
                room[count] = loop.create_task(coro)
            except MemoryError:
                coro.close()
                raise
            count += 1
"""

RECEIVED = """
        reader = primitives.StreamReader()
        async def after():
            print("all of it is there", len(await reader.read(count)) == count)
        data = b"x" * 100_000
        while True:
            reader.feed_data(data)
            count += len(data)
"""

BODIES = {
    "timers": TIMERS,
    "callbacks": CALLBACKS,
    "items of a queue": ITEMS,
    "tasks": pytest.param(
        TASKS, marks=pytest.mark.asyncio_lacks("a task without a first step is left over", run=False)
    ),
    "received data": pytest.param(
        RECEIVED,
        marks=pytest.mark.asyncio_lacks(
            "a bytearray that cannot grow loses what it has", ">=3.15", run=False
        ),
    ),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_has_no_room_is_refused_and_the_program_goes_on(loop_name, body):
    program = PROGRAM.format(primitives=loop_name, more=MORE, body=body.strip("\n"))
    output = output_of(loop_name, program)
    assert (output[0], output[-1]) == ("MemoryError True", "end"), output
    assert not [line for line in output if "False" in line]


#: A peer sends without end, and nobody reads what comes.
CONNECTION = """
import resource, socket, threading
import {primitives} as primitives

def limit(more):
    with open("/proc/self/status") as status:
        size = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (size + (more << 20), resource.RLIM_INFINITY))

def send(peer):
    data = b"x" * 65536
    try:
        while True:
            peer.sendall(data)
    except OSError:
        pass

async def main():
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda loop, context: told.append((context["message"], type(context["exception"]))))
    here, there = socket.socketpair()
{open}
    thread = threading.Thread(target=send, args=(there,))
    thread.start()
    limit({more})
    try:
        while not transport.is_closing():
            await asyncio.sleep(0.001)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        await reader.read()
    except MemoryError:
        print("the reader hears of it")
    thread.join()
    print(told[0][1].__name__, told[0][0])
    assert await asyncio.sleep(0.001, "still here") == "still here"

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
print("end")
"""

BY_SOCKET = """
    reader, writer = await primitives.open_connection(sock=here, limit=1 << 40)
    transport = writer.transport
"""

BY_PIPE = """
    reader = primitives.StreamReader(limit=1 << 40)
    protocol = primitives.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, here)
"""


@pytest.mark.parametrize(
    "way",
    [
        BY_SOCKET,
        pytest.param(
            BY_PIPE,
            marks=pytest.mark.asyncio_lacks("the stream goes on behind the gap", run=False),
        ),
    ],
    ids=["socket", "pipe"],
)
def test_a_connection_that_has_no_room_for_what_it_received_ends(loop_name, way):
    program = CONNECTION.format(primitives=loop_name, more=MORE, open=way.strip("\n"))
    output = output_of(loop_name, program)
    assert output[0] == "the reader hears of it"
    kinds = ("Fatal read error on socket transport", "Fatal error: protocol.data_received() call failed.")
    assert output[1] in [f"MemoryError {kind}" for kind in kinds]
    assert output[2:] == ["end"]
