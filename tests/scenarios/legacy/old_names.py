"""Names that asyncio no longer has."""

import asyncio

start = getattr(asyncio, "async", None) or asyncio.ensure_future


@asyncio.coroutine
def worker(queue, results):
    while True:
        item = yield from queue.get()
        results.append(item)
        queue.task_done()


@asyncio.coroutine
def main(loop):
    queue, results = asyncio.JoinableQueue(loop=loop), []
    for item in range(4):
        queue.put_nowait(item)
    task = start(worker(queue, results), loop=loop)
    yield from queue.join()
    print(sorted(results), task in asyncio.Task.all_tasks(), asyncio.Task.current_task() is task)
    for each in asyncio.Task.all_tasks(loop=loop):
        if each is not asyncio.Task.current_task(loop=loop):
            each.cancel()
    try:
        yield from task
    except asyncio.futures.CancelledError:
        print("cancelled", isinstance(task, asyncio.Task))


loop = asyncio.get_event_loop()
loop.run_until_complete(main(loop))
loop.close()
