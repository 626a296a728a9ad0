"""Tasks that live and die together (PEP 654, asyncio: Task groups)."""

import asyncio


async def job(name, delay, error=None):
    try:
        await asyncio.sleep(delay)
    except asyncio.CancelledError:
        print(name, "cancelled")
        raise
    if error:
        raise error
    print(name, "done")
    return name


async def main():
    async with asyncio.TaskGroup() as group:
        first = group.create_task(job("first", 0.01))
        second = group.create_task(job("second", 0.005), name="second")
    print(first.result(), second.result(), second.get_name())

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(job("sibling", 60))
            group.create_task(job("bad", 0.005, ValueError("bad luck")))
            group.create_task(job("worse", 0.005, TypeError("worse luck")))
            await asyncio.sleep(60)
    except* ValueError as errors:
        print([str(error) for error in errors.exceptions])
    except* TypeError as errors:
        print([str(error) for error in errors.exceptions])

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(job("of the block", 60))
            await asyncio.sleep(0.001)
            raise KeyError("the block itself")
    except* KeyError as errors:
        print(errors.exceptions)

    async with asyncio.TaskGroup() as outer:
        async with asyncio.TaskGroup() as inner:
            inner.create_task(job("inner", 0.001))
        outer.create_task(job("outer", 0.001))

    try:
        outer.create_task(coroutine := asyncio.sleep(0))
    except RuntimeError as error:
        print(str(error).rpartition(" ")[2])
        coroutine.close()


asyncio.run(main())
