"""Random programs over locks and their like, with a cancellation at any step: on sabio they go as on asyncio.

A program is a list of small tasks, made from a seed, and a list of cancellations, each of one task after so many turns.
What happens, step by step and in order, is written to a log; the log of sabio's objects on sabio's loop must be that of
asyncio's objects on asyncio's loop. Under other tasks and on other loops the turns differ, so there only the end
counts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.tasks import objects_of, run_way
from tests.support.versions import is_affected

PROGRAMS = 1000
TASKS = 5


class World:
    """The objects that the tasks of one program share, and what happened."""

    def __init__(self, objects: Any) -> None:
        self.log: list[Any] = []
        self.lock = objects.Lock()
        self.event = objects.Event()
        self.semaphore = objects.Semaphore(2)
        self.condition = objects.Condition(self.lock)
        self.barrier = objects.Barrier(2)
        self.items = 0

    def state(self) -> tuple[Any, ...]:
        """What can be seen from outside."""
        return (
            self.lock.locked(),
            len(self.lock._waiters or ()),
            self.event.is_set(),
            len(self.event._waiters),
            self.semaphore._value,
            self.semaphore.locked(),
            len(self.semaphore._waiters or ()),
            len(self.condition._waiters),
            self.barrier._count,
            self.barrier.n_waiting,
            self.items,
        )


async def hold_lock(world: World, pause: int) -> None:
    async with world.lock:
        await turns(pause)


async def acquire_and_release(world: World, pause: int) -> None:
    await world.lock.acquire()
    try:
        await turns(pause)
    finally:
        world.lock.release()


async def hold_permit(world: World, pause: int) -> None:
    async with world.semaphore:
        await turns(pause)


async def move_permits(world: World, pause: int) -> None:
    await world.semaphore.acquire()
    await turns(pause)
    world.semaphore.release()


async def wait_for_event(world: World, pause: int) -> None:
    await world.event.wait()
    await turns(pause)
    if pause:
        world.event.clear()


async def set_event(world: World, pause: int) -> None:
    await turns(pause)
    world.event.set()


async def consume(world: World, pause: int) -> None:
    async with world.condition:
        await world.condition.wait_for(lambda: world.items > 0)
        world.items -= 1
        await turns(pause)


async def produce(world: World, pause: int) -> None:
    async with world.condition:
        world.items += 1
        world.condition.notify(1 + pause)


async def notify_all(world: World, pause: int) -> None:
    await turns(pause)
    async with world.condition:
        world.condition.notify_all()


async def wait_once(world: World, pause: int) -> None:
    await turns(pause)
    async with world.condition:
        await world.condition.wait()


async def meet(world: World, pause: int) -> int:
    await turns(pause)
    index: int = await world.barrier.wait()
    return index


async def reset_barrier(world: World, pause: int) -> None:
    await turns(pause)
    await world.barrier.reset()


STEPS: list[Callable[[World, int], Any]] = [
    hold_lock,
    acquire_and_release,
    hold_permit,
    move_permits,
    wait_for_event,
    set_event,
    consume,
    produce,
    notify_all,
    wait_once,
    meet,
    reset_barrier,
]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def follow(world: World, name: int, plan: list[tuple[Callable[[World, int], Any], int]]) -> None:
    for step, pause in plan:
        try:
            result = await step(world, pause)
        except asyncio.CancelledError:
            world.log.append((name, step.__name__, "cancelled", world.state()))
            raise
        except asyncio.BrokenBarrierError as error:
            result = str(error)
        world.log.append((name, step.__name__, result, world.state()))


async def run_program(objects: Any, seed: int, patience: int) -> tuple[list[Any], Any]:
    """Run the program of this seed; its log and its end."""
    chance = random.Random(seed)
    world = World(objects)
    # Each program is about a few of the objects, so that tasks do meet.
    steps = chance.sample(STEPS, chance.randint(2, 5))
    plans = [
        [(chance.choice(steps), chance.randint(0, 2)) for _ in range(chance.randint(1, 4))]
        for _ in range(TASKS)
    ]
    cancellations = [(chance.randint(0, 12), chance.randrange(TASKS)) for _ in range(chance.randint(0, 4))]
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(follow(world, name, plan)) for name, plan in enumerate(plans)]
    for turn in range(13):
        for at, task in cancellations:
            if at == turn:
                world.log.append((task, "cancel", tasks[task].cancel(), world.state()))
        await turns(1)
        world.log.append(("turn", turn, world.state()))
    await turns(patience)
    ends = [task.done() and (task.cancelled() or repr(task.exception())) for task in tasks]
    end = (ends, world.state())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # Whoever waited has left, and nothing is held any more.
    assert not world.lock.locked()
    assert world.semaphore._value >= 2 or move_permits in steps
    assert not world.barrier._count
    return world.log, end


def seeds() -> list[int]:
    return list(range(PROGRAMS))


@pytest.mark.timeout(120, method="signal")
def test_programs_go_step_by_step_as_on_asyncio(sabio: Any) -> None:
    if is_affected("<3.13"):
        pytest.skip("sabio does what asyncio does from 3.13")
    for seed in seeds():
        expected = run_way("asyncio", run_program(asyncio, seed, 60))
        found = run_way("sabio", run_program(sabio, seed, 60))
        assert found == expected, seed


@pytest.mark.parametrize("way", ["sabio", "c-tasks", "foreign-loop"])
@pytest.mark.timeout(120, method="signal")
def test_programs_end_in_order_under_any_task_and_on_any_loop(sabio: Any, way: str) -> None:
    for seed in seeds():
        run_way(way, run_program(objects_of(way), seed, 200))
