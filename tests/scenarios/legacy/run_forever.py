"""A program around `run_forever()` and `get_event_loop()`, with the clean-up that was in every blog of 2018."""

# Runs without legacy mode up to Python 3.13.

import asyncio


async def work(name, counts):
    while True:
        counts[name] = counts.get(name, 0) + 1
        await asyncio.sleep(0.001)


def finish(loop, counts):
    if min(counts.values()) >= 3:
        loop.stop()
    else:
        loop.call_later(0.001, finish, loop, counts)


loop = asyncio.get_event_loop()
counts = {}
try:
    for name in ("one", "two"):
        loop.create_task(work(name, counts))
    loop.call_later(0.002, finish, loop, counts)
    loop.run_forever()
finally:
    pending = asyncio.all_tasks(loop)
    print("stopping", len(pending), "tasks")
    for task in pending:
        task.cancel()
    ended = loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    print([type(end).__name__ for end in ended])
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
print(sorted(counts), loop.is_closed())
