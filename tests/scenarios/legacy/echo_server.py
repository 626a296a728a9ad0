"""The echo server of the documentation of Python 3.5, and a client of its time."""

import asyncio


@asyncio.coroutine
def handle_echo(reader, writer):
    data = yield from reader.read(100)
    message = data.decode()
    print("server received", repr(message))
    writer.write(data)
    yield from writer.drain()
    print("server closes the connection")
    writer.close()


@asyncio.coroutine
def echo_client(message, port, loop):
    reader, writer = yield from asyncio.open_connection("127.0.0.1", port, loop=loop)
    writer.write(message.encode())
    data = yield from reader.read(100)
    print("client received", repr(data.decode()))
    writer.close()


loop = asyncio.get_event_loop()
server = loop.run_until_complete(asyncio.start_server(handle_echo, "127.0.0.1", 0, loop=loop))
port = server.sockets[0].getsockname()[1]
for message in ("Hello World!", "and again"):
    loop.run_until_complete(echo_client(message, port, loop))
server.close()
loop.run_until_complete(server.wait_closed())
loop.close()
