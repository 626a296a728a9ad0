"""Callbacks and timers on a loop that is driven by hand (asyncio: Event loop)."""

import asyncio
import functools


def show(*words):
    print(*words)


async def fortytwo():
    return 42


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

loop.call_soon(show, "soon", 1)
loop.call_soon(functools.partial(show, "soon", 2))
loop.call_later(0.02, show, "later")
loop.call_at(loop.time() + 0.01, show, "at a time")
never = loop.call_later(0.015, show, "never")
never.cancel()
loop.call_later(0.03, loop.stop)
print(loop.is_running(), loop.is_closed(), never.cancelled())
loop.run_forever()

print(loop.run_until_complete(fortytwo()))
future = loop.create_future()
loop.call_later(0.005, future.set_result, "result")
print(loop.run_until_complete(future))
task = loop.create_task(fortytwo())
print(loop.run_until_complete(asyncio.wait_for(asyncio.shield(task), 1)))

print(loop.time() <= loop.time())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
print(loop.is_closed())
try:
    loop.call_soon(show)
except RuntimeError as error:
    print(error)
