"""Runs a program on one loop with one set of objects, and writes down what happened.

A run ends when nothing happens any more. What still waits then is part of the result; it is cancelled, again and again
if it does not give up, and how everything stands afterwards is the rest of the result.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any

#: Turns without an event after which nothing is expected to happen any more.
QUIET_TURNS = 14
MOST_TURNS = 400
MOST_ROUNDS = 12

Compiled = Callable[..., Any]


@dataclass
class Outcome:
    """What happened: events in their order, and how tasks and objects stood when all was quiet and at the end."""

    events: list[tuple[str, str]] = field(default_factory=list)
    quiet: dict[str, str] = field(default_factory=dict)
    end: dict[str, str] = field(default_factory=dict)
    #: How many of the events happened until all was quiet.
    until_quiet: int = 0
    #: Turns until all was quiet.
    turns: int = field(default=0, compare=False)

    def order(self) -> tuple[object, object]:
        """The order of events until all was quiet, and how everything stood then."""
        return self.events[: self.until_quiet], self.quiet

    def state(self) -> str:
        """Everything but the order of events of different tasks."""
        tasks: dict[str, list[tuple[str, str]]] = {}
        for label, what in self.events:
            tasks.setdefault(label.partition(".")[0], []).append((label, what))
        return f"{sorted(tasks.items())} {self.quiet} {self.end}"


@dataclass(frozen=True)
class Setting:
    """A loop, and the objects that programs get on it."""

    name: str
    loop_factory: Callable[[], asyncio.AbstractEventLoop]
    namespace: SimpleNamespace


class Step:
    """Logs how an operation ended. Exceptions end with it, and so does a cancellation if `keep` is on."""

    def __init__(self, outcome: Outcome, label: str, keep: bool) -> None:
        """For the operation of this label."""
        self._outcome = outcome
        self._label = label
        self._keep = keep
        self.result: object = None

    def log(self, what: object) -> None:
        """Writes down what happens in the middle of the operation."""
        self._outcome.events.append((self._label, describe(what)))

    def __enter__(self) -> Step:
        """Starts it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Ends it."""
        self.log(self.result if error is None else error)
        return self._keep or isinstance(error, Exception)


class Spawn:
    """Makes the tasks that are not a combination's own, and cancels the program's."""

    def __init__(self) -> None:
        """Before there is any task."""
        self.main: list[asyncio.Task[Any]] = []

    def __call__(self, coroutine: Any) -> asyncio.Task[Any]:
        """A task with the name of its coroutine."""
        return asyncio.get_running_loop().create_task(coroutine, name=coroutine.__name__)

    def cancel(self, number: int) -> str:
        """Cancels one of the program's tasks."""
        return str(self.main[number].cancel()) if number < len(self.main) else "no such task"


async def sleep(turns: int) -> None:
    """Lets the loop make this many turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


def compiled(source: str) -> Compiled:
    """The function of a program's text."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "<program>", "exec"), namespace)
    made: Compiled = namespace["program"]
    return made


def execute(program: Compiled, cancel: tuple[int, int] | None, setting: Setting, loop: Any = None) -> Outcome:
    """Runs a program on a new loop of the setting, or on a loop that was made before."""
    outcome = Outcome()
    own = loop is None
    loop = loop or setting.loop_factory()
    loop.set_exception_handler(lambda loop, context: None)
    try:
        with warnings.catch_warnings():
            # A coroutine that a closed group refuses is never awaited, which is not what is asked here.
            warnings.simplefilter("ignore")
            loop.run_until_complete(_drive(program, cancel, setting, outcome))
    finally:
        if own:
            loop.close()
    return outcome


async def _drive(
    program: Compiled, cancel: tuple[int, int] | None, setting: Setting, outcome: Outcome
) -> None:
    spawn = Spawn()
    objects, limits, functions = program(
        setting.namespace, lambda label, keep=False: Step(outcome, label, keep), sleep, spawn
    )
    spawn.main = [spawn(function()) for function in functions]
    quiet_since = seen = turn = 0
    while turn < MOST_TURNS and turn - quiet_since < QUIET_TURNS:
        if cancel is not None and cancel[1] == turn:
            spawn.main[cancel[0]].cancel()
            quiet_since = turn
        await asyncio.sleep(0)
        turn += 1
        if len(outcome.events) != seen:
            seen, quiet_since = len(outcome.events), turn
        if cancel is None and all(task.done() for task in spawn.main) and not _others(spawn.main):
            break
    outcome.turns, outcome.until_quiet = quiet_since, len(outcome.events)
    outcome.quiet = dict(_states(spawn.main, objects, limits))
    for _ in range(MOST_ROUNDS):
        if not (pending := [*filter(_is_pending, spawn.main), *_others(spawn.main)]):
            break
        for task in pending:
            task.cancel()
        await sleep(QUIET_TURNS)
    outcome.end = dict(_states(spawn.main, objects, limits))
    outcome.end |= dict(_contents(objects))


def _is_pending(task: asyncio.Task[Any]) -> bool:
    return not task.done()


def _others(main: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """What runs beside the program's tasks, children of theirs, in an order that does not depend on addresses."""
    others = asyncio.all_tasks() - {asyncio.current_task(), *main}
    return sorted(others, key=lambda task: getattr(task.get_coro(), "__qualname__", ""))


def _states(
    main: list[asyncio.Task[Any]], objects: Mapping[str, Any], limits: list[Any]
) -> Iterator[tuple[str, str]]:
    for number, task in enumerate(main):
        if not task.done():
            yield f"t{number}", "pending"
        elif task.cancelled():
            yield f"t{number}", "cancelled"
        else:
            yield f"t{number}", describe(task.exception())
        yield f"t{number} cancelling", str(task.cancelling())
    for name, shared in objects.items():
        # Without the name of the class: a subclass is as good.
        yield name, re.sub(r"^<.*? at 0x\w+", "<", repr(shared))
    for number, limit in enumerate(limits):
        if limit is not None:
            yield f"limits[{number}]", str(limit.expired())


def _contents(objects: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is left in the objects; taken out, so this comes last."""
    for name, shared in objects.items():
        if hasattr(shared, "get_nowait"):
            items = []
            while not shared.empty():
                try:
                    items.append(shared.get_nowait())
                except Exception as error:
                    items.append(describe(error))
                    break
            yield f"{name} held", str(items)
        elif hasattr(shared, "n_waiting"):
            yield f"{name} waiting", f"{shared.n_waiting} {shared.broken}"
        elif hasattr(shared, "locked"):
            yield f"{name} locked", str(shared.locked())


def describe(value: object) -> str:
    """A value in words that are the same for equal results of different runs."""
    if isinstance(value, BaseExceptionGroup):
        return f"{type(value).__name__}({value.message!r}, {[describe(error) for error in value.exceptions]})"
    if isinstance(value, asyncio.CancelledError):
        # Which message arrives when a task is cancelled again on its way out depends on turns.
        return "CancelledError"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}({', '.join(map(repr, value.args))})"
    if isinstance(value, asyncio.Future):
        return getattr(value, "get_name", lambda: "future")()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(describe, value))}]"
    if isinstance(value, set):
        return f"{{{', '.join(sorted(map(describe, value)))}}}"
    return re.sub(r"0x\w+", "", repr(value))
