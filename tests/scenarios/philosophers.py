"""Dining philosophers: nobody starves, since all take the lower fork first."""

import asyncio

NAMES = ("Hypatia", "Diotima", "Aspasia", "Themista", "Arete")


async def dine(seat, forks, meals, plates):
    low, high = sorted((seat, (seat + 1) % len(forks)))
    while meals[seat] < 3:
        await asyncio.sleep(0)
        async with forks[low], forks[high]:
            plates.append(seat)
            await asyncio.sleep(0.0005)
            plates.remove(seat)
            meals[seat] += 1


async def watch(plates, seen):
    while True:
        neighbours = [seat for seat in plates if (seat + 1) % len(NAMES) in plates]
        seen.append((len(plates), len(neighbours)))
        await asyncio.sleep(0)


async def main():
    forks = [asyncio.Lock() for _ in NAMES]
    meals, plates, seen = [0] * len(NAMES), [], []
    watcher = asyncio.create_task(watch(plates, seen))
    async with asyncio.timeout(20):
        await asyncio.gather(*(dine(seat, forks, meals, plates) for seat in range(len(NAMES))))
    watcher.cancel()
    print(dict(zip(NAMES, meals, strict=True)))
    print("most at once:", max(count for count, _ in seen), "with a shared fork:", max(n for _, n in seen))
    print("forks on the table:", sum(not fork.locked() for fork in forks))


asyncio.run(main())
