"""asyncio.Condition: one body on asyncio's, on sabio's, on sabio's under C tasks, and on sabio's on asyncio's loop."""

import asyncio

import pytest

from tests.support.primitives import ended, in_every_way, settle, spawn, turns
from tests.support.tasks import WAYS, objects_of, run_way
from tests.support.versions import is_affected


class OtherLock:
    """A lock that is not of asyncio's family, but has its methods."""

    def __init__(self):
        self.inner = asyncio.Semaphore(1)

    def locked(self):
        return self.inner.locked()

    async def acquire(self):
        return await self.inner.acquire()

    def release(self):
        self.inner.release()


LOCKS = {
    "own": lambda objects: None,
    "same": lambda objects: objects.Lock(),
    "asyncio": lambda objects: asyncio.Lock(),
    "other": lambda objects: OtherLock(),
}


def on_every_lock(body):
    """Run a body that takes the condition's lock as its second argument on each kind of lock, in every way."""

    @pytest.mark.parametrize("lock", LOCKS)
    @pytest.mark.parametrize("way", WAYS)
    def test(way, lock):
        objects = objects_of(way) if way == "asyncio" else pytest.importorskip("sabio")

        async def main():
            await body(objects, LOCKS[lock](objects))

        run_way(way, main())

    test.__name__ = body.__name__
    return test


@on_every_lock
async def test_waiting_gives_the_lock_back_and_takes_it_again(objects, lock):
    condition = objects.Condition(lock)

    async def wait():
        async with condition:
            assert await condition.wait() is True
            assert condition.locked()
            return "woken"

    task = spawn(wait())
    await settle()
    assert not condition.locked()
    assert await condition.acquire() is True
    condition.notify()
    await settle()
    assert not task.done()
    assert condition.release() is None
    assert await task == "woken"
    assert not condition.locked()


@on_every_lock
async def test_tasks_are_notified_in_order(objects, lock):
    condition = objects.Condition(lock)
    order = []

    async def wait(name):
        async with condition:
            await condition.wait()
            order.append(name)

    tasks = []
    for name in "abcd":
        tasks.append(spawn(wait(name)))
        await settle()
    for count, expected in ((1, "a"), (2, "abc"), (0, "abc"), (-1, "abc"), (100, "abcd")):
        async with condition:
            condition.notify(count)
        await settle()
        assert "".join(order) == expected
    await asyncio.gather(*tasks)


@on_every_lock
async def test_everybody_is_notified(objects, lock):
    condition = objects.Condition(lock)

    async def wait():
        async with condition:
            return await condition.wait()

    tasks = [spawn(wait()) for _ in range(3)]
    await settle()
    assert len(condition._waiters) == 3
    async with condition:
        condition.notify_all()
    assert await asyncio.gather(*tasks) == [True] * 3
    assert len(condition._waiters) == 0


@on_every_lock
async def test_wait_for_waits_for_its_predicate(objects, lock):
    condition = objects.Condition(lock)
    value = 0

    async def wait():
        async with condition:
            return await condition.wait_for(lambda: value > 1 and value)

    task = spawn(wait())
    await settle()
    for value in (1, 2):  # noqa: B007  (the predicate reads it)
        assert not task.done()
        async with condition:
            condition.notify_all()
        await settle()
    assert await task == 2


@on_every_lock
async def test_predicate_that_raises_is_heard_of_with_the_lock_in_hand(objects, lock):
    condition = objects.Condition(lock)
    broken = False

    def predicate():
        if broken:
            raise ValueError("predicate")
        return False

    async def wait():
        async with condition:
            with pytest.raises(ValueError, match="predicate"):
                await condition.wait_for(predicate)
            assert condition.locked()

    task = spawn(wait())
    await settle()
    broken = True
    async with condition:
        condition.notify()
    await task
    assert not condition.locked()


@on_every_lock
async def test_cancelled_task_has_its_lock_back(objects, lock):
    condition = objects.Condition(lock)

    async def wait():
        async with condition:
            try:
                await condition.wait()
            finally:
                assert condition.locked()

    task = spawn(wait())
    await settle()
    await condition.acquire()
    task.cancel("message")
    await settle()
    assert not task.done()
    condition.release()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    if not is_affected("<3.13") or objects is not asyncio:
        assert caught.value.args == ("message",)
    assert not condition.locked()
    assert len(condition._waiters) == 0


@on_every_lock
async def test_task_is_cancelled_again_while_it_takes_its_lock_back(objects, lock):
    condition = objects.Condition(lock)

    async def wait():
        async with condition:
            await condition.wait()

    task = spawn(wait())
    await settle()
    await condition.acquire()
    for _ in range(3):
        task.cancel()
        await settle()
        assert not task.done()
    condition.release()
    assert await ended(task) == [asyncio.CancelledError]
    assert not condition.locked()


@on_every_lock
async def test_notification_of_a_cancelled_task_goes_to_another_one(objects, lock):
    if objects is asyncio and is_affected("<3.13"):
        return  # mended in asyncio with 3.13
    condition = objects.Condition(lock)
    items = 0

    async def consume():
        nonlocal items
        async with condition:
            await condition.wait_for(lambda: items > 0)
            items -= 1
            return "consumed"

    for pause in (0, 1, 2, 8):
        first, second = spawn(consume()), spawn(consume())
        await settle()
        await condition.acquire()
        items += 1
        condition.notify(1)
        await turns(pause)
        first.cancel()
        await turns(pause)
        condition.release()
        assert await ended(first, second) == [asyncio.CancelledError, "consumed"]
    assert items == 0


@on_every_lock
async def test_waiting_and_notifying_need_the_lock(objects, lock):
    condition = objects.Condition(lock)
    with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
        await condition.wait()
    with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
        await condition.wait_for(lambda: False)
    assert await condition.wait_for(lambda: [1]) == [1]
    with pytest.raises(RuntimeError, match=r"^cannot notify on un-acquired lock$"):
        condition.notify()
    with pytest.raises(RuntimeError, match=r"^cannot notify on un-acquired lock$"):
        condition.notify_all()


@on_every_lock
async def test_timeout_in_the_body(objects, lock):
    condition = objects.Condition(lock)
    async with condition:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await condition.wait()
        assert condition.locked()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(condition.wait_for(lambda: False), 0.005)
        assert condition.locked()
    assert not condition.locked()


@on_every_lock
async def test_repr_and_lock(objects, lock):
    condition = objects.Condition(lock)
    assert condition._lock is lock or lock is None
    assert repr(condition).endswith(" [unlocked]>")

    async def wait():
        async with condition:
            await condition.wait()

    task = spawn(wait())
    await settle()
    assert repr(condition).endswith(" [unlocked, waiters:1]>")
    async with condition:
        condition.notify_all()
        assert repr(condition).endswith(" [locked, waiters:1]>")
    await task


@in_every_way
async def test_two_conditions_share_a_lock(objects):
    lock = objects.Lock()
    full, empty = objects.Condition(lock), objects.Condition(lock)
    items = []

    async def produce():
        for number in range(10):
            async with empty:
                await empty.wait_for(lambda: len(items) < 2)
                items.append(number)
                full.notify()

    async def consume():
        taken = []
        for _ in range(10):
            async with full:
                await full.wait_for(lambda: items)
                taken.append(items.pop(0))
                empty.notify()
        return taken

    _, taken = await asyncio.gather(produce(), consume())
    assert taken == list(range(10))


@in_every_way
async def test_condition_takes_a_lock_and_nothing_else(objects):
    with pytest.raises(
        TypeError, match=r"^Condition\.__init__\(\) got an unexpected keyword argument 'loop'$"
    ):
        objects.Condition(loop=None)
    with pytest.raises(AttributeError):
        objects.Condition(object())
    lock = objects.Lock()
    assert objects.Condition(lock=lock)._lock is lock


@in_every_way
async def test_condition_is_an_asyncio_condition_and_can_be_derived_from(objects):
    waits = []

    class Derived(objects.Condition):
        async def wait(self):
            waits.append("wait")
            return await super().wait()

    condition = Derived()
    assert isinstance(condition, asyncio.Condition)
    value = 0

    async def wait():
        async with condition:
            return await condition.wait_for(lambda: value)

    task = spawn(wait())
    await settle()
    value = 3
    async with condition:
        condition.notify()
    assert await task == 3
    assert waits == ["wait"]


@in_every_way
async def test_exceptions_other_than_cancellations_come_out_with_the_lock_in_hand(objects):
    condition = objects.Condition()
    await condition.acquire()
    waiting = condition.wait()
    waiting.send(None)
    assert not condition.locked()
    with pytest.raises(ValueError, match="thrown"):
        waiting.throw(ValueError("thrown"))
    assert condition.locked()


@in_every_way
async def test_closing_the_coroutine_takes_a_free_lock_back(objects):
    condition = objects.Condition()

    async def wait():
        async with condition:
            await condition.wait()

    coroutine = wait()
    coroutine.send(None)
    assert not condition.locked()
    coroutine.close()
    assert not condition.locked()
    assert len(condition._waiters) == 0
