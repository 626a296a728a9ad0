"""StreamReader: lines, separators and the limit (asyncio docs, "StreamReader", readline and readuntil)."""

import asyncio

import pytest

from tests.support.streams import outcome, streams
from tests.support.versions import is_affected
from tests.support.waiting import turns

__all__ = ["streams"]

NO_SEVERAL_SEPARATORS = is_affected("<3.13")


def several_separators(streams):
    if streams is asyncio and NO_SEVERAL_SEPARATORS:
        pytest.skip("asyncio takes several separators from 3.13 on")


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
    for wrong in (b"", "", (b"x", b"")):
        with pytest.raises(ValueError, match="Separator should be at least one-byte string"):
            await reader.readuntil(wrong)
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            await reader.readuntil(wrong)
    assert await reader.readuntil(bytearray(b"t")) == b"dat"


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
