"""asyncio.Barrier: one body on asyncio's, on sabio's, on sabio's under C tasks, and on sabio's on asyncio's loop."""

import asyncio
import sys

import pytest

from tests.support.primitives import ended, in_every_way, settle, spawn, turns


@in_every_way
async def test_nobody_gets_through_before_all_are_there(objects):
    barrier = objects.Barrier(3)
    through = []

    async def wait():
        through.append(await barrier.wait())

    tasks = [spawn(wait()) for _ in range(2)]
    await settle()
    assert not through
    assert (barrier.n_waiting, barrier.parties, barrier.broken) == (2, 3, False)
    assert repr(barrier).endswith(" [filling, waiters:2/3]>")
    await wait()
    await asyncio.gather(*tasks)
    assert through == [2, 0, 1]
    assert barrier.n_waiting == 0


@in_every_way
async def test_barrier_is_used_round_after_round(objects):
    barrier = objects.Barrier(3)
    log = []

    async def work():
        for round_ in range(4):
            index = await barrier.wait()
            log.append((round_, index))

    await asyncio.gather(*(work() for _ in range(3)))
    assert [round_ for round_, _ in log] == [round_ for round_ in range(4) for _ in range(3)]
    for round_ in range(4):
        assert {index for number, index in log if number == round_} == {0, 1, 2}


@in_every_way
async def test_more_tasks_than_parties_go_in_groups(objects):
    barrier = objects.Barrier(2)
    tasks = [spawn(barrier.wait()) for _ in range(5)]
    await settle()
    assert sum(task.done() for task in tasks) == 4
    assert barrier.n_waiting == 1
    [left] = [task for task in tasks if not task.done()]
    left.cancel()
    assert await ended(left) == [asyncio.CancelledError]
    assert barrier.n_waiting == 0


@in_every_way
async def test_async_with_waits_and_gives_the_index(objects):
    barrier = objects.Barrier(2)
    seen = []

    async def work():
        async with barrier as index:
            seen.append(index)
            await asyncio.sleep(0)

    await asyncio.gather(work(), work())
    assert sorted(seen) == [0, 1]
    async with objects.Barrier(1) as index:
        assert index == 0


@in_every_way
async def test_cancelled_task_is_not_counted(objects):
    barrier = objects.Barrier(2)
    first = spawn(barrier.wait())
    await turns()
    first.cancel()
    await settle()
    second = spawn(barrier.wait())
    await settle()
    assert not second.done()
    assert await barrier.wait() == 1
    assert await ended(first, second) == [asyncio.CancelledError, 0]


@in_every_way
async def test_reset_lets_everybody_go_with_an_error(objects):
    barrier = objects.Barrier(3)
    tasks = [spawn(barrier.wait()) for _ in range(2)]
    await turns()
    assert await barrier.reset() is None
    assert await ended(*tasks) == [asyncio.BrokenBarrierError] * 2
    assert not barrier.broken
    assert sorted(await asyncio.gather(*(barrier.wait() for _ in range(3)))) == [0, 1, 2]
    await barrier.reset()
    assert repr(barrier).endswith(" [filling, waiters:0/3]>")


@in_every_way
async def test_abort_breaks_the_barrier_until_it_is_reset(objects):
    barrier = objects.Barrier(2)
    task = spawn(barrier.wait())
    await turns()
    assert await barrier.abort() is None
    assert barrier.broken
    assert repr(barrier).endswith(" [broken]>")
    with pytest.raises(asyncio.BrokenBarrierError, match=r"^Abort or reset of barrier$"):
        await task
    with pytest.raises(asyncio.BrokenBarrierError, match=r"^Barrier aborted$"):
        await barrier.wait()
    await barrier.reset()
    assert not barrier.broken
    assert sorted(await asyncio.gather(barrier.wait(), barrier.wait())) == [0, 1]


@in_every_way
async def test_who_comes_while_it_drains_waits_for_the_next_round(objects):
    barrier = objects.Barrier(2)
    order = []

    async def work(name):
        await barrier.wait()
        order.append(name)

    tasks = [spawn(work(name)) for name in "abcd"]
    await asyncio.gather(*tasks)
    assert {*order[:2]} == {"a", "b"}
    assert {*order[2:]} == {"c", "d"}


@in_every_way
async def test_wrong_parties_are_refused(objects):
    message = "parties must be >= 1" if sys.version_info >= (3, 14) else "parties must be > 0"
    for parties in (0, -1):
        with pytest.raises(ValueError, match=message):
            objects.Barrier(parties)
    with pytest.raises(
        TypeError, match=r"Barrier\.__init__\(\) missing 1 required positional argument: 'parties'"
    ):
        objects.Barrier()
    with pytest.raises(TypeError):
        objects.Barrier("2")
    assert objects.Barrier(parties=2).parties == 2


@in_every_way
async def test_barrier_is_an_asyncio_barrier_and_can_be_derived_from(objects):
    waits = []

    class Derived(objects.Barrier):
        async def wait(self):
            waits.append("wait")
            return await super().wait()

    barrier = Derived(1)
    assert isinstance(barrier, asyncio.Barrier)
    async with barrier as index:
        assert index == 0
    assert waits == ["wait"]
