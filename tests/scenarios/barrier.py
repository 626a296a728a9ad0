"""Racers that wait for each other at every lap."""

import asyncio


async def racer(barrier, name, pace, log):
    for lap in range(2):
        await asyncio.sleep(pace)
        log.append(f"{name} at {lap}")
        place = await barrier.wait()
        if place == 0:
            log.append("go")


async def main():
    barrier, log = asyncio.Barrier(3), []
    racers = (("hare", 0.002), ("tortoise", 0.03), ("snail", 0.06))
    await asyncio.gather(*(racer(barrier, name, pace, log) for name, pace in racers))
    print(log)
    print(barrier.parties, barrier.n_waiting, barrier.broken)

    async def stuck():
        try:
            async with barrier:
                print("never")
        except asyncio.BrokenBarrierError:
            return "broken"

    waiting = [asyncio.create_task(stuck()) for _ in range(2)]
    await asyncio.sleep(0)
    print(barrier.n_waiting)
    await barrier.abort()
    print(await asyncio.gather(*waiting), barrier.broken)
    await barrier.reset()
    print(barrier.broken)


asyncio.run(main())
