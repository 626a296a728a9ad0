"""Hooks for auditing events (PEP 578) hear of what the loop does with sockets, and may refuse it.

Hooks cannot be taken away again, so each test is a program of its own.
"""

from __future__ import annotations

import pytest

from tests.support.process import output_of

PREAMBLE = """
import os, socket, sys, tempfile

HOST = "127.0.0.1"
heard = []
refused = None
listening = False

def hook(event, args):
    if listening and event in ("socket.bind", "socket.connect", "socket.sendto"):
        heard.append((event, isinstance(args[0], socket.socket), len(args), args[1:]))
        if event == refused:
            raise error

async def listen(used, event=None, raised=PermissionError("refused by the hook")):
    "What is heard while `used` is awaited, and what comes of it."
    global listening, refused, error
    heard.clear()
    listening, refused, error = True, event, raised
    try:
        await used
        outcome = "done"
    except Exception as failure:
        outcome = f"{type(failure).__name__} {failure}"
    finally:
        listening = False
    return outcome

sys.addaudithook(hook)
"""

CONNECTING = (
    PREAMBLE
    + """
async def main():
    loop = asyncio.get_running_loop()
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "socket")
    server = await loop.create_server(asyncio.Protocol, HOST, 0)
    unix_server = await loop.create_unix_server(asyncio.Protocol, path)
    address = server.sockets[0].getsockname()
    open_before = len(os.listdir("/proc/self/fd"))

    async def connect(**options):
        transport, _ = await loop.create_connection(asyncio.Protocol, *address, **options)
        socket = transport.get_extra_info("socket")
        print("connected to the server:", socket.getpeername() == address, socket.gettimeout())
        transport.close()

    async def connect_from_here():
        await connect(local_addr=(HOST, 0))

    async def connect_racing():
        await connect(happy_eyeballs_delay=0.1)

    async def open_connection():
        reader, writer = await asyncio.open_connection(*address)
        writer.close()
        await writer.wait_closed()

    async def connect_unix():
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
        transport.close()

    for use in (connect, connect_from_here, connect_racing, open_connection, connect_unix):
        print(use.__name__)
        print(await listen(use()))
        for event, is_socket, count, rest in heard:
            expected = (address,) if event == "socket.connect" else ((HOST, 0),)
            expected = (path,) if use is connect_unix else expected
            print(event, is_socket, count, rest == expected)
        print(await listen(use(), "socket.connect"))
        if use is not connect_racing:
            # asyncio's race knows errors of the system only.
            print(await listen(use(), "socket.connect", ValueError("refused by the hook")))
        if use is connect_from_here:
            print((await listen(use(), "socket.bind", PermissionError(13, "refused by the hook"))))

    # A name that nobody listens at, and one that does not exist.
    server.close()
    await asyncio.sleep(0.02)
    print((await listen(connect())).partition("[")[0], len(heard))
    os.unlink(path)
    print(await listen(connect_unix()), len(heard))
    unix_server.close()
    await asyncio.sleep(0.05)
    print("left open:", max(0, len(os.listdir("/proc/self/fd")) - open_before))

asyncio.run(main(), **RUN)
"""
)

SENDING = (
    PREAMBLE
    + """
async def main():
    loop = asyncio.get_running_loop()
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((HOST, 0))
    peer.settimeout(5)
    address = peer.getsockname()

    class Told(asyncio.DatagramProtocol):
        def error_received(self, error):
            print("error_received", type(error).__name__, error)

        def connection_lost(self, error):
            print("connection_lost", type(error).__name__, error)

    loop.set_exception_handler(lambda loop, context: print(context["message"]))
    transport, _ = await loop.create_datagram_endpoint(Told, local_addr=(HOST, 0))

    async def send(data):
        transport.sendto(data, address)
        await asyncio.sleep(0.02)

    for _ in range(2):
        print(await listen(send(b"sent")))
        print(peer.recv(10), [(event, *rest[:2], rest[2] == (address,)) for event, *rest in heard])
    print(await listen(send(b"refused"), "socket.sendto"))
    print(await listen(send(b"afterwards")), peer.recv(10))
    print(await listen(send(b"refused"), "socket.sendto", ValueError("refused by the hook")))
    print(transport.is_closing())

    connected, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)

    async def send_there():
        connected.sendto(b"there")
        await asyncio.sleep(0.02)

    print(await listen(send_there()), peer.recv(10), heard)
    connected.close()
    peer.close()

asyncio.run(main(), **RUN)
"""
)


def heard(loop_name: str, code: str) -> list[str]:
    run = "RUN = dict(loop_factory=new_event_loop)\n"
    runner = (
        "if sys.version_info < (3, 12):\n"
        "    def run(main, *, loop_factory):\n"
        "        with asyncio.Runner(loop_factory=loop_factory) as runner:\n"
        "            return runner.run(main)\n"
        "    asyncio.run = run\n"
    )
    return output_of(loop_name, "import sys\n" + run + runner + code)


@pytest.mark.parametrize("code", [CONNECTING, SENDING], ids=["connecting", "sending"])
def test_hooks_hear_of_sockets_and_may_refuse(sabio, code):
    expected = heard("asyncio", code)
    assert any("refused by the hook" in line for line in expected)
    assert heard("sabio", code) == expected


ACCEPTING = """
import socket, sys

made = []
listening = False
sys.addaudithook(lambda event, args: made.append(event) if listening and event == "socket.__new__" else None)

async def main():
    global listening
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    listening = True
    await asyncio.sleep(0.05)
    listening = False
    print(len(made))
    client.close()
    await asyncio.sleep(0.02)
    server.close()

asyncio.run(main(), **RUN)
"""


def test_no_socket_object_is_made_of_an_accepted_connection(sabio):
    assert heard("asyncio", ACCEPTING) == ["1"]
    assert heard("sabio", ACCEPTING) == ["0"]
