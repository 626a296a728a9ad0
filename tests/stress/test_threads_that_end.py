"""Hundreds of threads that each have a loop and end, not all of them in good order, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

THREADS, AT_ONCE = 200, 20


async def answer(reader, writer):
    writer.write(await reader.readline())
    writer.close()


async def live():
    """Something of everything that a loop has."""
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\n")
    assert await reader.readline() == b"line\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await loop.getaddrinfo("127.0.0.1", 80)
    await asyncio.sleep(0.0001)
    return await loop.run_in_executor(None, int, "7")


def in_good_order(make):
    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(live()) == 7


def never_closed(make):
    loop = make()
    loop.run_until_complete(asyncio.sleep(0.0001))
    loop.call_later(60, int)
    loop.call_soon(int)


def left_by_an_exception(make):
    loop = make()
    loop.call_soon(leave)
    try:
        loop.run_forever()
    finally:
        loop.close()


def leave():
    raise SystemExit("of this thread alone")


def never_run(make):
    make().close()


def stopped_from_outside(make):
    loop = make()
    thread = threading.Timer(0.001, loop.call_soon_threadsafe, (loop.stop,))
    thread.start()
    loop.run_forever()
    thread.join()
    loop.close()


WAYS = [in_good_order, never_closed, left_by_an_exception, never_run, stopped_from_outside]


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_threads_with_loops_come_and_go(loop_name, reports):
    def make():
        if loop_name == "asyncio":
            return asyncio.SelectorEventLoop()
        import sabio

        return sabio.new_event_loop()

    failed = []

    def run(way):
        try:
            way(make)
        except Exception as error:
            error.add_note(way.__name__)
            failed.append(error)

    def round_of_threads():
        threads = [
            threading.Thread(target=run, args=(WAYS[number % len(WAYS)],)) for number in range(AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        gc.collect()

    round_of_threads()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(THREADS // AT_ONCE):
        round_of_threads()
    assert not failed
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    reports.take_unraisable()
