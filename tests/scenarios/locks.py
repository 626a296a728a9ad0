"""Locks, events and conditions between tasks."""

import asyncio


async def critical(lock, name, log):
    async with lock:
        log.append(f"{name} in")
        await asyncio.sleep(0.001)
        log.append(f"{name} out")


async def waiter(event, name):
    print(name, "waits")
    await event.wait()
    print(name, "goes")


class Stock:
    """Goods that are taken as they come."""

    def __init__(self):
        self.condition = asyncio.Condition()
        self.goods = 0

    async def take(self, name, count):
        async with self.condition:
            await self.condition.wait_for(lambda: self.goods >= count)
            self.goods -= count
            print(name, "took", count, "left", self.goods)

    async def deliver(self, count):
        async with self.condition:
            self.goods += count
            print("delivered", count)
            self.condition.notify_all()
        await asyncio.sleep(0.001)


async def main():
    lock, log = asyncio.Lock(), []
    await asyncio.gather(*(critical(lock, name, log) for name in "abc"))
    print(log, lock.locked())
    try:
        lock.release()
    except RuntimeError as error:
        print(error)

    event = asyncio.Event()
    waiting = [asyncio.create_task(waiter(event, n)) for n in ("one", "two")]
    await asyncio.sleep(0)
    event.set()
    await asyncio.gather(*waiting)
    print(event.is_set(), await event.wait())
    event.clear()

    stock = Stock()
    takers = [asyncio.create_task(stock.take("large", 5)), asyncio.create_task(stock.take("small", 1))]
    await asyncio.sleep(0)
    for count in (1, 3, 2):
        await stock.deliver(count)
    await asyncio.gather(*takers)

    await lock.acquire()
    impatient = asyncio.create_task(lock.acquire())
    patient = asyncio.create_task(lock.acquire())
    await asyncio.sleep(0)
    impatient.cancel()
    lock.release()
    print(await patient, impatient.cancelled(), lock.locked())


asyncio.run(main())
