"""Checks of websockets for `make packages`: its asyncio server and client, the legacy ones, and the one of threads.

Both ends are real and talk over loopback, a Unix socket or TLS. Nothing here knows what the loop is.
"""

import asyncio
import contextlib
import functools
import http
import ssl
import threading
import warnings

import pytest
import trustme
from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.server import basic_auth, broadcast, serve, unix_serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import connect as connect_of_threads
from websockets.sync.server import serve as serve_by_threads

HOST = "127.0.0.1"
SECONDS = 30


def on_a_loop(body):
    """Has the coroutine function run by `asyncio.run`, within a bound of time."""

    @functools.wraps(body)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(body(*args, **kwargs), SECONDS))

    # pytest asks for the fixtures of what is wrapped, and does not want a coroutine function.
    return run


async def echo(connection):
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def serving(handler=echo, **options):
    """A server on a free port; gives it and its address."""
    async with serve(handler, HOST, 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        yield server, f"{'wss' if 'ssl' in options else 'ws'}://localhost:{port}/"


@pytest.fixture(scope="module")
def contexts():
    """TLS for a server on localhost, and for its client."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@on_a_loop
async def test_messages_come_back_in_order():
    async with serving() as (_, address), connect(address) as connection:
        for number in range(200):
            await connection.send(f"text {number}")
            await connection.send(b"bytes %d" % number)
        got = [await connection.recv() for _ in range(400)]
    assert got[::2] == [f"text {number}" for number in range(200)]
    assert got[1::2] == [b"bytes %d" % number for number in range(200)]


@pytest.mark.parametrize("compression", [None, "deflate"])
@on_a_loop
async def test_large_messages(compression):
    options = {"max_size": None, "compression": compression}
    async with serving(**options) as (_, address), connect(address, **options) as connection:
        for size in (0, 125, 126, 65535, 65536, 5_000_000):
            message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            await connection.send(message)
            assert await connection.recv() == message


@on_a_loop
async def test_fragments_are_sent_and_received():
    async with serving() as (_, address), connect(address) as connection:

        async def parts():
            for part in ("one ", "two ", "three"):
                await asyncio.sleep(0)
                yield part

        await connection.send(parts())
        assert await connection.recv() == "one two three"
        await connection.send(["a", "b", "c"])
        assert "".join([part async for part in connection.recv_streaming()]) == "abc"


@on_a_loop
async def test_many_connections_at_once():
    async with serving() as (server, address):

        async def talk(number):
            async with connect(address) as connection:
                for turn in range(10):
                    await connection.send(f"{number} {turn}")
                    assert await connection.recv() == f"{number} {turn}"
            return number

        assert await asyncio.gather(*map(talk, range(60))) == list(range(60))
        assert len(server.connections) <= 60


@on_a_loop
async def test_broadcast_reaches_everyone():
    arrived = asyncio.Semaphore(0)

    async def wait(connection):
        arrived.release()
        await connection.wait_closed()

    async with serving(wait) as (server, address), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(address)) for _ in range(20)]
        for _ in clients:
            await arrived.acquire()
        broadcast(server.connections, "to all")
        assert await asyncio.gather(*(client.recv() for client in clients)) == ["to all"] * 20


@on_a_loop
async def test_ping_is_answered_while_messages_flow():
    async with serving() as (_, address), connect(address) as connection:
        answer = await connection.ping(b"are you there")
        await connection.send("a message")
        assert await answer >= 0
        assert await connection.recv() == "a message"
        assert connection.latency >= 0


@on_a_loop
async def test_silent_peer_is_given_up():
    done = asyncio.Event()

    async def silence(connection):
        # Pings are not even seen.
        connection.transport.pause_reading()
        await done.wait()

    async with serving(silence, ping_interval=None, close_timeout=0.01) as (_, address):
        async with connect(address, ping_interval=0.02, ping_timeout=0.05, close_timeout=0.05) as connection:
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.recv()
            assert caught.value.sent.code == CloseCode.INTERNAL_ERROR
            assert "ping timeout" in caught.value.sent.reason
        done.set()


@on_a_loop
async def test_codes_and_reasons_of_closing():
    async def close(connection):
        await connection.close(4000 + len(await connection.recv()), "so it is")

    async with serving(close) as (_, address):
        async with connect(address) as connection:
            await connection.send("abc")
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4003, "so it is")
        assert (connection.close_code, connection.close_reason) == (4003, "so it is")
    async with serving() as (_, address):
        async with connect(address) as connection:
            pass
        assert connection.close_code == CloseCode.NORMAL_CLOSURE
        with pytest.raises(ConnectionClosedOK):
            await connection.send("too late")


@on_a_loop
async def test_error_in_the_handler_is_told():
    async def fail(connection):
        raise ArithmeticError("as meant")

    async with serving(fail) as (_, address), connect(address) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.recv()
    assert caught.value.rcvd.code == CloseCode.INTERNAL_ERROR


@on_a_loop
async def test_peer_that_vanishes():
    gone = asyncio.get_running_loop().create_future()

    async def handler(connection):
        try:
            await connection.recv()
        except ConnectionClosed as error:
            gone.set_result((error.rcvd, connection.close_code))

    async with serving(handler) as (_, address), connect(address) as connection:
        connection.transport.abort()
        assert await gone == (None, CloseCode.ABNORMAL_CLOSURE)


@on_a_loop
async def test_message_that_is_too_long_is_refused():
    async with serving(max_size=1000) as (_, address), connect(address) as connection:
        await connection.send("x" * 1001)
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.recv()
    assert caught.value.rcvd.code == CloseCode.MESSAGE_TOO_BIG


@on_a_loop
async def test_receiving_can_be_cancelled():
    async with serving() as (_, address), connect(address) as connection:
        for number in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await connection.recv()
            await connection.send(str(number))
            assert await connection.recv() == str(number)


@on_a_loop
async def test_slow_reader_holds_the_sender_up():
    sent = []

    async def flood(connection):
        for number in range(300):
            await connection.send(b"%03d" % number + bytes(50_000))
            sent.append(number)

    plain = {"compression": None}
    async with serving(flood, **plain) as (_, address), connect(address, max_queue=4, **plain) as connection:
        await asyncio.sleep(0.2)
        assert len(sent) < 300  # 15 MB fit into no buffer on the way
        numbers = [int((await connection.recv())[:3]) for _ in range(300)]
    assert numbers == list(range(300))


@on_a_loop
async def test_requests_are_answered_before_and_after():
    def before(connection, request):
        if request.path == "/health":
            return connection.respond(http.HTTPStatus.OK, "well\n")
        return None

    def after(connection, request, response):
        response.headers["X-Seen"] = request.headers.get("X-Sent", "nothing")

    options = {"process_request": before, "process_response": after, "subprotocols": ["chat"]}
    async with serving(**options) as (_, address):
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{address}health")
        assert (caught.value.response.status_code, caught.value.response.body) == (200, b"well\n")
        headers = {"X-Sent": "hello"}
        async with connect(
            address, additional_headers=headers, subprotocols=["superchat", "chat"]
        ) as connection:
            assert connection.response.headers["X-Seen"] == "hello"
            assert connection.subprotocol == "chat"


@on_a_loop
async def test_basic_authentication():
    check = basic_auth(realm="here", credentials=("me", "secret"))
    async with serving(process_request=check) as (_, address):
        with pytest.raises(InvalidStatus) as caught:
            await connect(address)
        assert caught.value.response.status_code == http.HTTPStatus.UNAUTHORIZED
        async with connect(address.replace("ws://", "ws://me:secret@")) as connection:
            await connection.send("let in")
            assert await connection.recv() == "let in"


@on_a_loop
async def test_tls(contexts):
    server_context, client_context = contexts
    async with serving(ssl=server_context, max_size=None) as (_, address):
        async with connect(address, ssl=client_context, max_size=None) as connection:
            for size in (1, 20_000, 2_000_000):
                await connection.send(bytes(size))
                assert await connection.recv() == bytes(size)
            assert connection.transport.get_extra_info("peercert")["subjectAltName"] == (
                ("DNS", "localhost"),
            )
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(address)


@on_a_loop
async def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    async with unix_serve(echo, path), unix_connect(path) as connection:
        await connection.send("over a path")
        assert await connection.recv() == "over a path"


@on_a_loop
async def test_client_connects_again_and_again():
    async def once(connection):
        await connection.send("one")
        await connection.close(CloseCode.GOING_AWAY)

    got = []
    async with serving(once) as (_, address):
        async for connection in connect(address):
            with contextlib.suppress(ConnectionClosed):
                async for message in connection:
                    got.append(message)
            if len(got) == 5:
                break
    assert got == ["one"] * 5


@on_a_loop
async def test_server_that_closes_tells_its_clients():
    async with contextlib.AsyncExitStack() as stack:
        async with serving() as (server, address):
            clients = [await stack.enter_async_context(connect(address)) for _ in range(10)]
            server.close()
            await server.wait_closed()
        for client in clients:
            await client.wait_closed()
            assert client.close_code == CloseCode.GOING_AWAY
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://{HOST}:{address.rpartition(':')[2]}")


@on_a_loop
async def test_opening_has_a_limit():
    stuck = asyncio.Event()

    async def never(reader, writer):
        await stuck.wait()
        writer.close()

    server = await asyncio.start_server(never, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(TimeoutError):
        await connect(f"ws://{HOST}:{port}", open_timeout=0.1)
    stuck.set()
    server.close()
    await server.wait_closed()


@on_a_loop
async def test_client_of_threads_and_server_of_the_loop():
    def talk(address):
        with connect_of_threads(address) as connection:
            connection.send("from a thread")
            return connection.recv(timeout=SECONDS)

    async with serving() as (_, address):
        said = await asyncio.gather(*(asyncio.to_thread(talk, address) for _ in range(8)))
    assert said == ["from a thread"] * 8


@on_a_loop
async def test_client_of_the_loop_and_server_of_threads():
    def handler(connection):
        for message in connection:
            connection.send(message)

    with serve_by_threads(handler, HOST, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            async with connect(f"ws://{HOST}:{server.socket.getsockname()[1]}") as connection:
                await connection.send("to a thread")
                assert await connection.recv() == "to a thread"
        finally:
            server.shutdown()
            await asyncio.to_thread(thread.join)


@on_a_loop
async def test_legacy_server_and_client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from websockets.legacy.client import connect as old_connect
        from websockets.legacy.server import serve as old_serve

        async with old_serve(echo, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with old_connect(f"ws://{HOST}:{port}") as connection:
                for size in (1, 1000, 100_000):
                    await connection.send("x" * size)
                    assert await connection.recv() == "x" * size
                await (await connection.ping())
            assert connection.close_code == CloseCode.NORMAL_CLOSURE
            # Old and new understand each other.
            async with connect(f"ws://{HOST}:{port}") as connection:
                await connection.send("new to old")
                assert await connection.recv() == "new to old"
