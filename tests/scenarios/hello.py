"""The first program of every tutorial: coroutines one after the other, and side by side."""

import asyncio


async def say_after(delay, what):
    await asyncio.sleep(delay)
    print(what)
    return what.upper()


async def main():
    await say_after(0.01, "hello")
    await say_after(0.005, "world")

    slow = asyncio.create_task(say_after(0.02, "side by side: slow"))
    fast = asyncio.create_task(say_after(0.01, "side by side: fast"), name="fast one")
    print(fast.get_name(), fast.done())
    print(await slow, await fast)
    print(await asyncio.gather(say_after(0.01, "a"), say_after(0, "b"), say_after(0.005, "c")))


asyncio.run(main())
