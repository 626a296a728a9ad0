"""StreamReader: what it is, reads of so many bytes or up to the end, subclasses (asyncio docs, "StreamReader")."""

import asyncio
import gc
import random
import weakref

import pytest

from tests.support.streams import PauseRecorder, outcome, streams
from tests.support.waiting import turns

__all__ = ["streams"]


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
    transport = PauseRecorder()
    reader.set_transport(transport)
    task = asyncio.create_task(reader.readexactly(1000))
    for _ in range(10):
        await turns(3)
        reader.feed_data(b"x" * 100)
    assert await task == b"x" * 1000
    # However often it was paused meanwhile, it goes on in the end.
    assert transport.calls[-1:] in ([], ["resume"])


async def test_bad_counts(streams):
    reader = streams.StreamReader()
    reader.feed_data(b"data")
    for wrong in ("3", None):
        with pytest.raises(TypeError):
            await reader.read(wrong)
        with pytest.raises(TypeError):
            await reader.readexactly(wrong)
    assert await reader.read(2**70) == b"data"


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_reads_ends_as_on_asyncio(streams, run, seed):
    """Random reads of random data in random pieces: results, errors and what is left."""

    async def play(reader_class, random):
        log = []
        reader = reader_class(limit=random.choice([3, 10, 100]))
        transport = PauseRecorder()
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


NOT_COMPARED = "'<' not supported between instances of '{}' and 'int'"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (1.5, "slice indices must be integers or None or have an __index__ method"),
        ("text", NOT_COMPARED.format("str")),
        (None, NOT_COMPARED.format("NoneType")),
        ([], NOT_COMPARED.format("list")),
        (2 + 1j, NOT_COMPARED.format("complex")),
    ],
    ids=repr,
)
async def test_a_number_of_bytes_that_is_no_number_is_a_type_error(streams, wrong, message):
    for read in ("read", "readexactly"):
        reader = streams.StreamReader()
        reader.feed_data(b"data")
        with pytest.raises(TypeError) as refused:
            await getattr(reader, read)(wrong)
        # asyncio's reader of 3.15 takes the bytes out of its buffer by another method, which says it in other words.
        assert str(refused.value) in (message, "n must be an integer or None" if wrong == 1.5 else message)
