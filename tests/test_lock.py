"""asyncio.Lock: one body on asyncio's, on sabio's, on sabio's under C tasks, and on sabio's on asyncio's loop."""

import asyncio
import gc
import warnings
import weakref

import pytest

from tests.support.primitives import ended, in_every_way, settle, spawn, turns
from tests.support.tasks import run_way


@in_every_way
async def test_lock_is_taken_and_given_back(objects):
    lock = objects.Lock()
    assert not lock.locked()
    assert await lock.acquire() is True
    assert lock.locked()
    assert lock.release() is None
    assert not lock.locked()


@in_every_way
async def test_async_with_gives_none_and_releases(objects):
    lock = objects.Lock()
    async with lock as given:
        assert given is None
        assert lock.locked()
    assert not lock.locked()
    with pytest.raises(ValueError, match="inside"):
        async with lock:
            raise ValueError("inside")
    assert not lock.locked()


@in_every_way
async def test_tasks_get_the_lock_in_the_order_in_which_they_ask(objects):
    lock = objects.Lock()
    order = []

    async def work(name):
        for round_ in range(3):
            async with lock:
                order.append((name, round_))
                await asyncio.sleep(0)

    await asyncio.gather(*(work(name) for name in "abcd"))
    assert order == [(name, round_) for round_ in range(3) for name in "abcd"]


@in_every_way
async def test_released_lock_is_not_taken_by_a_newcomer(objects):
    lock = objects.Lock()
    await lock.acquire()
    order = []

    async def work(name):
        await lock.acquire()
        order.append(name)
        lock.release()

    first = spawn(work("first"))
    await turns()
    lock.release()
    assert not lock.locked()
    await work("newcomer")
    await first
    assert order == ["first", "newcomer"]


@in_every_way
async def test_releasing_a_free_lock_is_an_error(objects):
    lock = objects.Lock()
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        lock.release()
    await lock.acquire()
    lock.release()
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        lock.release()


@in_every_way
async def test_cancelled_waiter_leaves_the_line(objects):
    lock = objects.Lock()
    await lock.acquire()
    first, second = spawn(lock.acquire()), spawn(lock.acquire())
    await turns()
    assert len(lock._waiters) == 2
    first.cancel("message")
    with pytest.raises(asyncio.CancelledError, match="message"):
        await first
    assert len(lock._waiters) == 1
    lock.release()
    assert await second is True
    assert lock.locked()


@in_every_way
async def test_waiter_that_is_cancelled_after_it_was_woken_passes_the_lock_on(objects):
    lock = objects.Lock()
    await lock.acquire()
    first, second = spawn(lock.acquire()), spawn(lock.acquire())
    await turns()
    lock.release()
    first.cancel()
    assert await ended(first, second) == [asyncio.CancelledError, True]
    assert lock.locked()


@in_every_way
async def test_waiter_that_is_woken_after_it_was_cancelled_passes_the_lock_on(objects):
    lock = objects.Lock()
    await lock.acquire()
    first, second = spawn(lock.acquire()), spawn(lock.acquire())
    await turns()
    first.cancel()
    lock.release()
    assert await ended(first, second) == [asyncio.CancelledError, True]
    assert lock.locked()


@in_every_way
async def test_cancelled_task_in_the_body_releases(objects):
    lock = objects.Lock()

    async def hold():
        async with lock:
            await asyncio.sleep(60)

    task, waiting = spawn(hold()), spawn(lock.acquire())
    await turns(2)
    task.cancel()
    assert await ended(task, waiting) == [asyncio.CancelledError, True]


@in_every_way
async def test_acquire_acts_when_it_is_awaited(objects):
    lock = objects.Lock()
    acquiring = lock.acquire()
    assert not lock.locked()
    await acquiring
    assert lock.locked()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lock.acquire()
        gc.collect()
    [warning] = caught
    assert str(warning.message) == "coroutine 'Lock.acquire' was never awaited"


@in_every_way
async def test_acquire_is_a_coroutine(objects):
    lock = objects.Lock()
    acquiring = lock.acquire()
    assert asyncio.iscoroutine(acquiring)
    acquiring.close()
    assert await asyncio.wait_for(lock.acquire(), 5) is True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lock.acquire(), 0.005)
    lock.release()
    assert await asyncio.gather(lock.acquire()) == [True]


@in_every_way
async def test_repr_tells_state_and_number_of_waiters(objects):
    lock = objects.Lock()
    assert repr(lock).startswith("<")
    assert repr(lock).endswith(" [unlocked]>")
    assert f"Lock object at {hex(id(lock))}" in repr(lock)
    await lock.acquire()
    assert repr(lock).endswith(" [locked]>")
    tasks = [spawn(lock.acquire()) for _ in range(3)]
    await turns()
    assert repr(lock).endswith(" [locked, waiters:3]>")
    lock.release()
    assert repr(lock).endswith(" [unlocked, waiters:3]>")
    tasks[0].cancel()
    await settle()
    assert repr(lock).endswith(" [locked, waiters:1]>")
    tasks[2].cancel()
    await settle()


@in_every_way
async def test_lock_takes_no_arguments(objects):
    name = "Lock"
    with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) got an unexpected keyword argument 'loop'$"):
        objects.Lock(loop=asyncio.get_running_loop())
    with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given"):
        objects.Lock(1)


@in_every_way
async def test_lock_is_an_asyncio_lock_and_can_be_derived_from(objects):
    calls = []

    class Derived(objects.Lock):
        def __init__(self, name):
            super().__init__()
            self.name = name

        async def acquire(self):
            calls.append("acquire")
            return await super().acquire()

        def release(self):
            calls.append("release")
            super().release()

    assert issubclass(objects.Lock, asyncio.Lock)
    lock = Derived("name")
    assert isinstance(lock, asyncio.Lock)
    async with lock:
        assert lock.locked()
        assert calls == ["acquire"]
    assert calls == ["acquire", "release"]
    assert lock.name == "name"
    assert weakref.ref(lock)() is lock
    plain = objects.Lock()
    plain.anything = 1
    assert plain.anything == 1


@in_every_way
async def test_lock_can_not_be_awaited(objects):
    with pytest.raises(TypeError, match="Lock"):
        await objects.Lock()


@pytest.mark.parametrize("way", ["asyncio", "sabio", "foreign-loop"])
def test_lock_belongs_to_the_loop_where_somebody_first_waited(way):
    objects = asyncio if way == "asyncio" else pytest.importorskip("sabio")
    lock = objects.Lock()

    async def wait():
        async with lock:
            task = spawn(lock.acquire())
            await turns()
        await task
        lock.release()

    async def take():
        async with lock:
            pass

    async def contend():
        async with lock:
            await lock.acquire()

    run_way(way, take())
    run_way(way, take())
    run_way(way, wait())
    run_way(way, take())
    with pytest.raises(
        RuntimeError, match=r"Lock object at .* \[locked\]> is bound to a different event loop$"
    ):
        run_way(way, contend())


@in_every_way
async def test_who_waits_in_a_cycle_is_collected(objects):
    class Holder:
        pass

    async def forever(holder):
        await holder.lock.acquire()

    holder = Holder()
    holder.lock = objects.Lock()
    await holder.lock.acquire()
    holder.coroutine = forever(holder)
    holder.coroutine.send(None)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


def test_who_waits_is_shown_and_can_not_be_changed(sabio):
    async def main():
        lock = sabio.Lock()
        await lock.acquire()
        task = spawn(lock.acquire())
        await turns()
        [waiter] = lock._waiters
        assert (waiter.done(), waiter.cancelled()) == (False, False)
        lock._waiters.append(waiter)
        assert len(lock._waiters) == 1
        task.cancel()
        [waiter] = lock._waiters
        assert (waiter.done(), waiter.cancelled()) == (True, True)
        await ended(task)
        assert not lock._waiters

    run_way("sabio", main())


def test_aenter_of_a_free_lock_acts_when_it_is_called(sabio):
    async def main():
        lock = sabio.Lock()
        entering = lock.__aenter__()
        assert lock.locked()
        assert await entering is None
        leaving = lock.__aexit__(None, None, None)
        assert not lock.locked()
        assert await leaving is None

    run_way("sabio", main())


def test_lock_is_shared_by_tasks_of_every_kind(sabio):
    async def main():
        lock = sabio.Lock()
        loop = asyncio.get_running_loop()
        order = []

        async def work(name):
            for _ in range(20):
                async with lock:
                    order.append(name)
                    await asyncio.sleep(0)

        kinds = [asyncio.tasks._CTask, asyncio.tasks._PyTask, sabio.Task]
        await asyncio.gather(*(kind(work(number), loop=loop) for number, kind in enumerate(kinds)))
        assert sorted(order) == sorted([0, 1, 2] * 20)
        # Nobody is passed over: between two turns of one task everybody else has one.
        assert order[3:57] == order[:3] * 18
        assert not lock.locked()

    run_way("sabio", main())


@in_every_way
async def test_leaving_takes_what_a_block_gives(objects):
    for make in (objects.Lock, objects.Condition, objects.Semaphore):
        primitive = make()
        for given in ((), (None,), (None, None, None, None)):
            with pytest.raises(TypeError):
                await primitive.__aexit__(*given)
        await primitive.acquire()
        await primitive.__aexit__(exc_type=None, exc=None, tb=None)
        if make is not objects.Semaphore:
            with pytest.raises(RuntimeError):
                await primitive.__aexit__(None, None, None)


async def test_methods_that_are_set_on_a_lock_are_not_seen(sabio):
    lock = sabio.Lock()
    lock.acquire = lock.release = None
    async with lock:
        assert lock.locked()
    assert not lock.locked()
