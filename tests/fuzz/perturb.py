"""Lets operations of a program take a few turns longer.

How many turns of the loop a gather or a task group takes is promised nowhere. So a program that uses them may do on
sabio whatever it would do on asyncio if some of its operations took a little longer. The delays have no label: they
leave no events.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.fuzz.program import DELAY, Block, Op, Program

#: How often several delays are tried together.
MIXTURES = 120
SHARES = (0.1, 0.2, 0.4)
LONGEST = 3

#: Called for each place where a delay can be, in the same order each time; gives its turns.
Turns = Callable[[], int]


def perturbed(program: Program) -> Iterator[Program]:
    """The program with a delay in one place, for every place, and then with several at random."""
    places = [0]

    def count() -> int:
        places[0] += 1
        return 0

    _delayed(program, count)
    for turns in range(1, LONGEST + 1):
        for place in range(places[0]):
            yield _delayed(program, _only(place, turns))
    choose = random.Random(0)
    for _ in range(MIXTURES):
        share = choose.choice(SHARES)
        yield _delayed(
            program, lambda share=share: choose.randint(1, LONGEST) if choose.random() < share else 0
        )


def _only(place: int, turns: int) -> Turns:
    left = iter(range(place, -1_000_000, -1))
    return lambda: turns if next(left) == 0 else 0


def _delayed(program: Program, turns: Turns) -> Program:
    return replace(program, tasks=tuple(_block(block, turns) for block in program.tasks))


def _block(block: Block, turns: Turns) -> Block:
    ops = tuple(_op(op, turns) for op in block)
    last = turns()
    return (*ops, Op(DELAY, str(last))) if last else ops


def _op(op: Op, turns: Turns) -> Op:
    return replace(
        op,
        delay=turns(),
        children=tuple(_block(child, turns) for child in op.children),
        body=_block(op.body, turns) if op.body else op.body,
    )
