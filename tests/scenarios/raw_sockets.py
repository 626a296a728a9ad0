"""Sockets without transports: the loop's sock methods, readers and writers."""

import asyncio
import socket


async def echo(connection):
    loop = asyncio.get_running_loop()
    with connection:
        while data := await loop.sock_recv(connection, 1024):
            await loop.sock_sendall(connection, data.upper())


async def serve(listener):
    loop = asyncio.get_running_loop()
    connections = []
    try:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connections.append(asyncio.create_task(echo(connection)))
    finally:
        print("served", len(connections))


async def main():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        server = asyncio.create_task(serve(listener))
        for word in (b"one", b"two"):
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, listener.getsockname())
                await loop.sock_sendall(client, word)
                buffer = bytearray(16)
                size = await loop.sock_recv_into(client, buffer)
                print(bytes(buffer[:size]))
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)

    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        readable = loop.create_future()
        loop.add_reader(left, lambda: readable.done() or readable.set_result(left.recv(100)))
        loop.call_later(0.002, right.send, b"ping")
        print(await readable, loop.remove_reader(left), loop.remove_reader(left))
        writable = loop.create_future()
        loop.add_writer(right, lambda: writable.done() or writable.set_result("writable"))
        print(await writable, loop.remove_writer(right))


asyncio.run(main())
