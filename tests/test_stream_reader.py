"""StreamReader: every way to read, limits, what errors leave in the buffer (asyncio docs, "StreamReader")."""

import asyncio
import gc
import random
import weakref

import pytest

from tests.support.streams import close, connected, serving, streams
from tests.support.versions import is_affected
from tests.support.waiting import turns, until

__all__ = ["streams"]

NO_SEVERAL_SEPARATORS = is_affected("<3.13")


class Transport(asyncio.Transport):
    """Notes when it is paused and resumed."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")


def several_separators(streams):
    if streams is asyncio and NO_SEVERAL_SEPARATORS:
        pytest.skip("asyncio takes several separators from 3.13 on")


async def outcome(awaitable):
    """What an awaitable gives or raises, for comparison."""
    try:
        return await awaitable
    except asyncio.IncompleteReadError as error:
        return "incomplete", error.partial, error.expected
    except asyncio.LimitOverrunError as error:
        return "overrun", str(error), error.consumed
    except ValueError as error:
        return "value", str(error)


def test_it_is_an_instance_of_the_class_of_asyncio(streams, loop):
    assert isinstance(streams.StreamReader(loop=loop), asyncio.StreamReader)
    assert issubclass(streams.StreamReader, asyncio.StreamReader)
    assert streams.StreamReader.__name__ == "StreamReader"


async def test_read_gives_what_is_there(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"one")
    assert await reader.read(0) == b""
    assert await reader.read(2) == b"on"
    reader.feed_data(b"two")
    assert await reader.read(100) == b"etwo"
    reader.feed_data(b"")
    reader.feed_data(b"three")
    reader.feed_eof()
    assert not reader.at_eof()
    assert await reader.read() == b"three"
    assert reader.at_eof()
    assert await reader.read() == await reader.read(5) == b""


async def test_read_gives_bytes_whatever_was_fed(streams):
    reader = streams.StreamReader()
    for data in (b"a", bytearray(b"b"), memoryview(b"c"), [100, 101]):
        reader.feed_data(data)
        read = await reader.read(10)
        assert type(read) is bytes
        assert read == bytes(data)
    fed = bytearray(b"before")
    reader.feed_data(fed)
    fed[:] = b"after."
    assert await reader.read(10) == b"before"
    for wrong in ("text", 3, [256]):
        with pytest.raises((TypeError, ValueError)):
            reader.feed_data(wrong)


async def test_a_large_message_can_be_read_in_pieces_while_more_comes(streams):
    reader = streams.StreamReader()
    data = random.Random(1).randbytes(100_000)
    reader.feed_data(data[:60_000])
    got = [await reader.read(50_000)]
    reader.feed_data(data[60_000:])
    got.append(await reader.readexactly(20_000))
    reader.feed_eof()
    got.append(await reader.read())
    assert b"".join(got) == data


async def test_read_waits_for_the_first_byte_only(streams):
    reader = streams.StreamReader()
    task = asyncio.create_task(reader.read(10))
    await turns(2)
    assert not task.done()
    reader.feed_data(b"x")
    assert await task == b"x"


async def test_read_to_the_end_waits_for_it(streams):
    reader = streams.StreamReader()
    task = asyncio.create_task(reader.read(-1))
    for piece in (b"a", b"b" * 100_000, b"c"):
        await turns(2)
        reader.feed_data(piece)
    await turns(2)
    assert not task.done()
    reader.feed_eof()
    assert await task == b"a" + b"b" * 100_000 + b"c"


async def test_end_of_the_stream_ends_a_read(streams):
    for method, args, expected in (
        ("read", (5,), b""),
        ("readline", (), b""),
        ("readexactly", (5,), ("incomplete", b"", 5)),
        ("readuntil", (), ("incomplete", b"", None)),
    ):
        reader = streams.StreamReader()
        task = asyncio.create_task(outcome(getattr(reader, method)(*args)))
        await turns(2)
        reader.feed_eof()
        assert await task == expected


async def test_readexactly(streams):
    reader = streams.StreamReader()
    with pytest.raises(ValueError, match="readexactly size can not be less than zero"):
        await reader.readexactly(-1)
    assert await reader.readexactly(0) == b""
    reader.feed_data(b"abcdef")
    assert await reader.readexactly(4) == b"abcd"
    task = asyncio.create_task(reader.readexactly(5))
    for piece in (b"g", b"h", b"ijk"):
        await turns(2)
        assert not task.done()
        reader.feed_data(piece)
    assert await task == b"efghi"
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError) as raised:
        await reader.readexactly(3)
    assert (raised.value.partial, raised.value.expected) == (b"jk", 3)
    assert reader.at_eof()
    assert str(raised.value) == "2 bytes read on a total of 3 expected bytes"


async def test_readexactly_may_be_longer_than_any_limit(streams):
    reader = streams.StreamReader(limit=10)
    transport = Transport()
    reader.set_transport(transport)
    task = asyncio.create_task(reader.readexactly(1000))
    for _ in range(10):
        await turns(3)
        reader.feed_data(b"x" * 100)
    assert await task == b"x" * 1000
    # However often it was paused meanwhile, it goes on in the end.
    assert transport.calls[-1:] in ([], ["resume"])


async def test_readline(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"one\ntwo\nthr")
    assert [await reader.readline(), await reader.readline()] == [b"one\n", b"two\n"]
    task = asyncio.create_task(reader.readline())
    await turns(2)
    reader.feed_data(b"ee\n\nrest")
    assert await task == b"three\n"
    assert await reader.readline() == b"\n"
    reader.feed_eof()
    assert await reader.readline() == b"rest"
    assert await reader.readline() == b""


async def test_lines_by_iteration(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"one\n\ntwo")
    reader.feed_eof()
    assert [line async for line in reader] == [b"one\n", b"\n", b"two"]
    assert [line async for line in reader] == []


async def test_readuntil_a_separator_in_pieces(streams):
    reader = streams.StreamReader()
    task = asyncio.create_task(reader.readuntil(b"END"))
    for piece in (b"dataEEN", b"E", b"N", b"Dmore"):
        await turns(2)
        assert not task.done()
        reader.feed_data(piece)
    assert await task == b"dataEENEND"
    assert await reader.read(10) == b"more"


async def test_readuntil_one_of_several_separators(streams):
    several_separators(streams)
    reader = streams.StreamReader(limit=3)
    reader.feed_data(b"ab\r\ncd\nefEND\n")
    either = (b"\r\n", b"\n")
    assert await reader.readuntil(either) == b"ab\r\n"
    assert await reader.readuntil(either) == b"cd\n"
    assert await reader.readuntil((b"END", b"F", b"fEN")) == b"efEN"
    assert await reader.readuntil((b"\n",)) == b"D\n"
    reader.feed_eof()
    with pytest.raises(ValueError, match="Separator should contain at least one element"):
        await reader.readuntil(())


@pytest.mark.parametrize("library", ["sabio"])
async def test_several_separators_are_taken_on_every_version(library, sabio):
    reader = sabio.StreamReader()
    reader.feed_data(b"ab\r\ncd\n")
    assert await reader.readuntil((b"\r\n", b"\n")) == b"ab\r\n"
    assert await reader.readuntil((b"\r\n", b"\n")) == b"cd\n"


async def test_bad_separators(streams):
    several_separators(streams)
    reader = streams.StreamReader()
    reader.feed_data(b"data")
    for wrong in (b"", (b"x", b"")):
        with pytest.raises(ValueError, match="Separator should be at least one-byte string"):
            await reader.readuntil(wrong)
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            await reader.readuntil(wrong)
    assert await reader.readuntil(bytearray(b"t")) == b"dat"


async def test_bad_counts(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"data")
    for wrong in ("3", None):
        with pytest.raises(TypeError):
            await reader.read(wrong)
        with pytest.raises(TypeError):
            await reader.readexactly(wrong)
    assert await reader.read(2**70) == b"data"


@pytest.mark.parametrize("limit", [0, -1])
def test_bad_limits(streams, loop, limit):
    with pytest.raises(ValueError, match="Limit cannot be <= 0"):
        streams.StreamReader(limit=limit, loop=loop)


async def test_unusual_limits(streams):
    for limit in (2**70, float("inf"), 5.5):
        reader = streams.StreamReader(limit)
        reader.feed_data(b"12345\n")
        assert await reader.readline() == b"12345\n"


async def test_overrun_leaves_the_message_where_it_is(streams):
    reader = streams.StreamReader(limit=3)
    reader.feed_data(b"abcd")
    for _ in range(2):
        assert await outcome(reader.readuntil(b"\n")) == (
            "overrun",
            "Separator is not found, and chunk exceed the limit",
            4,
        )
    reader.feed_data(b"ef\ngh")
    assert await outcome(reader.readuntil(b"\n")) == (
        "overrun",
        "Separator is found, but chunk is longer than limit",
        6,
    )
    assert await reader.read(100) == b"abcdef\ngh"


async def test_readline_drops_a_line_that_is_too_long(streams):
    reader = streams.StreamReader(limit=3)
    reader.feed_data(b"abcd\nnext\n")
    message = "Separator is found, but chunk is longer than limit"
    assert await outcome(reader.readline()) == ("value", message)
    assert await outcome(reader.readline()) == ("value", message)
    assert await outcome(reader.readexactly(0)) == b""
    reader.feed_data(b"abcde")
    message = "Separator is not found, and chunk exceed the limit"
    assert await outcome(reader.readline()) == ("value", message)
    reader.feed_data(b"ok\n")
    assert await reader.readline() == b"ok\n"


async def test_a_long_line_that_comes_in_pieces(streams):
    reader = streams.StreamReader(limit=3)
    task = asyncio.create_task(outcome(reader.readline()))
    for _ in range(2):
        await turns(2)
        reader.feed_data(b"xy")
    assert await task == ("value", "Separator is not found, and chunk exceed the limit")
    reader.feed_data(b"z\n")
    assert await reader.readline() == b"z\n"


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_reads_ends_as_on_asyncio(streams, run, seed):
    """Random reads of random data in random pieces: results, errors and what is left."""

    async def play(reader_class, random):
        log = []
        reader = reader_class(limit=random.choice([3, 10, 100]))
        transport = Transport()
        reader.set_transport(transport)
        for _ in range(60):
            for _ in range(random.randrange(3)):
                reader.feed_data(bytes(random.choices(b"ab\n", k=random.randrange(12))))
            method = random.choice(["read", "readexactly", "readuntil", "readline"])
            args = {
                "read": (random.randrange(20),),
                "readexactly": (random.randrange(20),),
                "readuntil": (random.choice([b"\n", b"ab", b"ba\n"]),),
                "readline": (),
            }[method]
            task = asyncio.create_task(outcome(getattr(reader, method)(*args)))
            await turns(3)
            while not task.done():
                reader.feed_data(bytes(random.choices(b"ab\n", k=random.randrange(1, 12))))
                await turns(3)
            log.append((method, args, await task))
        reader.feed_eof()
        log.append(await reader.read())
        return log

    reference = run(play, asyncio.StreamReader, random.Random(seed))
    assert run(play, streams.StreamReader, random.Random(seed)) == reference


async def test_the_transport_pauses_when_too_much_is_unread(streams):
    reader = streams.StreamReader(limit=5)
    transport = Transport()
    reader.set_transport(transport)
    with pytest.raises(AssertionError, match="Transport already set"):
        reader.set_transport(transport)
    reader.feed_data(b"x" * 10)
    assert transport.calls == []
    reader.feed_data(b"x")
    reader.feed_data(b"x")
    assert transport.calls == ["pause"]
    assert repr(reader).endswith("paused>")
    await reader.readexactly(6)
    assert transport.calls == ["pause"]
    await reader.readexactly(1)
    assert transport.calls == ["pause", "resume"]


async def test_waiting_lets_a_paused_transport_go_on(streams):
    reader = streams.StreamReader(limit=5)
    transport = Transport()
    reader.set_transport(transport)
    reader.feed_data(b"x" * 11)
    task = asyncio.create_task(reader.readexactly(12))
    await turns(2)
    assert transport.calls == ["pause", "resume"]
    reader.feed_data(b"y")
    assert await task == b"x" * 11 + b"y"


async def test_a_transport_that_cannot_pause_is_not_asked_again(streams):
    reader = streams.StreamReader(limit=1)
    transport = asyncio.Transport()
    reader.set_transport(transport)
    for _ in range(3):
        reader.feed_data(b"xyz")
    assert await reader.readexactly(9) == b"xyzxyzxyz"


async def test_feeding_after_the_end_is_a_mistake(streams):
    reader = streams.StreamReader()
    reader.feed_eof()
    with pytest.raises(AssertionError, match="feed_data after feed_eof"):
        reader.feed_data(b"x")


async def test_an_exception_reaches_every_read(streams):
    reader = streams.StreamReader()
    error = ZeroDivisionError("set")
    task = asyncio.create_task(reader.readline())
    await turns(2)
    assert reader.exception() is None
    reader.feed_data(b"unread")
    await turns(1)
    reader.set_exception(error)
    for waiting in (
        reader.read(2),
        reader.read(),
        reader.readexactly(2),
        reader.readline(),
        reader.readuntil(),
    ):
        with pytest.raises(ZeroDivisionError, match="set") as raised:
            await waiting
        assert raised.value is error
    assert reader.exception() is error
    task.cancel()
    with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
        await task


async def test_an_exception_wakes_the_one_who_waits(streams):
    reader = streams.StreamReader()
    task = asyncio.create_task(reader.readline())
    await turns(2)
    error = ZeroDivisionError("set")
    reader.set_exception(error)
    with pytest.raises(ZeroDivisionError) as raised:
        await task
    assert raised.value is error


@pytest.mark.parametrize("method", ["read", "readexactly", "readuntil", "readline"])
async def test_two_readers_at_once_are_a_mistake(streams, method):
    reader = streams.StreamReader()
    args = (5,) if method.startswith("reade") else ()
    first = asyncio.create_task(reader.read(1))
    await turns(2)
    words = "readuntil" if method == "readline" else method
    with pytest.raises(RuntimeError) as raised:
        await getattr(reader, method)(*args)
    assert str(raised.value) == (
        f"{words}() called while another coroutine is already waiting for incoming data"
    )
    reader.feed_data(b"x")
    assert await first == b"x"


@pytest.mark.parametrize("method", ["read", "readexactly", "readuntil", "readline"])
async def test_a_cancelled_read_loses_nothing(streams, method):
    reader = streams.StreamReader()
    args = (5,) if method.startswith("reade") else ()
    if method != "read":
        reader.feed_data(b"ab")
    for feeds_before in (False, True):
        task = asyncio.create_task(getattr(reader, method)(*args))
        await turns(2)
        if feeds_before and method != "read":
            reader.feed_data(b"c\n")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    reader.feed_data(b"end\n")
    reader.feed_eof()
    assert await reader.read() == (b"end\n" if method == "read" else b"abc\nend\n")


async def test_a_read_that_was_woken_and_cancelled_leaves_the_data(streams):
    reader = streams.StreamReader()
    task = asyncio.create_task(reader.read(5))
    await turns(2)
    reader.feed_data(b"data")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader.read(5) == b"data"


async def test_a_read_takes_no_more_turns_than_that_of_asyncio(streams):
    loop = asyncio.get_running_loop()
    reader = streams.StreamReader()
    count = 0
    counting = True

    def turn():
        nonlocal count
        count += 1
        if counting:
            loop.call_soon(turn)

    task = asyncio.create_task(reader.read(5))
    await turns(3)
    loop.call_soon(turn)
    reader.feed_data(b"x")
    assert await task == b"x"
    # One turn for the step that reads, one for the step that has waited for it.
    assert count <= 2
    before = count
    reader.feed_data(b"more")
    assert await reader.read(5) == b"more"
    assert count == before
    counting = False
    await turns(1)


async def test_subclasses_override_what_other_methods_call(streams):
    class Loud(streams.StreamReader):
        def feed_data(self, data):
            super().feed_data(data.upper())

        async def readuntil(self, separator=b"\n"):
            return b"<" + await super().readuntil(separator) + b">"

        async def read(self, n=-1):
            if n < 0:
                return await super().read(n)
            return (await super().read(n)).replace(b"A", b"*")

    reader = Loud(limit=100)
    reader.extra = weakref.ref(reader)
    reader.feed_data(b"line\nline\nrest and more")
    assert await reader.readline() == b"<LINE\n>"
    async for line in reader:
        assert line == b"<LINE\n>"
        break
    reader.feed_eof()
    assert await reader.read() == b"REST *ND MORE"
    reader = Loud(limit=3)
    reader.feed_data(b"much too long")
    with pytest.raises(ValueError, match="exceed the limit"):
        await reader.readline()
    reader.feed_data(b"abc")
    reader.feed_eof()
    assert await reader.readline() == b"ABC"
    with pytest.raises(StopAsyncIteration):
        await reader.__anext__()


async def test_a_subclass_may_wait_for_data_by_itself(streams):
    class Whole(streams.StreamReader):
        async def everything(self):
            while not self._eof:
                await self._wait_for_data("everything")
            data = bytes(self._buffer)
            self._buffer.clear()
            self._maybe_resume_transport()
            return data

    reader = Whole()
    task = asyncio.create_task(reader.everything())
    for piece in (b"one", b"two"):
        await turns(2)
        reader.feed_data(piece)
    await turns(2)
    with pytest.raises(RuntimeError, match=r"other\(\) called while another coroutine is already waiting"):
        await reader._wait_for_data("other")
    reader.feed_eof()
    assert await task == b"onetwo"
    assert await reader.read() == b""


async def test_the_buffer_that_somebody_holds_is_the_buffer(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"abc")
    buffer = reader._buffer
    assert type(buffer) is bytearray
    assert buffer == b"abc"
    reader.feed_data(b"def\n")
    assert buffer == b"abcdef\n"
    assert await reader.read(2) == b"ab"
    assert buffer == b"cdef\n"
    buffer[:1] = b"XY"
    assert await reader.readline() == b"XYdef\n"
    buffer.extend(b"by hand")
    reader.feed_eof()
    del buffer
    assert not reader.at_eof()
    assert await reader.read() == b"by hand"
    assert reader._buffer == b""


async def test_a_future_put_in_place_of_the_waiter_is_resolved(streams):
    loop = asyncio.get_running_loop()
    reader = streams.StreamReader()
    assert reader._waiter is None
    for end in ("data", "exception", "cancelled"):
        waiter = reader._waiter = loop.create_future()
        assert reader._waiter is waiter
        if end == "exception":
            reader.set_exception(ZeroDivisionError())
            with pytest.raises(ZeroDivisionError):
                await waiter
        else:
            if end == "cancelled":
                waiter.cancel()
            reader.feed_data(b"x")
            assert waiter.done()
        assert reader._waiter is None


async def test_the_waiter_is_a_pending_future_while_somebody_waits(streams):
    reader = streams.StreamReader()
    task = asyncio.create_task(reader.read(1))
    await turns(2)
    waiter = reader._waiter
    assert reader._waiter is waiter
    assert not waiter.done()
    assert "waiter=<Future pending" in repr(reader)
    reader.feed_data(b"x")
    assert waiter.done()
    assert await task == b"x"
    assert reader._waiter is None


async def test_repr(streams):
    assert repr(streams.StreamReader()) == "<StreamReader>"
    reader = streams.StreamReader(limit=7)
    reader.feed_data(b"data")
    reader.feed_eof()
    reader.set_exception(ZeroDivisionError("x"))
    reader.set_transport("transport")
    assert repr(reader) == (
        "<StreamReader 4 bytes eof limit=7 exception=ZeroDivisionError('x') transport='transport'>"
    )


def test_the_loop_is_the_current_one(streams, run, loop):
    async def main():
        return streams.StreamReader()._loop is asyncio.get_running_loop()

    assert run(main)
    assert streams.StreamReader(loop=loop)._loop is loop
    assert streams.StreamReader(5, loop)._limit == 5
    for args, kwargs in (((1, loop, 3), {}), ((), {"size": 3}), ((1,), {"limit": 2, "loop": loop})):
        with pytest.raises(TypeError):
            streams.StreamReader(*args, **kwargs)


def test_debug_mode_records_where_a_reader_was_made(streams, loop):
    assert streams.StreamReader(loop=loop)._source_traceback is None
    loop.set_debug(True)
    reader = streams.StreamReader(loop=loop)
    assert "test_stream_reader.py" in reader._source_traceback[-1].filename


async def test_coroutines_that_are_never_awaited_warn(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"data")
    with pytest.warns(RuntimeWarning, match=r"StreamReader.read' was never awaited"):
        reader.read(1)
    assert await reader.read(10) == b"data"


async def test_a_reader_that_only_its_own_task_knows_is_collected(streams):
    reader = streams.StreamReader()
    reference = weakref.ref(reader)
    loop = asyncio.get_running_loop()
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))

    async def read(reader):
        reader.own = asyncio.current_task()
        await reader.read(1)

    task = asyncio.create_task(read(reader))
    await turns(2)
    del reader, task
    gc.collect()
    assert reference() is None
    assert reports in ([], ["Task was destroyed but it is pending!"])


async def test_a_foreign_task_can_read(streams):
    """A task of asyncio's own class, whatever the loop."""
    reader = streams.StreamReader()
    task = asyncio.tasks._PyTask(reader.readexactly(4), loop=asyncio.get_running_loop())
    await turns(3)
    reader.feed_data(b"da")
    await turns(3)
    reader.feed_data(b"ta")
    assert await task == b"data"
    task = asyncio.tasks._PyTask(reader.read(4), loop=asyncio.get_running_loop())
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    reader.feed_data(b"x")
    assert await reader.read(4) == b"x"


async def test_much_data_over_a_connection(streams):
    data = random.Random(3).randbytes(3_000_000)

    async def serve(reader, writer):
        writer.write(data)
        await writer.drain()
        await close(writer)

    async with connected(streams, serve) as (reader, _):
        got = [await reader.readexactly(1_000_000)]
        while block := await reader.read(70_000):
            got.append(block)
        assert b"".join(got) == data


async def test_a_reader_that_is_forgotten_takes_no_data(streams):
    """And the connection lives on, for who writes."""
    received = []

    async def serve(reader, writer):
        writer.write(b"nobody reads this")
        await writer.drain()
        received.append(await reader.read())
        await close(writer)

    async with serving(streams, serve) as address:
        loop = asyncio.get_running_loop()
        reader = streams.StreamReader()
        protocol = streams.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, *address)
        reference = weakref.ref(reader)
        del reader
        assert reference() is None
        writer = streams.StreamWriter(transport, protocol, None, loop)
        writer.write(b"still here")
        await writer.drain()
        writer.write_eof()
        await until(lambda: received)
        assert received == [b"still here"]
        await close(writer)


async def test_feeding_by_hand_what_a_transport_feeds_too(streams):
    async def serve(reader, writer):
        await reader.readexactly(1)
        writer.write(b"from the peer\n")
        await close(writer)

    async with connected(streams, serve) as (reader, writer):
        reader.feed_data(b"by hand, ")
        writer.write(b"x")
        assert await reader.readline() == b"by hand, from the peer\n"


async def test_the_buffer_in_somebodys_hands_while_a_transport_feeds(streams):
    async def serve(reader, writer):
        writer.write(await reader.readexactly(4))
        await close(writer)

    async with connected(streams, serve) as (reader, writer):
        buffer = reader._buffer
        writer.write(b"data")
        await until(lambda: buffer == b"data")
        assert await reader.read() == b"data"
        assert buffer == b""


async def test_data_goes_to_the_reader_without_a_call_that_could_be_patched(sabio, monkeypatch):
    """Patched on the class, that is: a subclass is asked."""

    def patched(self, data):
        raise AssertionError("called")

    async def serve(reader, writer):
        writer.write(await reader.readexactly(4))
        await close(writer)

    monkeypatch.setattr(sabio.StreamReaderProtocol, "data_received", patched)
    monkeypatch.setattr(sabio.StreamReader, "feed_data", patched)
    async with connected(sabio, serve) as (reader, writer):
        writer.write(b"data")
        assert await reader.read() == b"data"


async def test_readexactly_wakes_up_once(sabio):
    reader = sabio.StreamReader(limit=5)
    transport = Transport()
    reader.set_transport(transport)

    class Steps:
        """Counts how many times the read is resumed."""

        def __init__(self, coroutine):
            self.coroutine = coroutine
            self.count = 0

        def __await__(self):
            while True:
                try:
                    yielded = self.coroutine.send(None)
                except StopIteration as stop:
                    return stop.value
                self.count += 1
                yield yielded

    steps = Steps(reader.readexactly(100))

    async def read():
        return await steps

    task = asyncio.create_task(read())
    for _ in range(9):
        await turns(3)
        reader.feed_data(b"x" * 10)
    assert transport.calls == []
    reader.feed_data(b"x" * 10)
    assert await task == b"x" * 100
    assert steps.count == 1


async def test_a_read_that_was_woken_by_data_sees_the_exception_too(sabio):
    reader = sabio.StreamReader()
    task = asyncio.create_task(reader.readline())
    await turns(2)
    reader.feed_data(b"no line")
    reader.set_exception(ZeroDivisionError("set"))
    with pytest.raises(ZeroDivisionError, match="set"):
        await task


async def test_a_read_that_begins_before_another_has_ended_is_woken(sabio):
    reader = sabio.StreamReader()
    first = asyncio.create_task(reader.read(1))
    await turns(2)
    reader.feed_data(b"x")
    assert await reader.read(1) == b"x"
    second = asyncio.create_task(reader.read(1))
    # The first one is still to run, and there is nothing left for it, which is how asyncio has it.
    assert await first == b""
    await turns(2)
    reader.feed_data(b"y")
    assert await asyncio.wait_for(second, 5) == b"y"
