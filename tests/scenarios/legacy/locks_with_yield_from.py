"""Locks held by `with (yield from lock):`."""

import asyncio


@asyncio.coroutine
def enter(lock, name, log):
    log.append(name + " wants in")
    with (yield from lock):
        log.append(name + " in")
        yield from asyncio.sleep(0.001)
    log.append(name + " out")


@asyncio.coroutine
def consume(condition, basket):
    with (yield from condition):
        yield from condition.wait_for(lambda: basket)
        return basket.pop()


@asyncio.coroutine
def produce(condition, basket):
    yield from asyncio.sleep(0.001)
    with (yield from condition):
        basket.append("apple")
        condition.notify()


async def newer(lock):
    with await lock:
        return lock.locked()


loop = asyncio.get_event_loop()
log = []
lock = asyncio.Lock()
loop.run_until_complete(asyncio.gather(enter(lock, "a", log), enter(lock, "b", log)))
print(log, lock.locked())
limit, log = asyncio.Semaphore(2), []
loop.run_until_complete(asyncio.gather(*[enter(limit, name, log) for name in "xyz"]))
print(log)
condition, basket = asyncio.Condition(), []
print(loop.run_until_complete(asyncio.gather(consume(condition, basket), produce(condition, basket))))
print(loop.run_until_complete(newer(lock)), lock.locked())
loop.close()
