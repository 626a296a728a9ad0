"""Workers that share a queue, and a queue that holds its producer back."""

import asyncio


async def worker(name, queue, done):
    while True:
        seconds = await queue.get()
        await asyncio.sleep(seconds)
        done.append((name, seconds))
        queue.task_done()


async def produce(queue, count):
    for item in range(count):
        await queue.put(item)
        print("put", item, "size", queue.qsize())
    await queue.put(None)


async def consume(queue):
    while (item := await queue.get()) is not None:
        print("got", item)


async def main():
    queue = asyncio.Queue()
    for tenth in (5, 1, 3, 2, 4, 1, 2, 5):
        queue.put_nowait(tenth / 500)
    done = []
    workers = [asyncio.create_task(worker(f"worker-{n}", queue, done)) for n in range(3)]
    await queue.join()
    print(len(done), "jobs done by", len({name for name, _ in done}), "workers, left:", queue.qsize())
    for task in workers:
        task.cancel()
    print([type(end).__name__ for end in await asyncio.gather(*workers, return_exceptions=True)])

    small = asyncio.Queue(maxsize=2)
    await asyncio.gather(produce(small, 5), consume(small))
    print(small.empty(), small.full(), small.maxsize)
    try:
        small.get_nowait()
    except asyncio.QueueEmpty:
        print("empty")
    for item in "ab":
        small.put_nowait(item)
    try:
        small.put_nowait("c")
    except asyncio.QueueFull:
        print("full")


asyncio.run(main())
