"""Coroutines as they were written for Python 3.4: marked generators that wait with `yield from`."""

import asyncio


@asyncio.coroutine
def factorial(name, number):
    result = 1
    for factor in range(2, number + 1):
        yield from asyncio.sleep(0.001)
        result *= factor
    print("task", name, "factorial", number, "=", result)
    return result


@asyncio.coroutine
def not_a_generator():
    return "a value"


@asyncio.coroutine
def fail():
    yield from asyncio.sleep(0)
    raise ValueError("out of a generator")


@asyncio.coroutine
def outer():
    values = yield from asyncio.gather(factorial("C", 3), not_a_generator())
    try:
        yield from fail()
    except ValueError as error:
        print("caught", error)
    return values


class Counter:
    def __init__(self):
        self.count = 0

    @asyncio.coroutine
    def tick(self, times):
        for _ in range(times):
            self.count += 1
            yield
        return self.count


loop = asyncio.get_event_loop()
tasks = [asyncio.ensure_future(factorial("A", 2)), asyncio.ensure_future(factorial("B", 4))]
loop.run_until_complete(asyncio.wait(tasks))
print([task.result() for task in tasks])
print(loop.run_until_complete(outer()))
print(loop.run_until_complete(asyncio.wait_for(Counter().tick(3), 10)))
print(asyncio.iscoroutinefunction(factorial), asyncio.iscoroutine(outer()))
loop.close()
