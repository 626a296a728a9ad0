"""Several runs on one loop, and what each leaves behind (asyncio: Runners)."""

import asyncio
import contextvars

variable = contextvars.ContextVar("variable", default="unset")


async def set_variable(value):
    before = variable.get()
    variable.set(value)
    return before, asyncio.get_running_loop()


async def leave_a_task_behind(log):
    async def forgotten():
        try:
            await asyncio.sleep(60)
        finally:
            log.append("the forgotten task was cancelled")

    asyncio.create_task(forgotten(), name="forgotten")
    await asyncio.sleep(0)
    return sorted(task.get_name() == "forgotten" for task in asyncio.all_tasks())


async def fail():
    raise LookupError("out of run()")


with asyncio.Runner() as runner:
    first, loop = runner.run(set_variable("one"))
    second, same = runner.run(set_variable("two"))
    print(first, second, loop is same is runner.get_loop())
    print(runner.run(set_variable("three"), context=contextvars.Context())[0])
print(loop.is_closed(), variable.get())

log = []
print(asyncio.run(leave_a_task_behind(log)), log)
try:
    asyncio.run(fail())
except LookupError as error:
    print(error)


async def nested():
    coroutine = fail()
    try:
        asyncio.run(coroutine)
    except RuntimeError as error:
        coroutine.close()
        print("no:", str(error).partition("cannot")[2])


asyncio.run(nested())
