"""A chat room: every line goes to all the others."""

import asyncio


class Room:
    """Who is in, by name."""

    def __init__(self):
        self.writers = {}

    def tell(self, line, but=None):
        for name, writer in self.writers.items():
            if name != but:
                writer.write(line.encode() + b"\n")

    async def serve(self, reader, writer):
        name = (await reader.readline()).decode().strip()
        self.tell(f"* {name} came")
        self.writers[name] = writer
        writer.write(f"* {len(self.writers)} here\n".encode())
        try:
            async for line in reader:
                self.tell(f"{name}: {line.decode().strip()}", but=name)
        finally:
            del self.writers[name]
            self.tell(f"* {name} left")
            writer.close()


class Guest:
    """A client that knows what it waits for."""

    async def enter(self, port, name):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.name = name
        self.writer.write(name.encode() + b"\n")
        await self.hear()

    async def hear(self, lines=1):
        for _ in range(lines):
            print(f"{self.name:>5} hears:", (await self.reader.readline()).decode().strip())

    def say(self, text):
        self.writer.write(text.encode() + b"\n")

    async def leave(self):
        self.writer.close()
        await self.writer.wait_closed()


async def main():
    room = Room()
    server = await asyncio.start_server(room.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ada, bob, cleo = Guest(), Guest(), Guest()
    await ada.enter(port, "ada")
    await bob.enter(port, "bob")
    await ada.hear()
    await cleo.enter(port, "cleo")
    await ada.hear()
    await bob.hear()
    ada.say("hello")
    await bob.hear()
    await cleo.hear()
    await bob.leave()
    await ada.hear()
    await cleo.hear()
    await ada.leave()
    await cleo.hear()
    await cleo.leave()
    server.close()
    while room.writers:
        await asyncio.sleep(0.001)
    print("empty")


asyncio.run(main())
