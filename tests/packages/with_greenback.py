"""greenback: `await` out of functions that are not coroutines; it changes the coroutine of the task that runs."""

import asyncio

import greenback


def waiting(value, delay=0.0):
    return greenback.await_(asyncio.sleep(delay, value))


def through_primitives():
    queue = asyncio.Queue(1)
    lock = asyncio.Lock()

    async def produce():
        for number in range(5):
            await queue.put(number)

    async def locked():
        async with lock:
            return await asyncio.sleep(0, "locked")

    producer = asyncio.ensure_future(produce())
    received = [greenback.await_(queue.get()) for _ in range(5)]
    greenback.await_(producer)
    return received, greenback.await_(locked())


async def portal():
    await greenback.ensure_portal()
    print("slept", waiting("a", 0.001), waiting("b"), *through_primitives())
    try:
        greenback.await_(asyncio.wait_for(asyncio.Event().wait(), 0.001))
    except TimeoutError:
        print("timed out")
    return "done"


async def cancelled():
    await greenback.ensure_portal()
    try:
        waiting(None, 60)
    except asyncio.CancelledError:
        print("cancelled")
        raise


async def without_a_portal():
    try:
        waiting(1)
    except RuntimeError:
        print("no portal")


async def main():
    await without_a_portal()
    print(await asyncio.gather(*[asyncio.create_task(portal()) for _ in range(3)]))
    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0.001)
    task.cancel()
    print(await asyncio.gather(task, return_exceptions=True))

    async def in_a_portal():
        return waiting("in a portal")

    print(await greenback.with_portal_run(in_a_portal))
    print(await greenback.with_portal_run_sync(waiting, "by a function"))
    assert not greenback.has_portal()


if __name__ == "__main__":
    asyncio.run(main())
