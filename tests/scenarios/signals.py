"""Signal handlers on the loop: a service that reloads, and that ends when it is told to."""

import asyncio
import os
import signal


class Service:
    """Runs until SIGTERM."""

    def __init__(self):
        self.ending = asyncio.Event()
        self.reloaded = 0

    def reload(self, name):
        self.reloaded += 1
        print("got", name)

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.reload, "SIGUSR1")
        loop.add_signal_handler(signal.SIGTERM, self.ending.set)
        worker = asyncio.create_task(self.work())
        await self.ending.wait()
        print("ending, reloaded", self.reloaded)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        print(loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1))
        print(loop.remove_signal_handler(signal.SIGTERM))

    async def work(self):
        try:
            await asyncio.sleep(60)
        finally:
            print("worker cleaned up")


async def main():
    service = asyncio.create_task(Service().run())
    await asyncio.sleep(0)
    for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM):
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
    await service


asyncio.run(main())
try:
    asyncio.run(asyncio.sleep(0.001, os.kill(os.getpid(), 0)))
    print("and Ctrl-C is Python's again:", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
except KeyboardInterrupt:
    print("interrupted")
