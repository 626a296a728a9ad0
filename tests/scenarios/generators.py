"""Asynchronous generators, iterators and context managers."""

import asyncio
import contextlib


async def ticker(count, delay):
    try:
        for tick in range(count):
            await asyncio.sleep(delay)
            yield tick
    finally:
        await asyncio.sleep(0)
        print("ticker closed")


class Countdown:
    def __init__(self, start):
        self.left = start

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        await asyncio.sleep(0)
        self.left -= 1
        return self.left


@contextlib.asynccontextmanager
async def connection(name):
    await asyncio.sleep(0)
    print("open", name)
    try:
        yield name.upper()
    finally:
        await asyncio.sleep(0)
        print("close", name)


async def main():
    print([tick async for tick in ticker(3, 0.001)])
    print([number async for number in Countdown(4) if number % 2])
    async with contextlib.aclosing(ticker(1000, 0)) as ticks:
        async for tick in ticks:
            if tick == 2:
                break
    async with contextlib.AsyncExitStack() as stack:
        names = [await stack.enter_async_context(connection(name)) for name in ("first", "second")]
        print(names)
    # One that is left open is closed when the loop ends.
    global kept
    kept = ticker(1000, 0)
    print(await anext(kept), await anext(kept))


asyncio.run(main())
print("end")
