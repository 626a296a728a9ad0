"""Decides whether a program that is cancelled at every step does the same in every setting.

Where only locks, queues and the like are used and nothing is cancelled, everything must be the same, the order of the
events of all tasks included: asyncio serves those first who came first, and a wake-up takes one turn. How many turns a
gather, a task group or a timeout takes is promised nowhere, and neither is it whether a waiter that is cancelled, but
has not run since, still stands in the line. So a program with such may do whatever it can do on asyncio when some of
its operations take a few turns longer, and when the cancellation comes in another turn.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.fuzz.execute import Outcome, Setting, compiled, execute
from tests.fuzz.perturb import perturbed
from tests.fuzz.program import EACH, RAISE, Program, walk

#: Turns beyond the last one of the reference in which a cancellation is tried too.
BEYOND = 2


@dataclass(frozen=True)
class Difference:
    """A program, with its cancellation, that does not do in a setting what it does in the reference."""

    program: Program
    setting: str
    expected: Outcome
    found: Outcome

    def __str__(self) -> str:
        """The program as text that can be run, and what differs."""
        lines = [self.program.source(), f"# {self.setting} differs from asyncio:"]
        pairs = [("order", self.expected.events, self.found.events)] + [
            (when, getattr(self.expected, when), getattr(self.found, when)) for when in ("quiet", "end")
        ]
        for what, expected, found in pairs:
            if expected != found:
                lines += [
                    f"#   {what}, asyncio: {_shown(expected, found)}",
                    f"#   {what}, found:   {_shown(found, expected)}",
                ]
        return "\n".join(lines)


def _shown(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        return str({key: value for key, value in one.items() if other.get(key) != value})
    if isinstance(one, list):
        return " | ".join(f"{label} {what}" for label, what in one)
    return str(one)


def combines(program: Program) -> bool:
    """Whether a program uses what may take another number of turns than asyncio's."""
    return any(
        op.style in (EACH, RAISE) or op.children or "a." in op.text or "limits[" in op.text
        for block in program.tasks
        for op in walk(block)
    )


class Comparison:
    """Compares settings with the reference; keeps their loops between programs."""

    def __init__(self, reference: Setting, settings: Sequence[Setting]) -> None:
        """Makes a loop for each setting; `close` closes them."""
        self._reference = reference
        self._settings = settings
        with contextlib.ExitStack() as stack:
            self._loops = {
                setting.name: stack.enter_context(contextlib.closing(setting.loop_factory()))
                for setting in (reference, *settings)
            }
            self._stack = stack.pop_all()
        #: Of one program: what it is, what it may do as far as that is known, and where to find out more.
        self._known: tuple[object, list[str], Iterator[str]] = (None, [], iter(()))

    def close(self) -> None:
        """Closes the loops."""
        self._stack.close()

    def run(self, program: Program, setting: Setting) -> Outcome:
        """What a program does in a setting."""
        return execute(compiled(program.source()), program.cancel, setting, self._loops[setting.name])

    def with_every_cancellation(self, program: Program) -> Difference | None:
        """The first difference that the program or one of its cancellations makes."""
        undisturbed = self.run(program, self._reference)
        for cancel in self._cancellations(program, undisturbed):
            if difference := self.once(replace(program, cancel=cancel)):
                return difference
        return None

    @staticmethod
    def _cancellations(program: Program, undisturbed: Outcome) -> Iterator[tuple[int, int] | None]:
        yield None
        for turn in range(undisturbed.turns + BEYOND):
            for task in range(len(program.tasks)):
                yield task, turn

    def once(self, program: Program) -> Difference | None:
        """The first difference that the program makes as it stands."""
        expected = self.run(program, self._reference)
        for setting in self._settings:
            found = self.run(program, setting)
            exact = program.cancel is None and not combines(program)
            if exact and found.order() != expected.order():
                return Difference(program, setting.name, expected, found)
            state = found.state()
            if state != expected.state() and not any(state == other for other in self._allowed(program)):
                return Difference(program, setting.name, expected, found)
        return None

    def _allowed(self, program: Program) -> Iterator[str]:
        """What a program may do beside what it does on asyncio; kept, because its next cancellation asks again."""
        key = (program.tasks, program.cancel and program.cancel[0])
        if self._known[0] != key:
            self._known = key, [], self._states(program)
        _, states, more = self._known
        yield from list(states)
        for state in more:
            states.append(state)
            yield state

    def _states(self, program: Program) -> Iterator[str]:
        for varied in itertools.chain([program], perturbed(program)):
            undisturbed = self.run(replace(varied, cancel=None), self._reference)
            if program.cancel is None:
                yield undisturbed.state()
                continue
            for turn in range(undisturbed.turns + BEYOND):
                yield self.run(replace(varied, cancel=(program.cancel[0], turn)), self._reference).state()
