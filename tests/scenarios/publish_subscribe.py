"""A hub that gives each message to all who subscribe, however slow they are."""

import asyncio
import contextlib


class Hub:
    def __init__(self):
        self.subscribers = set()

    @contextlib.contextmanager
    def subscribe(self):
        queue = asyncio.Queue()
        self.subscribers.add(queue)
        try:
            yield queue
        finally:
            self.subscribers.remove(queue)

    def publish(self, message):
        for queue in self.subscribers:
            queue.put_nowait(message)


async def read(hub, name, delay, results):
    with hub.subscribe() as queue:
        got = []
        while (message := await queue.get()) != "end":
            await asyncio.sleep(delay)
            got.append(message)
    results[name] = got


async def main():
    hub, results = Hub(), {}
    readers = [
        asyncio.create_task(read(hub, "quick", 0, results)),
        asyncio.create_task(read(hub, "slow", 0.002, results)),
    ]
    await asyncio.sleep(0)
    for number in range(3):
        hub.publish(number)
        await asyncio.sleep(0.001)
    late = asyncio.create_task(read(hub, "late", 0, results))
    await asyncio.sleep(0)
    hub.publish("last")
    hub.publish("end")
    await asyncio.gather(*readers, late)
    for name in sorted(results):
        print(name, results[name])
    print(len(hub.subscribers))


asyncio.run(main())
