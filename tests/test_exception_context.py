"""An exception that is raised while another is handled has that one for its context, as `raise` sees to it."""

import asyncio

import pytest


def overrun(world):
    reader = world.StreamReader(limit=2)
    reader.feed_data(b"more than the limit")
    return reader


def at_end(world):
    reader = world.StreamReader()
    reader.feed_data(b"short")
    reader.feed_eof()
    return reader


def failed(world):
    reader = world.StreamReader()
    reader.set_exception(OSError("lost"))
    return reader


async def broken(world):
    barrier = world.Barrier(2)
    await barrier.abort()
    await barrier.wait()


CASES = {
    "an empty queue": lambda world: world.Queue().get_nowait(),
    "too many calls of task_done": lambda world: world.Queue().task_done(),
    "a lock that is not held": lambda world: world.Lock().release(),
    "a condition that is not held": lambda world: world.Condition().wait(),
    "a broken barrier": broken,
    "a line that is too long": lambda world: overrun(world).readuntil(),
    "the end of a stream": lambda world: at_end(world).readexactly(10),
    "a stream that has failed": lambda world: failed(world).read(),
    "a negative number": lambda world: at_end(world).readexactly(-1),
}


async def act_while_handling(first, act):
    """What `act` raises while `first` is handled."""
    try:
        try:
            raise first
        except ValueError:
            outcome = act()
            if outcome is not None:
                await outcome
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("case", CASES)
def test_context_is_what_was_handled(world, case):
    async def main():
        first = ValueError("first")
        error = await act_while_handling(first, lambda: CASES[case](world))
        assert error is not first
        assert error.__context__ is first

    world.run(main)


def test_context_after_waiting(world):
    async def main():
        reader = world.StreamReader()
        first = ValueError("first")
        task = asyncio.create_task(act_while_handling(first, lambda: reader.readexactly(2)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.feed_eof()
        error = await task
        assert isinstance(error, asyncio.IncompleteReadError)
        assert error.__context__ is first

    world.run(main)


def test_a_line_that_is_too_long_tells_what_readuntil_has_said(world):
    async def main():
        first = ValueError("first")
        error = await act_while_handling(first, lambda: overrun(world).readline())
        assert isinstance(error, ValueError)
        said = error.__context__
        assert isinstance(said, asyncio.LimitOverrunError)
        assert said.__context__ is first

    world.run(main)
