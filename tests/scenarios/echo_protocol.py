"""An echo server and client of protocols and transports (asyncio: Transports and protocols)."""

import asyncio


class EchoServer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        print("server: connection from", transport.get_extra_info("peername")[0])

    def data_received(self, data):
        print("server: got", data.decode())
        self.transport.write(data)
        self.transport.close()


class EchoClient(asyncio.Protocol):
    def __init__(self, message, lost):
        self.message = message
        self.lost = lost

    def connection_made(self, transport):
        transport.write(self.message.encode())
        print("client: sent", self.message)

    def data_received(self, data):
        print("client: got", data.decode())

    def eof_received(self):
        print("client: end of file")

    def connection_lost(self, error):
        print("client: connection lost,", error)
        self.lost.set_result(True)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EchoServer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for message in ("first message", "second message"):
        lost = loop.create_future()
        transport, protocol = await loop.create_connection(lambda: EchoClient(message, lost), *address)  # noqa: B023
        await lost
        print(transport.is_closing(), type(protocol).__name__)
    server.close()
    await server.wait_closed()


asyncio.run(main())
