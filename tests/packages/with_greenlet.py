"""greenlet: stacks that are switched in the middle of callbacks and of steps of tasks, and two loops on one thread."""

import asyncio
import sys

import greenlet


def switched_in_callbacks():
    """The loop runs in a stack of its own; callbacks leave it, and come back into it."""
    loop = asyncio.new_event_loop()
    said = []
    main = greenlet.getcurrent()

    def callback(number):
        said.append(("left", number))
        said.append(("back with", main.switch(number)))
        if number == 4:
            loop.stop()

    async def task():
        for number in range(3):
            said.append(("task back with", main.switch(f"task {number}")))
            await asyncio.sleep(0)

    async def echo():
        async def serve(reader, writer):
            main.switch("serving")
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"through another stack\n")
        said.append(await reader.readline())
        writer.close()
        server.close()

    def hub():
        jobs = [loop.create_task(task()), loop.create_task(echo())]
        for number in range(5):
            loop.call_later(0.001 * number, callback, number)
        loop.run_forever()
        loop.run_until_complete(asyncio.gather(*jobs))
        return "ended"

    running = greenlet.greenlet(hub)
    given = running.switch()
    while not running.dead:
        given = running.switch(given)
    print(given, sorted(map(repr, said)))
    loop.close()


def put_aside():
    """What of the running loop has to be hidden from other stacks: what to call to bring it back."""
    loop = asyncio.events._get_running_loop()
    task = asyncio.current_task(loop) if loop is not None else None
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    asyncio.events._set_running_loop(None)

    def bring_back():
        asyncio.events._set_running_loop(loop)
        if task is not None:
            asyncio.tasks._enter_task(loop, task)

    return bring_back


def two_loops():
    """Two loops, each in a stack of its own, that take turns in the middle of steps."""
    stacks = []
    said = [[], []]

    def other(which):
        bring_back = put_aside()
        target = stacks[1 - which]
        if not target.dead:
            target.switch()
        bring_back()

    async def work(which, number, queue):
        for turn in range(5):
            other(which)
            await asyncio.sleep(0)
            await queue.put((number, turn))
            other(which)
            said[which].append(await queue.get())
            assert asyncio.current_task().get_name() == f"{which} {number}"

    async def several(which):
        queue = asyncio.Queue(2)
        tasks = [
            asyncio.create_task(work(which, number, queue), name=f"{which} {number}") for number in range(4)
        ]
        await asyncio.gather(*tasks)

    def run(which):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(several(which))
        loop.close()
        return which

    main = greenlet.getcurrent()
    stacks.extend(greenlet.greenlet(lambda which=which: run(which), main) for which in (0, 1))
    while not all(stack.dead for stack in stacks):
        next(stack for stack in stacks if not stack.dead).switch()
    print([sorted(heard) for heard in said])


def a_loop_in_a_step():
    """A loop that begins to run in the middle of another's step, as that step does not hide."""
    told = []
    outer, inner = asyncio.new_event_loop(), asyncio.new_event_loop()
    inner.set_exception_handler(lambda loop, context: told.append(repr(context["exception"])[:37]))

    async def work():
        told.append("worked")

    async def step():
        asyncio.events._set_running_loop(None)
        task = inner.create_task(work())
        inner.call_later(0.01, inner.stop)
        inner.run_forever()
        if not task.done():
            task._log_destroy_pending = False
            task.get_coro().close()
        asyncio.events._set_running_loop(outer)
        return asyncio.current_task() is not None

    print(outer.run_until_complete(step()), told)
    outer.close()
    inner.close()


async def main():
    bring_back = put_aside()
    try:
        switched_in_callbacks()
        if sys.version_info >= (3, 14):
            two_loops()
        a_loop_in_a_step()
    finally:
        bring_back()


if __name__ == "__main__":
    asyncio.run(main())
