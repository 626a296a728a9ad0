"""asyncio.Semaphore and BoundedSemaphore: one body on asyncio's and on sabio's, in every way of `WAYS`."""

import asyncio
import math

import pytest

from tests.support.primitives import ended, in_every_way, settle, spawn, turns
from tests.support.tasks import run_way


@in_every_way
async def test_permits_run_out_and_come_back(objects):
    semaphore = objects.Semaphore(2)
    assert semaphore._value == 2
    assert await semaphore.acquire() is True
    assert not semaphore.locked()
    assert await semaphore.acquire() is True
    assert semaphore.locked()
    waiting = spawn(semaphore.acquire())
    await turns()
    assert not waiting.done()
    assert semaphore.release() is None
    assert semaphore._value == 0
    assert await waiting is True
    semaphore.release()
    semaphore.release()
    semaphore.release()
    assert semaphore._value == 3


@in_every_way
async def test_tasks_take_turns(objects):
    semaphore = objects.Semaphore(2)
    order = []

    async def work(name):
        for round_ in range(2):
            async with semaphore:
                order.append((round_, name))
                await asyncio.sleep(0)

    await asyncio.gather(*(work(name) for name in "abcd"))
    assert sorted(order[:4]) == [(0, name) for name in "abcd"]
    assert order == sorted(order)
    assert semaphore._value == 2


@in_every_way
async def test_newcomer_does_not_take_the_permit_of_a_woken_task(objects):
    semaphore = objects.Semaphore(0)
    order = []

    async def work(name):
        await semaphore.acquire()
        order.append(name)

    tasks = [spawn(work("first")), spawn(work("second"))]
    await turns()
    semaphore.release()
    semaphore.release()
    semaphore.release()
    assert semaphore._value == 1
    assert semaphore.locked()
    await work("newcomer")
    await asyncio.gather(*tasks)
    assert order == ["first", "second", "newcomer"]
    assert semaphore._value == 0


@in_every_way
async def test_cancelled_waiters_lose_no_permit(objects):
    semaphore = objects.Semaphore(0)
    tasks = [spawn(semaphore.acquire()) for _ in range(4)]
    await turns()
    tasks[0].cancel()
    semaphore.release()
    tasks[1].cancel()
    semaphore.release()
    assert await ended(*tasks) == [asyncio.CancelledError, asyncio.CancelledError, True, True]
    assert semaphore._value == 0


@in_every_way
async def test_permit_of_a_task_that_is_cancelled_after_it_was_woken_goes_on(objects):
    semaphore = objects.Semaphore(0)
    first, second = spawn(semaphore.acquire()), spawn(semaphore.acquire())
    await turns()
    semaphore.release()
    first.cancel()
    assert await ended(first, second) == [asyncio.CancelledError, True]
    third = spawn(semaphore.acquire())
    await turns()
    semaphore.release()
    third.cancel()
    assert await ended(third) == [asyncio.CancelledError]
    assert semaphore._value == 1


@in_every_way
async def test_repr_tells_value_and_number_of_waiters(objects):
    semaphore = objects.Semaphore()
    assert repr(semaphore).endswith(" [unlocked, value:1]>")
    async with semaphore:
        assert repr(semaphore).endswith(" [locked]>")
        task = spawn(semaphore.acquire())
        await turns()
        assert repr(semaphore).endswith(" [locked, waiters:1]>")
    await task


@in_every_way
async def test_wrong_values_are_refused(objects):
    for kind in (objects.Semaphore, objects.BoundedSemaphore):
        with pytest.raises(ValueError, match=r"^Semaphore initial value must be >= 0$"):
            kind(-1)
        with pytest.raises(TypeError):
            kind("1")
        name = kind.__name__
        with pytest.raises(
            TypeError, match=rf"^{name}\.__init__\(\) got an unexpected keyword argument 'loop'$"
        ):
            kind(loop=None)
        assert kind(value=0).locked()
        assert kind(True)._value == 1


@in_every_way
async def test_bounded_semaphore_is_not_released_too_often(objects):
    semaphore = objects.BoundedSemaphore(2)
    assert isinstance(semaphore, objects.Semaphore)
    assert isinstance(semaphore, asyncio.BoundedSemaphore)
    with pytest.raises(ValueError, match=r"^BoundedSemaphore released too many times$"):
        semaphore.release()
    async with semaphore:
        assert semaphore._value == 1
    with pytest.raises(ValueError, match=r"^BoundedSemaphore released too many times$"):
        semaphore.release()
    assert semaphore._bound_value == 2


@in_every_way
async def test_semaphore_can_be_derived_from(objects):
    class Derived(objects.BoundedSemaphore):
        releases = 0

        def __init__(self):
            super().__init__(1)

        def release(self):
            self.releases += 1
            super().release()

    semaphore = Derived()
    async with semaphore:
        assert semaphore.locked()
    assert semaphore.releases == 1
    with pytest.raises(ValueError, match="too many times"):
        semaphore.release()


@in_every_way
async def test_many_tasks_and_few_permits(objects):
    semaphore = objects.Semaphore(3)
    running = 0
    most = 0

    async def work(number):
        nonlocal running, most
        async with semaphore:
            running += 1
            most = max(most, running)
            await turns(number % 3)
            running -= 1

    tasks = [spawn(work(number)) for number in range(50)]
    await turns(3)
    for task in tasks[::7]:
        task.cancel()
    await ended(*tasks)
    assert most == 3
    assert semaphore._value == 3
    await settle()


def test_permits_are_whole_numbers_or_infinity(sabio):
    async def main():
        with pytest.raises(TypeError, match=r"a whole number is required"):
            sabio.Semaphore(1.5)
        assert sabio.Semaphore(2.0)._value == 2
        semaphore = sabio.Semaphore(math.inf)
        for _ in range(5):
            await semaphore.acquire()
        assert semaphore._value == math.inf
        semaphore.release()
        assert repr(semaphore).endswith(" [unlocked, value:inf]>")

    run_way("sabio", main())
