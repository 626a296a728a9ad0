"""A process whose daemon threads run loops ends, whatever they are doing, and does not abort."""

from __future__ import annotations

import pytest

from tests.support.process import complaints, run_program

PROGRAM = """
import threading

begun = threading.Event()

def spin():
    begun.set()
    while True:
        pass

class Spinning:
    def __del__(self):
        spin()

def body():
    loop = new_event_loop()
{body}

threading.Thread(target=body, daemon=True).start()
begun.wait()
# The thread is in the middle of it, and wants the interpreter back.
threading.Event().wait(0.02)
print("end", flush=True)
"""

BODIES = {
    "a callback": """
    loop.call_soon(spin)
    loop.run_forever()
""",
    "callbacks": """
    def again():
        begun.set()
        loop.call_soon(again)
    again()
    loop.run_forever()
""",
    "a coroutine": """
    async def main():
        spin()
    loop.run_until_complete(main())
""",
    "turns": """
    async def main():
        begun.set()
        while True:
            await asyncio.sleep(0)
    loop.run_until_complete(main())
""",
    "a loop that waits": """
    async def main():
        begun.set()
        while True:
            await asyncio.sleep(0.0001)
    loop.run_until_complete(main())
""",
    "a protocol": """
    import socket
    here, there = socket.socketpair()
    class Protocol(asyncio.Protocol):
        def data_received(self, data):
            spin()
    async def main():
        await loop.create_connection(Protocol, sock=here)
        there.send(b"data")
        await asyncio.sleep(100)
    loop.run_until_complete(main())
""",
    "an executor of daemon threads": """
    class Daemons:
        def submit(self, function, *args):
            import concurrent.futures
            future = concurrent.futures.Future()
            def run():
                if future.set_running_or_notify_cancel():
                    future.set_result(function(*args))
            threading.Thread(target=run, daemon=True).start()
            return future
    async def main():
        begun.set()
        while True:
            await asyncio.gather(*[asyncio.wrap_future(Daemons().submit(int)) for _ in range(10)])
    loop.run_until_complete(main())
""",
    "calls from a thread": """
    class Name:
        def __str__(self):
            spin()
    async def main():
        await asyncio.sleep(0)
    coro = main()
    task = loop.create_task(coro, name=Name())
""",
    "a deallocation": """
    future = loop.create_future()
    future.set_result(Spinning())
    del future
""",
    "a collection": """
    import gc
    future = loop.create_future()
    spinning = Spinning()
    spinning.future = future
    future.set_result(spinning)
    del future, spinning
    gc.collect()
""",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_daemon_thread_does_not_keep_the_process_from_ending(loop_name, body):
    for _ in range(2):
        done = run_program(loop_name, PROGRAM.format(body=body.strip("\n")))
        assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
        assert "Fatal" not in complaints(done)
