"""Random programs of gather, wait, as_completed and shield, with a cancellation somewhere: on sabio as on asyncio.

A program is a tree whose leaves work for some turns and then return, raise or cancel themselves. What is
compared is everything that can be seen: who did what in which turn, how the whole ended, and what was
reported because nobody asked for it.
"""

import asyncio
import gc
import random

import pytest

from tests.support.combinations import run

SEEDS = range(120)
TURNS = 60
#: Under tasks of other kinds on sabio's loop native coroutines take a turn more, so these two only.
PAIRINGS = ("sabio", "sabio-on-asyncio")
CONDITIONS = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)


def make_tree(rng, depth):
    """A random tree: (kind, parameter, children)."""
    kind = rng.choice(["work", "gather", "gather", "shield", "wait", "completed"]) if depth else "work"
    if kind == "work":
        return (kind, (rng.randrange(6), rng.choice(["value", "value", "value", "error", "cancel"])), [])
    children = [make_tree(rng, depth - 1) for _ in range(1 if kind == "shield" else rng.randrange(1, 4))]
    parameter = rng.choice(CONDITIONS) if kind == "wait" else rng.random() < 0.4
    return (kind, parameter, children)


class Program:
    """One run of a tree with the functions of `aio`."""

    def __init__(self, aio, log):
        self.aio = aio
        self.log = log
        self.turn = 0

    def note(self, *event):
        self.log.append((self.turn, *event))

    async def play(self, tree, name):
        kind, parameter, children = tree
        self.note(name, "starts")
        try:
            result = await getattr(self, kind)(parameter, children, name)
        except BaseException as error:
            self.note(name, "raises", type(error).__name__, error.args)
            raise
        self.note(name, "returns", shown(result))
        return result

    def tasks(self, children, name):
        tasks = []
        for number, child in enumerate(children):
            tasks.append(self.aio.ensure_future(self.play(child, f"{name}.{number}")))
            tasks[-1].set_name(str(number))
        return tasks

    async def work(self, parameter, children, name):
        count, outcome = parameter
        for _ in range(count):
            await self.aio.sleep(0)
        if outcome == "error":
            raise KeyError(name)
        if outcome == "cancel":
            raise asyncio.CancelledError(name)
        return name

    async def gather(self, parameter, children, name):
        playing = [self.play(child, f"{name}.{number}") for number, child in enumerate(children)]
        return await self.aio.gather(*playing, return_exceptions=parameter)

    async def shield(self, parameter, children, name):
        [task] = self.tasks(children, name)
        return await self.aio.shield(task)

    async def wait(self, parameter, children, name):
        done, pending = await self.aio.wait(self.tasks(children, name), return_when=parameter)
        if pending and len(name) % 2:
            for task in sorted(pending, key=lambda task: int(task.get_name())):
                task.cancel("left")
        return [len(done), len(pending)]

    async def completed(self, parameter, children, name):
        results = []
        for coroutine in self.aio.as_completed(self.tasks(children, name)):
            try:
                results.append(await coroutine)
            except KeyError as error:
                results.append(error)
        return results


def shown(result):
    """A result as something that can be compared."""
    if isinstance(result, list):
        return [shown(item) for item in result]
    if isinstance(result, BaseException):
        return [type(result).__name__, *result.args]
    return result


async def play(aio, seed):
    """Plays the program of `seed` to its end; everything that was seen."""
    rng = random.Random(seed)
    tree = make_tree(rng, 3)
    cancel_at = rng.choice([None, rng.randrange(12), rng.randrange(12)])
    log, reported = [], []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append((context["message"], type(context.get("exception")).__name__))
    )
    program = Program(aio, log)
    task = aio.ensure_future(program.play(tree, "0"))
    for program.turn in range(TURNS):
        if program.turn == cancel_at:
            program.note("cancel", task.cancel("stop"))
        await asyncio.sleep(0)
    assert task.done()
    log.append(("cancelled", task.cancelled()))
    if not task.cancelled():
        log.append(shown(task.exception()))
    left = [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]
    assert not left
    del task, program, left
    gc.collect()
    return log, sorted(reported)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_random_programs_do_what_they_do_on_asyncio(pairing):
    for seed in SEEDS:
        expected = run("asyncio", lambda aio, seed=seed: play(aio, seed))
        assert run(pairing, lambda aio, seed=seed: play(aio, seed)) == expected, f"seed {seed}"
