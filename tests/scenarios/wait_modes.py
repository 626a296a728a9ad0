"""The three ways of `asyncio.wait`."""

import asyncio


async def job(delay, error=None):
    await asyncio.sleep(delay)
    if error:
        raise error
    return delay


async def show(return_when, *jobs, timeout=None):
    tasks = [asyncio.create_task(each) for each in jobs]
    done, pending = await asyncio.wait(tasks, timeout=timeout, return_when=return_when)
    print(
        return_when, sorted(tasks.index(task) for task in done), sorted(tasks.index(task) for task in pending)
    )
    for task in pending:
        task.cancel()
    print("  then", [type(end).__name__ for end in await asyncio.gather(*tasks, return_exceptions=True)])


async def main():
    await show(asyncio.ALL_COMPLETED, job(0.01), job(0.002))
    await show(asyncio.FIRST_COMPLETED, job(60), job(0.002), job(60))
    await show(asyncio.FIRST_EXCEPTION, job(0.002), job(0.01, ValueError("no")), job(60))
    await show(asyncio.FIRST_EXCEPTION, job(0.002), job(0.004))
    await show(asyncio.ALL_COMPLETED, job(60), job(0.001), timeout=0.02)
    try:
        await asyncio.wait([])
    except ValueError as error:
        print(type(error).__name__)


asyncio.run(main())
