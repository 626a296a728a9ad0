"""Checks of grpc.aio for `make packages`: its server and its client, which talk over loopback.

The library does its input and output in threads of its own and wakes the loop through a socket. Messages are bytes, so
that no code has to be generated. Nothing here knows what the loop is.
"""

import asyncio
import contextlib
import functools

import grpc
import pytest
import trustme
from grpc import StatusCode, aio

HOST = "127.0.0.1"
SECONDS = 30
SERVICE = "checks.Service"


def on_a_loop(body):
    """Has the coroutine function run by `asyncio.run`, within a bound of time."""

    @functools.wraps(body)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(body(*args, **kwargs), SECONDS))

    return run


class Service:
    """What the server can do, and what it has seen."""

    def __init__(self):
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def echo(self, request, context):
        return request

    async def sleep(self, request, context):
        self.entered.set()
        try:
            await asyncio.sleep(float(request))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b"slept"

    async def held(self, request, context):
        self.entered.set()
        await self.go_on.wait()
        return request

    async def fail(self, request, context):
        if request == b"abort":
            await context.abort(StatusCode.NOT_FOUND, "not here", (("why", "because"),))
        if request == b"code":
            context.set_code(StatusCode.DATA_LOSS)
            context.set_details("lost")
            return b""
        raise ArithmeticError("as meant")

    async def metadata(self, request, context):
        sent = dict(context.invocation_metadata())
        await context.send_initial_metadata((("first", sent["mine"]),))
        context.set_trailing_metadata((("last-bin", b"\0\xff"),))
        return context.peer().partition(":")[0].encode()

    async def count(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    async def flood(self, request, context):
        try:
            while True:
                await context.write(bytes(10_000))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def add(self, requests, context):
        return b"%d" % sum([int(request) async for request in requests])

    async def shout(self, requests, context):
        async for request in requests:
            yield request.upper()

    async def shout_by_hand(self, requests, context):
        while (request := await context.read()) is not aio.EOF:
            await context.write(request.upper())

    def of_threads(self, request, context):
        return request[::-1]


KINDS = {
    "unary_unary": ("echo", "sleep", "held", "fail", "metadata", "of_threads"),
    "unary_stream": ("count", "flood"),
    "stream_unary": ("add",),
    "stream_stream": ("shout", "shout_by_hand"),
}


class Client:
    """A channel and the methods of the service that it leads to."""

    def __init__(self, channel):
        self.channel = channel
        for kind, names in KINDS.items():
            for name in names:
                setattr(self, name, getattr(channel, kind)(f"/{SERVICE}/{name}"))


@contextlib.asynccontextmanager
async def a_server(credentials=None, grace=None, **options):
    """A server on a free port; gives it, its service and its address."""
    service = Service()
    server = aio.server(**options)
    handlers = {
        name: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(service, name))
        for kind, names in KINDS.items()
        for name in names
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if credentials is None:
        port = server.add_insecure_port(f"{HOST}:0")
    else:
        port = server.add_secure_port(f"{HOST}:0", credentials)
    await server.start()
    try:
        yield server, service, f"localhost:{port}"
    finally:
        await server.stop(grace)


@contextlib.asynccontextmanager
async def serving(**options):
    """A server and a client of it; gives the client and the service."""
    async with a_server(**options) as (_, service, address), aio.insecure_channel(address) as channel:
        yield Client(channel), service


@on_a_loop
async def test_calls_one_after_the_other():
    async with serving() as (client, _):
        for number in range(200):
            assert await client.echo(b"%d" % number) == b"%d" % number


@on_a_loop
async def test_many_calls_at_once():
    async with serving() as (client, _):
        asked = [b"%d" % number for number in range(500)]
        assert await asyncio.gather(*map(client.echo, asked)) == asked


@on_a_loop
async def test_many_channels_at_once():
    async with a_server() as (_, _, address):

        async def talk(number):
            async with aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                return await Client(channel).echo(b"%d" % number)

        assert await asyncio.gather(*map(talk, range(20))) == [b"%d" % number for number in range(20)]


@on_a_loop
async def test_large_messages():
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with a_server(options=limits) as (_, _, address), aio.insecure_channel(address, limits) as channel:
        for size in (0, 1, 65536, 10_000_000):
            assert await Client(channel).echo(bytes(size)) == bytes(size)


@on_a_loop
async def test_message_that_is_too_long_is_refused():
    async with serving(options=[("grpc.max_receive_message_length", 1000)]) as (client, _):
        with pytest.raises(aio.AioRpcError) as caught:
            await client.echo(bytes(1001))
        assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert await client.echo(bytes(1000)) == bytes(1000)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@on_a_loop
async def test_compression(compression):
    async with serving(compression=compression) as (client, _):
        assert await client.echo(bytes(100_000), compression=compression) == bytes(100_000)


@on_a_loop
async def test_stream_of_answers():
    async with serving() as (client, _):
        assert [int(answer) async for answer in client.count(b"1000")] == list(range(1000))
        call = client.count(b"3")
        assert [await call.read() for _ in range(3)] == [b"0", b"1", b"2"]
        assert await call.read() is aio.EOF
        assert await call.code() is StatusCode.OK


@on_a_loop
async def test_stream_of_requests():
    async def numbers():
        for number in range(1000):
            yield b"%d" % number

    async with serving() as (client, _):
        assert await client.add(numbers()) == b"%d" % sum(range(1000))
        assert await client.add([b"1", b"2"]) == b"3"
        call = client.add()
        for number in range(10):
            await call.write(b"%d" % number)
        await call.done_writing()
        assert await call == b"45"


@pytest.mark.parametrize("method", ["shout", "shout_by_hand"])
@on_a_loop
async def test_streams_in_both_directions(method):
    async with serving() as (client, _):
        call = getattr(client, method)()
        for number in range(100):
            await call.write(b"number %d" % number)
            assert await call.read() == b"NUMBER %d" % number
        await call.done_writing()
        assert await call.read() is aio.EOF

        async def talk(number):
            words = [b"a%d" % number, b"b%d" % number]
            return [answer async for answer in getattr(client, method)(iter(words))]

        said = await asyncio.gather(*map(talk, range(50)))
        assert said == [[b"A%d" % number, b"B%d" % number] for number in range(50)]


@on_a_loop
async def test_errors_of_the_service():
    async with serving() as (client, _):
        wanted = {
            b"abort": (StatusCode.NOT_FOUND, "not here"),
            b"code": (StatusCode.DATA_LOSS, "lost"),
            b"": (StatusCode.UNKNOWN, "Unexpected <class 'ArithmeticError'>: as meant"),
        }
        for request, expected in wanted.items():
            with pytest.raises(aio.AioRpcError) as caught:
                await client.fail(request)
            assert (caught.value.code(), caught.value.details()) == expected
            if request == b"abort":
                assert ("why", "because") in tuple(caught.value.trailing_metadata())
        with pytest.raises(aio.AioRpcError) as caught:
            await client.channel.unary_unary(f"/{SERVICE}/nothing")(b"")
        assert caught.value.code() is StatusCode.UNIMPLEMENTED


@on_a_loop
async def test_metadata():
    async with serving() as (client, _):
        call = client.metadata(b"", metadata=(("mine", "yours"),))
        assert ("first", "yours") in tuple(await call.initial_metadata())
        assert await call in (b"ipv4", b"ipv6")
        assert ("last-bin", b"\0\xff") in tuple(await call.trailing_metadata())


@on_a_loop
async def test_deadline():
    async with serving() as (client, service):
        with pytest.raises(aio.AioRpcError) as caught:
            await client.sleep(b"1000", timeout=0.2)
        assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
        await service.cancelled.wait()


@on_a_loop
async def test_task_that_is_cancelled_cancels_the_call():
    async with serving() as (client, service):
        task = asyncio.create_task(ask(client))
        await service.entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.cancelled.wait()
        assert await client.echo(b"goes on") == b"goes on"


async def ask(client):
    return await client.sleep(b"1000")


@on_a_loop
async def test_call_that_is_cancelled():
    async with serving() as (client, service):
        call = client.sleep(b"1000")
        seen = []
        call.add_done_callback(lambda done: seen.append(done.cancelled()))
        await service.entered.wait()
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await call.code() is StatusCode.CANCELLED
        await service.cancelled.wait()
        assert seen == [True]


@on_a_loop
async def test_stream_that_is_cancelled():
    async with serving() as (client, service):
        call = client.flood(b"")
        for _ in range(20):
            assert len(await call.read()) == 10_000
        call.cancel()
        await service.cancelled.wait()


@on_a_loop
async def test_nobody_listens():
    async with aio.insecure_channel(f"{HOST}:1") as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await Client(channel).echo(b"")
        assert caught.value.code() is StatusCode.UNAVAILABLE


@on_a_loop
async def test_channel_tells_its_state():
    async with a_server() as (server, _, address), aio.insecure_channel(address) as channel:
        assert channel.get_state() is grpc.ChannelConnectivity.IDLE
        channel.get_state(try_to_connect=True)
        await channel.channel_ready()
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        await server.stop(None)
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)


@on_a_loop
async def test_server_that_stops_waits_for_its_calls():
    async with a_server() as (server, service, address), aio.insecure_channel(address) as channel:
        call = Client(channel).held(b"held")
        await service.entered.wait()
        stopping = asyncio.create_task(server.stop(SECONDS))
        await asyncio.sleep(0.01)
        assert not stopping.done()
        service.go_on.set()
        assert await call == b"held"
        await stopping
        await server.wait_for_termination()


@on_a_loop
async def test_server_that_stops_at_once_ends_its_calls():
    async with a_server() as (server, service, address), aio.insecure_channel(address) as channel:
        call = Client(channel).held(b"held")
        await service.entered.wait()
        await server.stop(None)
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)


@on_a_loop
async def test_server_takes_no_more_calls_than_it_may():
    async with serving(maximum_concurrent_rpcs=2) as (client, service):
        held = [asyncio.create_task(hold(client)) for _ in range(2)]
        await service.entered.wait()
        # Until the second one has come, too, there is room.
        while (code := await client.echo(b"one too many").code()) is StatusCode.OK:
            pass
        assert code is StatusCode.RESOURCE_EXHAUSTED
        service.go_on.set()
        assert await asyncio.gather(*held) == [b"held"] * 2


async def hold(client):
    return await client.held(b"held")


class Seeing(aio.UnaryUnaryClientInterceptor, aio.ServerInterceptor):
    """Writes down what passes."""

    def __init__(self):
        self.seen = []

    async def intercept_unary_unary(self, continuation, details, request):
        self.seen.append(("client", bytes(request)))
        return await continuation(details, request)

    async def intercept_service(self, continuation, details):
        self.seen.append(("server", details.method))
        return await continuation(details)


@on_a_loop
async def test_interceptors():
    watcher = Seeing()
    of_both = {"interceptors": (watcher,)}
    async with a_server(**of_both) as (_, _, address), aio.insecure_channel(address, **of_both) as channel:
        assert await Client(channel).echo(b"seen") == b"seen"
    assert watcher.seen == [("client", b"seen"), ("server", f"/{SERVICE}/echo")]


@on_a_loop
async def test_handler_that_is_no_coroutine_runs_in_a_thread():
    async with serving() as (client, _):
        said = await asyncio.gather(*(client.of_threads(b"%03d" % number) for number in range(50)))
    assert said == [(b"%03d" % number)[::-1] for number in range(50)]


@on_a_loop
async def test_client_of_threads_and_server_of_the_loop():
    def talk(address):
        with grpc.insecure_channel(address) as channel:
            return channel.unary_unary(f"/{SERVICE}/echo")(b"from a thread", timeout=SECONDS)

    async with a_server() as (_, _, address):
        said = await asyncio.gather(*(asyncio.to_thread(talk, address) for _ in range(4)))
    assert said == [b"from a thread"] * 4


@on_a_loop
async def test_tls():
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    pair = ((certificate.private_key_pem.bytes(), chain),)
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with a_server(credentials=grpc.ssl_server_credentials(pair)) as (_, _, address):
        async with aio.secure_channel(address, trusted) as channel:
            assert await Client(channel).echo(bytes(1_000_000)) == bytes(1_000_000)
        async with aio.secure_channel(address, grpc.ssl_channel_credentials()) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await Client(channel).echo(b"")
            assert caught.value.code() is StatusCode.UNAVAILABLE


def test_loops_one_after_the_other():
    async def once():
        async with serving() as (client, _):
            return await client.echo(b"again")

    assert [asyncio.run(once()) for _ in range(5)] == [b"again"] * 5
