"""A semaphore lets a few in at a time."""

import asyncio


class Limited:
    """Counts how many calls are under way."""

    def __init__(self, limit):
        self.semaphore = asyncio.Semaphore(limit)
        self.now = self.most = 0

    async def call(self, number):
        async with self.semaphore:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.002)
            self.now -= 1
            return number * number


async def main():
    for limit in (1, 3, 10):
        api = Limited(limit)
        results = await asyncio.gather(*(api.call(number) for number in range(8)))
        print(limit, results, "at most", api.most)

    semaphore = asyncio.BoundedSemaphore(2)
    await semaphore.acquire()
    print(semaphore.locked())
    await semaphore.acquire()
    print(semaphore.locked())
    try:
        await asyncio.wait_for(semaphore.acquire(), 0.005)
    except TimeoutError:
        print("nobody let go")
    waiting = asyncio.create_task(semaphore.acquire())
    await asyncio.sleep(0)
    semaphore.release()
    print("let in:", await waiting)
    semaphore.release()
    semaphore.release()
    try:
        semaphore.release()
    except ValueError as error:
        print(error)


asyncio.run(main())
