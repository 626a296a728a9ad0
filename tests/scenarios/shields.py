"""What is shielded goes on when who waits for it is cancelled."""

import asyncio


async def commit(log):
    log.append("begin")
    await asyncio.sleep(0.1)
    log.append("commit")
    return "saved"


async def main():
    log = []
    saving = asyncio.create_task(commit(log))
    try:
        await asyncio.wait_for(asyncio.shield(saving), 0.002)
    except TimeoutError:
        print("gave up waiting", log, saving.done())
    print(await saving, log)

    inner = asyncio.create_task(commit(log))

    async def patient():
        while True:
            try:
                return await asyncio.shield(inner)
            except asyncio.CancelledError:
                print("not now")

    outer = asyncio.create_task(patient())
    await asyncio.sleep(0)
    for _ in range(2):
        outer.cancel()
        await asyncio.sleep(0.001)
    print(await outer, inner.cancelled())

    inner = asyncio.create_task(commit(log))
    shielded = asyncio.shield(inner)
    await asyncio.sleep(0)
    inner.cancel()
    try:
        await shielded
    except asyncio.CancelledError:
        print("a shield does not protect from the inside:", shielded.cancelled())
    print(log)


asyncio.run(main())
