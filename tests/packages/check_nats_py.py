"""Checks of nats-py for `make packages`, against the NATS server with JetStream that `NATS_URL` names.

`NATS_SERVER` is the server's program, for checks of a server that goes away. Nothing here knows what the loop is.
"""

import asyncio
import contextlib
import functools
import io
import os
import socket
import uuid

import nats
import pytest
from nats import errors
from nats.js.api import ConsumerConfig, KeyValueConfig, StorageType
from nats.js.errors import BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError

SECONDS = 30


def on_a_loop(body):
    """Has the coroutine function run by `asyncio.run`, within a bound of time."""

    @functools.wraps(body)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(body(*args, **kwargs), SECONDS))

    return run


def name():
    """A name that nobody else uses."""
    return f"n{uuid.uuid4().hex}"


@contextlib.asynccontextmanager
async def connected(**options):
    """A client of the server."""
    client = await nats.connect(os.environ["NATS_URL"], **options)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def a_server(port, *options):
    """A further server, which answers when the block is entered and is ended when it is left."""
    command = [os.environ["NATS_SERVER"], "--addr", "127.0.0.1", "--port", str(port), *options]
    quiet = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.01)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@on_a_loop
async def test_messages_arrive_in_order():
    async with connected() as client:
        subject, got, all_there = name(), [], asyncio.Event()

        async def seen(message):
            got.append(int(message.data))
            if len(got) == 5000:
                all_there.set()

        await client.subscribe(subject, cb=seen)
        for number in range(5000):
            await client.publish(subject, b"%d" % number)
        await all_there.wait()
        assert got == list(range(5000))


@on_a_loop
async def test_messages_are_asked_for():
    async with connected() as client:
        subscription = await client.subscribe(f"{name()}.*")
        prefix = subscription.subject[:-1]
        for word in ("a", "b", "c"):
            await client.publish(prefix + word, word.encode(), headers={"Word": word})
        message = await subscription.next_msg(timeout=SECONDS)
        assert (message.subject, message.data, message.headers) == (prefix + "a", b"a", {"Word": "a"})
        assert [(await anext(subscription.messages)).data for _ in range(2)] == [b"b", b"c"]
        with pytest.raises(errors.TimeoutError):
            await subscription.next_msg(timeout=0.05)


@on_a_loop
async def test_waiting_for_a_message_can_be_cancelled():
    async with connected() as client:
        subscription = await client.subscribe(name())
        waiting = asyncio.create_task(subscription.next_msg(timeout=None))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await client.publish(subscription.subject, b"still there")
        assert (await subscription.next_msg(timeout=SECONDS)).data == b"still there"


@on_a_loop
async def test_subscription_of_some_messages():
    async with connected() as client:
        subscription = await client.subscribe(name())
        await subscription.unsubscribe(limit=3)
        for number in range(5):
            await client.publish(subscription.subject, b"%d" % number)
        await client.flush()
        assert [message.data async for message in subscription.messages] == [b"0", b"1", b"2"]


@on_a_loop
async def test_large_messages():
    async with connected() as client:
        subscription = await client.subscribe(name())
        for size in (0, 1, 65536, client.max_payload):
            await client.publish(subscription.subject, bytes(size))
            assert (await subscription.next_msg(timeout=SECONDS)).data == bytes(size)
        with pytest.raises(errors.MaxPayloadError):
            await client.publish(subscription.subject, bytes(client.max_payload + 1))


@on_a_loop
async def test_requests_are_answered():
    async with connected() as client, connected() as service:
        subject = name()

        async def answer(message):
            await message.respond(message.data.upper())

        await service.subscribe(subject, cb=answer)
        await service.flush()
        asked = [b"request %d" % number for number in range(300)]
        answers = await asyncio.gather(*(client.request(subject, each, timeout=SECONDS) for each in asked))
        assert [each.data for each in answers] == [each.upper() for each in asked]
        old = await client.request(subject, b"old style", timeout=SECONDS, old_style=True)
        assert old.data == b"OLD STYLE"


@on_a_loop
async def test_requests_without_an_answer():
    async with connected() as client:
        with pytest.raises(errors.NoRespondersError):
            await client.request(name(), b"is there anybody", timeout=SECONDS)
        silent = await client.subscribe(name())
        with pytest.raises(errors.TimeoutError):
            await client.request(silent.subject, b"say something", timeout=0.05)


@on_a_loop
async def test_group_shares_the_work():
    async with connected() as client:
        subject, got, all_there = name(), [], asyncio.Event()

        async def work(worker, message):
            got.append((worker, int(message.data)))
            if len(got) == 300:
                all_there.set()

        for worker in range(3):
            await client.subscribe(subject, queue="workers", cb=functools.partial(work, worker))
        for number in range(300):
            await client.publish(subject, b"%d" % number)
        await all_there.wait()
        assert sorted(number for _, number in got) == list(range(300))
        assert {worker for worker, _ in got} == {0, 1, 2}


@on_a_loop
async def test_slow_consumer_is_told():
    told = asyncio.Event()

    async def error(reason):
        if isinstance(reason, errors.SlowConsumerError):
            told.set()

    async with connected(error_cb=error) as client:
        go_on = asyncio.Event()

        async def slow(message):
            await go_on.wait()

        subscription = await client.subscribe(name(), cb=slow, pending_msgs_limit=5)
        for _ in range(50):
            await client.publish(subscription.subject, b"too fast")
        await client.flush()
        await told.wait()
        go_on.set()


@on_a_loop
async def test_drain_lets_everything_be_handled():
    closed, handled = asyncio.Event(), []

    async def when_closed():
        closed.set()

    client = await nats.connect(os.environ["NATS_URL"], closed_cb=when_closed)
    subject = name()

    async def slow(message):
        await asyncio.sleep(0.001)
        handled.append(int(message.data))

    await client.subscribe(subject, cb=slow)
    for number in range(50):
        await client.publish(subject, b"%d" % number)
    await client.flush()
    await client.drain()
    await closed.wait()
    assert handled == list(range(50))
    assert client.is_closed
    with pytest.raises(errors.ConnectionClosedError):
        await client.publish(subject, b"too late")


@on_a_loop
async def test_many_clients():
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected()) for _ in range(30)]
        subject = name()
        subscriptions = [await client.subscribe(subject) for client in clients]
        await asyncio.gather(*(client.flush() for client in clients))
        await clients[0].publish(subject, b"to all")
        got = await asyncio.gather(*(each.next_msg(timeout=SECONDS) for each in subscriptions))
        assert [message.data for message in got] == [b"to all"] * 30
        assert await clients[0].rtt(timeout=SECONDS) > 0


@on_a_loop
async def test_nobody_listens():
    told = []

    async def error(reason):
        told.append(type(reason))

    options = {"max_reconnect_attempts": 2, "reconnect_time_wait": 0.01, "error_cb": error}
    with pytest.raises(errors.NoServersError):
        await nats.connect(f"nats://127.0.0.1:{free_port()}", **options)
    assert ConnectionRefusedError in told


@on_a_loop
async def test_wrong_password_is_refused():
    port = free_port()
    async with a_server(port, "--user", "me", "--pass", "secret"):
        client = await nats.connect(f"nats://me:secret@127.0.0.1:{port}")
        await client.flush()
        await client.close()
        told = []

        async def error(reason):
            told.append(str(reason))

        options = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.01, "error_cb": error}
        with pytest.raises(errors.NoServersError):
            await nats.connect(f"nats://me:wrong@127.0.0.1:{port}", **options)
        assert "nats: 'Authorization Violation'" in told


@on_a_loop
async def test_server_that_comes_back():
    lost, again = asyncio.Event(), asyncio.Event()

    async def when_lost():
        lost.set()

    async def when_again():
        again.set()

    port = free_port()
    async with a_server(port):
        client = await nats.connect(
            f"nats://127.0.0.1:{port}",
            disconnected_cb=when_lost,
            reconnected_cb=when_again,
            error_cb=ignore,
            reconnect_time_wait=0.02,
            max_reconnect_attempts=-1,
        )
        subscription = await client.subscribe("here")
        await client.flush()
    await lost.wait()
    # What is published meanwhile is kept.
    await client.publish("here", b"while nobody was there")
    async with a_server(port):
        await again.wait()
        await client.publish("here", b"again")
        got = [(await subscription.next_msg(timeout=SECONDS)).data for _ in range(2)]
        assert got == [b"while nobody was there", b"again"]
        await client.close()


async def ignore(reason):
    """Errors that are expected."""


@contextlib.asynccontextmanager
async def streaming():
    """A client's JetStream, a subject and the stream that keeps what is published there."""
    async with connected() as client:
        stream, jetstream = name(), client.jetstream(timeout=SECONDS)
        await jetstream.add_stream(name=stream, subjects=[f"{stream}.>"], storage=StorageType.MEMORY)
        try:
            yield jetstream, stream
        finally:
            await jetstream.delete_stream(stream)


@on_a_loop
async def test_stream_keeps_and_hands_out():
    async with streaming() as (jetstream, stream):
        for number in range(100):
            assert (await jetstream.publish(f"{stream}.a", b"%d" % number)).seq == number + 1
        pull = await jetstream.pull_subscribe(f"{stream}.>", durable="reader")
        got = []
        while len(got) < 100:
            for message in await pull.fetch(batch=30, timeout=1):
                got.append(int(message.data))
                await message.ack_sync(timeout=SECONDS)
        assert got == list(range(100))
        assert (await pull.consumer_info()).num_ack_pending == 0
        with pytest.raises(errors.TimeoutError):
            await pull.fetch(timeout=0.1)


@on_a_loop
async def test_messages_that_are_refused_come_again():
    async with streaming() as (jetstream, stream):
        await jetstream.publish(f"{stream}.a", b"once more")
        pull = await jetstream.pull_subscribe(
            f"{stream}.a", "reader", config=ConsumerConfig(ack_wait=SECONDS)
        )
        for time in (1, 2, 3):
            (message,) = await pull.fetch(timeout=SECONDS)
            assert (message.data, message.metadata.num_delivered) == (b"once more", time)
            await (message.nak() if time < 3 else message.ack())


@on_a_loop
async def test_stream_pushes():
    async with streaming() as (jetstream, stream):
        got, all_there = [], asyncio.Event()

        async def seen(message):
            got.append(int(message.data))
            if len(got) == 200:
                all_there.set()

        acknowledged = await asyncio.gather(
            *[await jetstream.publish_async(f"{stream}.a", b"%d" % number) for number in range(200)]
        )
        assert [each.seq for each in acknowledged] == list(range(1, 201))
        await jetstream.subscribe(f"{stream}.a", cb=seen)
        await all_there.wait()
        assert got == list(range(200))
        ordered = await jetstream.subscribe(f"{stream}.a", ordered_consumer=True)
        assert [int((await ordered.next_msg(timeout=SECONDS)).data) for _ in range(200)] == list(range(200))


@on_a_loop
async def test_errors_of_streams():
    async with streaming() as (jetstream, stream):
        with pytest.raises(NotFoundError):
            await jetstream.stream_info(name())
        with pytest.raises(BadRequestError):
            await jetstream.add_stream(name=name(), subjects=[f"{stream}.>"])


@on_a_loop
async def test_keys_and_values():
    async with connected() as client:
        jetstream = client.jetstream(timeout=SECONDS)
        config = KeyValueConfig(bucket=name(), history=5, storage=StorageType.MEMORY)
        bucket = await jetstream.create_key_value(config)
        watcher = await bucket.watchall()
        assert await watcher.updates(timeout=SECONDS) is None  # there is nothing yet
        first = await bucket.put("key", b"one")
        assert await bucket.update("key", b"two", last=first) == first + 1
        with pytest.raises(KeyWrongLastSequenceError):
            await bucket.update("key", b"three", last=first)
        with pytest.raises(KeyWrongLastSequenceError):
            await bucket.create("key", b"four")
        assert (await bucket.get("key")).value == b"two"
        await bucket.delete("key")
        with pytest.raises(KeyNotFoundError):
            await bucket.get("key")
        assert [each.value for each in await bucket.history("key")][:2] == [b"one", b"two"]
        seen = [await watcher.updates(timeout=SECONDS) for _ in range(3)]
        assert [(each.value, each.operation) for each in seen[:2]] == [(b"one", None), (b"two", None)]
        assert seen[2].operation == "DEL"
        await watcher.stop()
        await jetstream.delete_key_value(config.bucket)


@on_a_loop
async def test_objects():
    async with connected() as client:
        jetstream, bucket = client.jetstream(timeout=SECONDS), name()
        store = await jetstream.create_object_store(bucket)
        data = os.urandom(2_000_000)
        await store.put("large", data)
        assert (await store.get("large")).data == data
        await store.put("from a file", io.BytesIO(b"short"))
        assert (await store.get("from a file")).data == b"short"
        assert sorted(each.name for each in await store.list()) == ["from a file", "large"]
        await jetstream.delete_object_store(bucket)


@on_a_loop
async def test_service_answers_and_counts():
    from nats import micro

    async with connected() as client:
        subject = name()

        async def double(request):
            if request.data == b"no number":
                await request.respond_error("400", "that is no number")
            else:
                await request.respond(b"%d" % (2 * int(request.data)))

        service = await micro.add_service(client, name="doubler", version="1.0.0")
        await service.add_endpoint(name="double", subject=subject, handler=double)
        await client.flush()
        assert (await client.request(subject, b"21", timeout=SECONDS)).data == b"42"
        refused = await client.request(subject, b"no number", timeout=SECONDS)
        assert refused.headers["Nats-Service-Error-Code"] == "400"
        (endpoint,) = service.stats().endpoints
        assert endpoint.num_requests == 2
        await service.stop()
