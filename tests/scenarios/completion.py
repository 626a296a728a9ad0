"""Results in the order in which they come, and callbacks when they do."""

import asyncio


async def fetch(name, delay):
    await asyncio.sleep(delay)
    if name == "broken":
        raise OSError(f"{name} failed")
    return f"{name} in {delay}"


def report(task):
    outcome = "cancelled" if task.cancelled() else task.exception() or task.result()
    print("  callback:", task.get_name(), "->", outcome)


async def main():
    jobs = [fetch("slow", 0.03), fetch("fast", 0.01), fetch("broken", 0.02)]
    for earliest in asyncio.as_completed(jobs):
        try:
            print(await earliest)
        except OSError as error:
            print(error)

    tasks = [
        asyncio.create_task(fetch(n, d), name=n) for n, d in (("one", 0.01), ("broken", 0.02), ("late", 60))
    ]
    for task in tasks:
        task.add_done_callback(report)
    done, pending = await asyncio.wait(tasks, timeout=0.04)
    print(len(done), "done,", len(pending), "pending")
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)

    try:
        for earliest in asyncio.as_completed(
            [asyncio.sleep(60), asyncio.sleep(0.001, "quick")], timeout=0.02
        ):
            print(await earliest)
    except TimeoutError:
        print("the other one takes too long")


asyncio.run(main())
