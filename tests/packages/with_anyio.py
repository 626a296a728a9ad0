"""anyio on its asyncio backend: task groups, cancel scopes, streams, locks, threads both ways and TCP."""

import asyncio

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute


async def streams_and_task_groups():
    received = []
    async with anyio.create_task_group() as group:
        sender, receiver = anyio.create_memory_object_stream(2)

        async def produce():
            async with sender:
                for number in range(5):
                    await sender.send(number)

        async def consume():
            async with receiver:
                async for number in receiver:
                    received.append(number)

        group.start_soon(produce)
        group.start_soon(consume)
    print("received", received)

    async def start(task_status):
        task_status.started("ready")
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        print("started", await group.start(start))


async def cancel_scopes():
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep(60)
    print("moved on", scope.cancelled_caught)
    try:
        with anyio.fail_after(0.01):
            await anyio.Event().wait()
    except TimeoutError:
        print("failed after the time")
    with anyio.move_on_after(0.01) as outer, anyio.CancelScope(shield=True):
        await anyio.sleep(0.03)
        print("the shielded block goes on")
    print("cancelled outside", outer.cancel_called)

    async def fail():
        raise ValueError("from a child")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(fail)
    except BaseExceptionGroup as errors:
        print("group", [str(error) for error in errors.exceptions])


async def locks():
    lock, semaphore, limiter, condition = (
        anyio.Lock(),
        anyio.Semaphore(2),
        anyio.CapacityLimiter(1),
        anyio.Condition(),
    )
    order = []

    async def wait(name):
        async with lock, semaphore, limiter:
            order.append(name)
            await anyio.lowlevel.checkpoint()
        async with condition:
            await condition.wait()

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(wait, name)
        await anyio.wait_all_tasks_blocked()
        async with condition:
            print("waiting", condition.statistics().tasks_waiting)
            condition.notify_all()
    print("order", order)


async def threads():
    print("thread", await anyio.to_thread.run_sync(lambda: 5))
    await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(anyio.sleep, 0))

    async def answer():
        await anyio.lowlevel.checkpoint()
        return 42

    def use_portal():
        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(answer)

    print("portal", await anyio.to_thread.run_sync(use_portal))


async def connections():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:

        async def echo(client):
            async with client:
                await client.send(await client.receive())

        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            port = listener.extra(SocketAttribute.local_port)
            async with await anyio.connect_tcp("127.0.0.1", port) as client:
                await client.send(b"over TCP")
                print("echo", await client.receive())
            group.cancel_scope.cancel()


async def main():
    await streams_and_task_groups()
    await cancel_scopes()
    await locks()
    await threads()
    await connections()


if __name__ == "__main__":
    asyncio.run(main())
