"""Limits in time: for one call, for a block, and moved while it runs."""

import asyncio


async def slow(log):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        log.append("cleaned up")
        raise


async def main():
    log = []
    try:
        await asyncio.wait_for(slow(log), timeout=0.01)
    except TimeoutError as error:
        print("wait_for:", type(error).__name__, log)
    print(await asyncio.wait_for(asyncio.sleep(0.001, "in time"), timeout=60))

    try:
        async with asyncio.timeout(0.01) as limit:
            await slow(log)
    except TimeoutError:
        print("timeout:", limit.expired(), log)

    loop = asyncio.get_running_loop()
    async with asyncio.timeout_at(loop.time() + 60) as limit:
        print(limit.when() > loop.time(), limit.expired())

    try:
        async with asyncio.timeout(None) as limit:
            print(limit.when())
            limit.reschedule(loop.time() + 0.01)
            await slow(log)
    except TimeoutError:
        print("rescheduled")

    try:
        async with asyncio.timeout(60):
            async with asyncio.timeout(0.005):
                await slow(log)
    except TimeoutError:
        print("the inner one of two")

    task = asyncio.create_task(asyncio.wait_for(slow(log), 60))
    await asyncio.sleep(0)
    task.cancel("from outside")
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled, which is no timeout", len(log))


asyncio.run(main())
