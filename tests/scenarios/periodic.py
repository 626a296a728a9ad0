"""Things that happen again and again, by callback and by task, until they are stopped."""

import asyncio


class Periodic:
    """Calls a function every so many seconds, on a beat that does not drift."""

    def __init__(self, interval, function):
        self.loop = asyncio.get_running_loop()
        self.interval, self.function = interval, function
        self.next = self.loop.time() + interval
        self.handle = self.loop.call_at(self.next, self.tick)

    def tick(self):
        self.next += self.interval
        self.handle = self.loop.call_at(self.next, self.tick)
        self.function()

    def stop(self):
        self.handle.cancel()


async def every(interval, function):
    while True:
        await asyncio.sleep(interval)
        function()


async def main():
    loop = asyncio.get_running_loop()
    start, beats, enough = loop.time(), [], asyncio.Event()

    def beat():
        beats.append(loop.time() - start)
        if len(beats) == 5:
            periodic.stop()
            enough.set()

    periodic = Periodic(0.004, beat)
    await asyncio.wait_for(enough.wait(), 20)
    print(
        len(beats),
        all(beat >= 0.0039 * number for number, beat in enumerate(beats, 1)),
        beats == sorted(beats),
    )

    ticks = []
    task = asyncio.create_task(every(0.001, lambda: ticks.append(len(ticks))))
    while len(ticks) < 4:
        await asyncio.sleep(0.001)
    task.cancel()
    count = len(ticks)
    await asyncio.sleep(0.01)
    print(ticks[:4], count == len(ticks), task.cancelled(), len(beats))


asyncio.run(main())
