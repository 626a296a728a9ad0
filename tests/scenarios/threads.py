"""Blocking calls in threads, and threads that call back into the loop."""

import asyncio
import concurrent.futures
import threading
import time


def blocking(seconds, result):
    time.sleep(seconds)
    return result, threading.current_thread() is threading.main_thread()


def fail():
    raise ZeroDivisionError("in a thread")


async def add(a, b):
    await asyncio.sleep(0.001)
    return a + b


async def main():
    loop = asyncio.get_running_loop()
    print(await loop.run_in_executor(None, blocking, 0.001, "default executor"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        calls = [loop.run_in_executor(pool, blocking, 0.005, n) for n in range(4)]
        print([result for result, _ in await asyncio.gather(*calls)])
        print(await asyncio.wrap_future(pool.submit(pow, 2, 10)))
    print(await asyncio.to_thread(blocking, 0.001, result="to_thread"))
    try:
        await asyncio.to_thread(fail)
    except ZeroDivisionError as error:
        print(error)

    ready = asyncio.Event()
    seen = []

    def other_thread():
        seen.append(asyncio.run_coroutine_threadsafe(add(1, 2), loop).result(timeout=20))
        loop.call_soon_threadsafe(ready.set)

    thread = threading.Thread(target=other_thread)
    thread.start()
    await asyncio.wait_for(ready.wait(), 20)
    thread.join()
    print(seen)


asyncio.run(main())
