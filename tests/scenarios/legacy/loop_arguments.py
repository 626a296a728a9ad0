"""A loop that is handed to everything, as one did before Python 3.8."""

import asyncio


class Service:
    def __init__(self, loop=None):
        self.loop = loop or asyncio.get_event_loop()
        self.lock = asyncio.Lock(loop=self.loop)
        self.queue = asyncio.Queue(5, loop=self.loop)
        self.stopped = asyncio.Event(loop=self.loop)
        self.limit = asyncio.Semaphore(2, loop=self.loop)
        self.handled = []

    async def handle(self, item):
        async with self.limit:
            await asyncio.sleep(0.001, loop=self.loop)
            async with self.lock:
                self.handled.append(item)
        self.queue.task_done()

    async def run(self):
        while not self.stopped.is_set():
            item = await asyncio.wait_for(self.queue.get(), 10, loop=self.loop)
            self.loop.create_task(self.handle(item))

    async def feed(self):
        for item in "abcdefg":
            await self.queue.put(item)
        await self.queue.join()
        self.stopped.set()
        await self.queue.put("last")


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
service = Service(loop)
loop.run_until_complete(asyncio.gather(service.run(), service.feed(), loop=loop))
print(service.handled[:7], service.queue.maxsize)
futures = [asyncio.sleep(delay, delay, loop=loop) for delay in (0.01, 0.002)]
print(loop.run_until_complete(asyncio.gather(*futures, loop=loop)))
future = asyncio.Future(loop=loop)
loop.call_soon(future.set_result, "done")
print(loop.run_until_complete(asyncio.shield(future, loop=loop)))
loop.close()
