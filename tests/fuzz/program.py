"""A program: some objects to wait on, some tasks that use them, and which of these is cancelled in which turn.

Operations form a tree, so that any of them can be taken out and what is left is still a program. A program is run
from the same text that a failure prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

Block = tuple["Op", ...]

#: How an operation's text is used.
CALL, AWAIT, WITH, EACH, RAISE, DELAY = "call", "await", "with", "each", "raise", "delay"


@dataclass(frozen=True)
class Op:
    """One operation.

    In `text`, `$` stands for the label of the operation, which is unique, and `{0}`, `{1}` ... for calls of the
    coroutine functions that `children` become. With WITH, `body` is what happens inside, and in a task group the
    children become tasks of it. `keep` means that the task goes on although it was cancelled here.
    """

    style: str
    text: str
    children: tuple[Block, ...] = ()
    body: Block = ()
    keep: bool = False
    #: Turns that it takes longer than it would; only what is expected of other programs has such.
    delay: int = 0


@dataclass(frozen=True)
class Program:
    """Tasks that start in this order; `objects` maps the names of what they share to how it is made."""

    objects: tuple[tuple[str, str], ...]
    tasks: tuple[Block, ...]
    #: The number of the task that is cancelled, and the turn of the loop in which it is.
    cancel: tuple[int, int] | None = None

    def source(self) -> str:
        """The program as Python text."""
        lines = [
            "limits, groups, flags = [None] * 3, [None] * 3, set()",
            *[f"{name} = {made}" for name, made in self.used_objects()],
        ]
        for number, block in enumerate(self.tasks):
            lines += _function(f"t{number}", block)
        names = ", ".join(f"t{number}" for number in range(len(self.tasks)))
        shared = ", ".join(f"{name!r}: {name}" for name, _ in self.used_objects())
        lines.append(f"return {{{shared}}}, limits, [{names}]")
        return "\n".join(
            [
                "def program(a, step, sleep, spawn):",
                *[f"    {line}" for line in lines],
                "",
                f"CANCEL = {self.cancel}",
                "",
            ]
        )

    def used_objects(self) -> list[tuple[str, str]]:
        """The objects that an operation names."""
        texts = " ".join(op.text for block in self.tasks for op in walk(block))
        return [(name, made) for name, made in self.objects if name in texts]

    @property
    def size(self) -> int:
        """How many operations there are."""
        return sum(1 for block in self.tasks for _ in walk(block))


def walk(block: Block) -> Iterator[Op]:
    """All operations of a block and below it."""
    for op in block:
        yield op
        for inner in (*op.children, op.body):
            yield from walk(inner)


def _function(name: str, block: Block) -> list[str]:
    lines, labels, children = [f"async def {name}():"], count(), count()
    lines += [f"    {line}" for line in _block(name, block, labels, children)]
    return lines


def _block(name: str, block: Block, labels: Iterator[int], children: Iterator[int]) -> list[str]:
    lines: list[str] = []
    for op in block:
        lines += _operation(op, name, labels, children)
    return lines or ["pass"]


def _operation(op: Op, name: str, labels: Iterator[int], children: Iterator[int]) -> list[str]:
    if op.style == DELAY:
        return [f"await sleep({op.text})"]
    label = f"{name}.{next(labels)}"
    lines: list[str] = []
    names = []
    for block in op.children:
        names.append(f"{name}_{next(children)}")
        lines += _function(names[-1], block)
    text = op.text.replace("$", label).format(*[f"{child}()" for child in names])
    if op.style == RAISE:
        return [*lines, *_delay(op), f"raise {text}"]
    lines.append(f"with step({label!r}{', keep=True' if op.keep else ''}) as s:")
    if op.style == CALL:
        inner = [f"s.result = {text}"]
    elif op.style == AWAIT:
        inner = [f"s.result = await {text}"]
    elif op.style == EACH:
        inner = [f"for first in {text}:", "    s.log(await first)"]
    else:
        inner = [f"async with {text}:"]
        group = text.rpartition(" as ")[2]
        inner += [f"    {group}.create_task({child}())" for child in names]
        inner += [f"    {line}" for line in _block(name, op.body, labels, children)]
    return lines + [f"    {line}" for line in (*_delay(op), *inner)]


def _delay(op: Op) -> list[str]:
    return [f"await sleep({op.delay})"] if op.delay else []
