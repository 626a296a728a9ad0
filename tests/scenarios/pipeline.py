"""Stages joined by queues: each ends when the one before it does."""

import asyncio

END = object()


async def source(out, numbers):
    for number in numbers:
        await out.put(number)
    await out.put(END)


async def stage(function, into, out):
    while (item := await into.get()) is not END:
        for result in await function(item):
            await out.put(result)
    await out.put(END)


async def square(number):
    await asyncio.sleep(0)
    return [number * number]


async def digits(number):
    return [int(digit) for digit in str(number)]


async def total(into):
    count = result = 0
    while (item := await into.get()) is not END:
        count += 1
        result += item
    return count, result


async def main():
    for size in (1, 2, 0):
        queues = [asyncio.Queue(size) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            group.create_task(source(queues[0], range(100)))
            group.create_task(stage(square, queues[0], queues[1]))
            group.create_task(stage(digits, queues[1], queues[2]))
            end = group.create_task(total(queues[2]))
        print(size, end.result(), [queue.qsize() for queue in queues])


asyncio.run(main())
