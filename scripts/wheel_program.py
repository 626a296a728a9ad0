"""A small program over much of asyncio, by which `wheels.py` tries an installed wheel.

    python -m sabio scripts/wheel_program.py

Exits with 0 if all came out as it must. It prints where sabio was imported from, and the kind of loop.
"""

from __future__ import annotations

import asyncio
import sys

import sabio

LINES = [f"line {number}\n".encode() for number in range(100)]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, in capitals."""
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def over_tcp() -> list[bytes]:
    """All lines through a server on loopback."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.writelines(LINES)
        writer.write_eof()
        came = [line async for line in reader]
        writer.close()
        await writer.wait_closed()
    return came


async def through_a_queue() -> int:
    """A sum by way of a queue and two tasks."""
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=3)
    total = 0

    async def take() -> None:
        nonlocal total
        for _ in range(100):
            total += await queue.get()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(take())
        for number in range(100):
            await queue.put(number)
    return total


async def by_a_process() -> bytes:
    """What another interpreter prints of what it is told."""
    code = "import sys; sys.stdout.write(sys.stdin.read()[::-1])"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)
    output, _ = await process.communicate(b"oibas")
    return output


async def main() -> None:
    """Runs all parts side by side."""
    loop = asyncio.get_running_loop()
    thread = asyncio.to_thread(sum, range(10))
    came = tuple(await asyncio.gather(over_tcp(), through_a_queue(), by_a_process(), thread))
    expected = ([line.upper() for line in LINES], 4950, b"sabio", 45)
    if came != expected:
        sys.exit(f"{came} came, and not {expected}")
    print(sabio.__file__)
    print(f"{type(loop).__module__}.{type(loop).__qualname__}")


asyncio.run(main())
