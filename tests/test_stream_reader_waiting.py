"""StreamReader: a read that waits, and what wakes it: data, the end, an exception, a cancellation."""

import asyncio

import pytest

from tests.support.streams import PauseRecorder, streams
from tests.support.waiting import turns

__all__ = ["streams"]


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


async def test_readexactly_wakes_up_once(sabio):
    reader = sabio.StreamReader(limit=5)
    transport = PauseRecorder()
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
