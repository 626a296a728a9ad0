"""`asyncio.wait` with a list of coroutines: how the tutorials of 2017 ran things side by side."""

import asyncio


async def say(what, when):
    await asyncio.sleep(when)
    print(what)
    return when


async def first_of(*coroutines):
    done, pending = await asyncio.wait(coroutines, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


loop = asyncio.get_event_loop()
loop.run_until_complete(asyncio.wait([say("second", 0.01), say("first", 0.002)]))
print(loop.run_until_complete(first_of(say("quick", 0.002), say("never", 60))))
done, pending = loop.run_until_complete(asyncio.wait([say("in time", 0.001), say("late", 60)], timeout=0.03))
print(len(done), len(pending))
for task in pending:
    task.cancel()
loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
loop.close()
