"""janus: one queue whose halves belong to a thread and to the loop."""

import asyncio

import janus


async def from_a_thread():
    queue = janus.Queue(2)

    def produce():
        for number in range(10):
            queue.sync_q.put(number)
        queue.sync_q.join()

    producer = asyncio.create_task(asyncio.to_thread(produce))
    received = []
    for _ in range(10):
        received.append(await queue.async_q.get())
        queue.async_q.task_done()
    await producer
    await queue.aclose()
    print("received", received)


async def to_a_thread():
    queue = janus.PriorityQueue()

    def consume():
        return [queue.sync_q.get() for _ in range(5)]

    for number in (3, 1, 2, 5, 4):
        await queue.async_q.put(number)
    print("sorted", await asyncio.to_thread(consume))
    queue.close()
    await queue.wait_closed()
    try:
        await queue.async_q.put(1)
    except janus.AsyncQueueShutDown:
        print("closed")


async def cancelled():
    queue = janus.Queue()
    try:
        await asyncio.wait_for(queue.async_q.get(), 0.01)
    except TimeoutError:
        print("nothing came")
    queue.sync_q.put("late")
    print("nothing lost:", await queue.async_q.get())
    await queue.aclose()


async def main():
    await from_a_thread()
    await to_a_thread()
    await cancelled()


if __name__ == "__main__":
    asyncio.run(main())
