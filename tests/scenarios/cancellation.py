"""Cancelling tasks: who hears of it, who may refuse, and what is cleaned up."""

import asyncio


async def polite(log):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as cancelled:
        log.append(f"cancelled with {cancelled.args}")
        raise
    finally:
        await asyncio.sleep(0)
        log.append("cleaned up")


async def stubborn():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
        return "no"


async def outer(inner):
    await inner


async def main():
    log = []
    task = asyncio.create_task(polite(log))
    await asyncio.sleep(0)
    print(task.cancel("time is up"), task.cancelled(), task.cancelling())
    try:
        await task
    except asyncio.CancelledError as cancelled:
        print(cancelled.args, task.cancelled(), task.cancel())
    print(log)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    print(await task, task.cancelled(), task.cancelling())

    never = asyncio.create_task(polite(log))
    never.cancel()
    await asyncio.gather(never, return_exceptions=True)
    print("never started:", never.cancelled(), len(log))

    inner = asyncio.create_task(asyncio.sleep(60))
    chain = asyncio.create_task(outer(asyncio.create_task(outer(inner))))
    await asyncio.sleep(0.001)
    chain.cancel()
    await asyncio.wait([chain])
    print("down the chain:", chain.cancelled(), inner.cancelled())

    future = asyncio.get_running_loop().create_future()
    future.cancel()
    for ask in (future.result, future.exception):
        try:
            ask()
        except asyncio.CancelledError:
            print("a cancelled future has no", ask.__name__)


asyncio.run(main())
