"""A line server and its clients, with streams (asyncio: Streams)."""

import asyncio


async def handle(reader, writer):
    while line := await reader.readline():
        words = line.decode().split()
        if words[:1] == ["sum"]:
            writer.write(f"{sum(map(int, words[1:]))}\n".encode())
        elif words == ["big"]:
            writer.writelines([b"x" * 100_000, b"\n"])
        elif words == ["quit"]:
            break
        else:
            writer.write(line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(port, *lines):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for line in lines:
        writer.write(line + b"\n")
        await writer.drain()
        answers.append((await reader.readuntil(b"\n")).rstrip())
    writer.write(b"quit\n")
    rest = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answers, rest, reader.at_eof()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=2**20)
    port = server.sockets[0].getsockname()[1]
    async with server:
        talks = (talk(port, b"hello %d" % n, b"sum 1 2 %d" % n) for n in range(3))
        for answers, rest, ended in await asyncio.gather(*talks):
            print(answers, rest, ended)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        writer.write(b"big\n")
        print(len(await reader.readexactly(100_001)))
        writer.write_eof()
        try:
            await reader.readexactly(10)
        except asyncio.IncompleteReadError as error:
            print("ended after", error.partial, "of", error.expected)
        writer.close()
        await writer.wait_closed()

        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64)
        writer.write(b"y" * 200 + b"\n")
        try:
            await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            print("too long a line, but", len(await reader.readexactly(201)), "bytes")
        writer.write_eof()
        print(await reader.read())
        writer.close()
        await writer.wait_closed()
    print(server.is_serving())


asyncio.run(main())
