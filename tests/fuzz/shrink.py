"""Makes a program that shows a difference smaller: takes away whatever the difference does not need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.fuzz.compare import Difference
from tests.fuzz.program import Block, Op, Program

SECONDS = 30.0


def shrink(difference: Difference, again: Callable[[Program], Difference | None]) -> Difference:
    """The smallest difference that taking away leads to; `again` says whether a program still makes one."""
    deadline = time.monotonic() + SECONDS
    while smaller := _first(difference, again, deadline):
        difference = smaller
    return difference


def _first(
    difference: Difference, again: Callable[[Program], Difference | None], deadline: float
) -> Difference | None:
    for program in _smaller(difference.program):
        if time.monotonic() > deadline:
            return None
        if found := again(program):
            return found
    return None


def _smaller(program: Program) -> Iterator[Program]:
    """Programs with one thing less, the largest things first."""
    victim, turn = program.cancel or (-1, 0)
    if program.cancel:
        yield replace(program, cancel=None)
    for number in range(len(program.tasks)):
        if number != victim and len(program.tasks) > 1:
            kept = program.tasks[:number] + program.tasks[number + 1 :]
            cancel = (victim - (number < victim), turn) if program.cancel else None
            yield replace(program, tasks=kept, cancel=cancel)
    for number, block in enumerate(program.tasks):
        for smaller in _blocks(block):
            yield replace(program, tasks=(*program.tasks[:number], smaller, *program.tasks[number + 1 :]))
    if program.cancel:
        for earlier in range(turn):
            yield replace(program, cancel=(victim, earlier))


def _blocks(block: Block) -> Iterator[Block]:
    for place, op in enumerate(block):
        before, after = block[:place], block[place + 1 :]
        yield before + after
        yield from (before + inside + after for inside in (*op.children, op.body) if inside)
        yield from ((*before, smaller, *after) for smaller in _ops(op))


def _ops(op: Op) -> Iterator[Op]:
    if op.keep:
        yield replace(op, keep=False)
    if op.text.startswith("sleep(") and op.text != "sleep(1)":
        yield replace(op, text="sleep(1)")
    for smaller in _blocks(op.body):
        yield replace(op, body=smaller)
    for place, child in enumerate(op.children):
        # A child may go only where nothing names it: the tasks of a group come from the list alone.
        if "{" not in op.text:
            yield replace(op, children=op.children[:place] + op.children[place + 1 :])
        for smaller in _blocks(child):
            yield replace(op, children=(*op.children[:place], smaller, *op.children[place + 1 :]))
