"""Context variables follow tasks, callbacks and threads (PEP 567)."""

import asyncio
import contextvars

request = contextvars.ContextVar("request", default="none")


async def log(message):
    await asyncio.sleep(0)
    print(f"[{request.get()}] {message}")


async def handle(number):
    request.set(f"request {number}")
    await log("start")
    await asyncio.sleep(0.01 * number)
    await asyncio.gather(log("part"), inner(number))
    await log("end")


async def inner(number):
    request.set(f"inner of {number}")
    await log("inner")


def callback():
    print("callback sees", request.get())
    request.set("changed by a callback")


async def main():
    loop = asyncio.get_running_loop()
    await asyncio.gather(handle(1), handle(2))
    print("main sees", request.get())

    request.set("main")
    loop.call_soon(callback)
    await asyncio.sleep(0)
    print("and still", request.get())

    own = contextvars.copy_context()
    own.run(request.set, "own context")
    loop.call_soon(callback, context=own)
    await asyncio.sleep(0)
    print(own[request])
    await asyncio.create_task(log("a task in a context"), context=own)
    print("thread sees", await asyncio.to_thread(request.get))


asyncio.run(main())
