"""Queues with an order of their own."""

import asyncio
import dataclasses


@dataclasses.dataclass(order=True)
class Job:
    priority: int
    name: str = dataclasses.field(compare=False)


class UniqueQueue(asyncio.Queue):
    """A queue that keeps one of each."""

    def _init(self, maxsize):
        self._queue = {}

    def _put(self, item):
        self._queue[item] = None

    def _get(self):
        item = next(iter(self._queue))
        del self._queue[item]
        return item


async def drain(queue):
    while not queue.empty():
        yield await queue.get()


async def main():
    jobs = asyncio.PriorityQueue()
    for priority, name in ((3, "sweep"), (1, "wake up"), (2, "breakfast")):
        await jobs.put(Job(priority, name))
    print([job.name async for job in drain(jobs)])

    stack = asyncio.LifoQueue()
    for plate in range(4):
        stack.put_nowait(plate)
    print([plate async for plate in drain(stack)])

    unique = UniqueQueue()
    for letter in "mississippi":
        await unique.put(letter)
    print("".join([letter async for letter in drain(unique)]))


asyncio.run(main())
