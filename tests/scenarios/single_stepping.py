"""One turn of the loop at a time: what is ready now runs, what that makes ready waits for the next turn."""

import asyncio

loop = asyncio.new_event_loop()
log = []


def step():
    """Run what is ready, once."""
    log.clear()
    loop.stop()
    loop.run_forever()
    print(log)


def chain(name, left):
    log.append(name + str(left))
    if left:
        loop.call_soon(chain, name, left - 1)


async def worker(name):
    for turn in range(3):
        log.append(f"{name} {turn}")
        await asyncio.sleep(0)
    return name


async def parent():
    log.append("parent")
    result = await loop.create_task(worker("child"))
    log.append(f"parent got {result}")


print("callbacks")
loop.call_soon(chain, "a", 2)
loop.call_soon(chain, "b", 1)
for _ in range(4):
    step()

print("tasks")
first, second = loop.create_task(worker("x")), loop.create_task(worker("y"))
for _ in range(5):
    step()
print(first.done(), second.result())

print("a task that waits for a task")
loop.create_task(parent())
for _ in range(7):
    step()

print("futures")
future = loop.create_future()
future.add_done_callback(lambda done: log.append(f"callback: {done.result()}"))
step()
future.set_result("set")
log.append("never seen: cleared by the step")
step()
loop.close()
