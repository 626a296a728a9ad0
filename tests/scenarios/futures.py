"""Futures by hand: results from callbacks."""

import asyncio


def show(future):
    print("callback", future.result())


async def wait_for(future, name):
    print(name, "got", await future)


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    future.add_done_callback(show)
    future.add_done_callback(removed := lambda _future: print("never"))
    print("removed", future.remove_done_callback(removed))
    tasks = [asyncio.create_task(wait_for(future, name)) for name in ("first", "second")]
    loop.call_later(0.002, future.set_result, "a result")
    print(future.done(), asyncio.isfuture(future), asyncio.isfuture(tasks[0]), asyncio.isfuture(42))
    try:
        future.result()
    except asyncio.InvalidStateError as error:
        print(type(error).__name__, error)
    await asyncio.gather(*tasks)
    try:
        future.set_result("another")
    except asyncio.InvalidStateError:
        print("it has one already:", await future)

    failed = loop.create_future()
    failed.set_exception(ValueError("no result"))
    try:
        await failed
    except ValueError as error:
        print(error, failed.exception() is error)
    own = asyncio.Future()
    own.add_done_callback(lambda done: print("added when", done.result()))
    own.set_result("it was done later")
    await asyncio.sleep(0)
    own.add_done_callback(lambda done: print("and afterwards"))
    await asyncio.sleep(0)
    print(await asyncio.ensure_future(own) is own.result(), own.get_loop() is loop)


asyncio.run(main())
