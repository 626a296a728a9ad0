"""Exceptions in `gather`: the first one comes out, or all are results."""

import asyncio


async def work(name, delay, error=None):
    await asyncio.sleep(delay)
    print("ran", name)
    if error:
        raise error
    return name


async def main():
    print(await asyncio.gather(work("a", 0.002), work("b", 0.001, ValueError("b")), return_exceptions=True))

    others = [
        asyncio.create_task(work("slow", 0.02)),
        asyncio.create_task(work("bad", 0.001, OSError("first"))),
    ]
    try:
        await asyncio.gather(*others)
    except OSError as error:
        print("came out:", error)
    print("the other goes on:", await others[0])

    group = asyncio.gather(work("x", 60), work("y", 60))
    await asyncio.sleep(0)
    group.cancel()
    try:
        await group
    except asyncio.CancelledError:
        print("all cancelled:", group.cancelled())

    doomed = asyncio.create_task(work("doomed", 60))
    both = asyncio.gather(doomed, work("fine", 0.002), return_exceptions=True)
    await asyncio.sleep(0)
    doomed.cancel()
    print([type(result).__name__ for result in await both])

    same = asyncio.create_task(asyncio.sleep(0, "once"))
    print(await asyncio.gather(same, same), await asyncio.gather())
    nested = asyncio.gather(asyncio.gather(work("n1", 0), work("n2", 0)), work("n3", 0.001))
    print(await nested)


asyncio.run(main())
