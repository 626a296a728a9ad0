"""The fuzzer finds what it is there for: objects that lose a wake-up, an item or their order when a waiter leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fuzz.compare import Comparison, Difference, combines
from tests.fuzz.execute import Setting
from tests.fuzz.generate import generate
from tests.fuzz.settings import namespace, reference
from tests.fuzz.shrink import shrink
from tests.support.versions import SINCE_3_14

pytestmark = pytest.mark.skipif(not SINCE_3_14, reason="the fuzzer runs from 3.14 on")

SEEDS = 400
LARGEST = 12


class LosesWakeUps(asyncio.Lock):
    """A waiter that is cancelled after it was woken does not wake the next one."""

    def _wake_up_first(self) -> None:
        if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
            super()._wake_up_first()  # type: ignore[misc]


class LosesItems(asyncio.Queue[Any]):
    """A getter that is cancelled although an item came for it takes the item with it."""

    async def get(self) -> Any:
        try:
            return await super().get()
        except asyncio.CancelledError:
            if not self.empty():
                self.get_nowait()
            raise


class LastComeFirstServed(asyncio.Semaphore):
    """Serves the newest waiter."""

    def release(self) -> None:
        waiters = self._waiters or deque()
        waiters.reverse()
        super().release()
        waiters.reverse()


class SwallowsCancellations(asyncio.Event):
    """Answers a cancellation with a result."""

    async def wait(self) -> Any:
        try:
            return await super().wait()
        except asyncio.CancelledError:
            return True


async def shield_that_does_not(awaitable: Any) -> Any:
    """Lets a cancellation through."""
    return await awaitable


def compare_with(**broken: object) -> Comparison:
    names = vars(namespace(asyncio)) | broken
    return Comparison(reference(), [Setting("broken", asyncio.SelectorEventLoop, SimpleNamespace(**names))])


def first_difference(comparison: Comparison, broken: Iterable[str], seeds: int) -> Difference | None:
    """The first difference that programs of chance make which use what is broken."""
    for seed in range(seeds):
        program = generate(seed)
        used = program.source()
        # Programs without a combination have fewer ways to be right, so they tell sooner.
        fit = "shield" in broken or not combines(program)
        if (
            fit
            and any(f"a.{name}(" in used for name in broken)
            and (difference := comparison.with_every_cancellation(program))
        ):
            return difference
    return None


@pytest.mark.parametrize(
    "broken",
    [
        {"Lock": LosesWakeUps},
        {"Queue": LosesItems},
        {"Semaphore": LastComeFirstServed},
        {"Event": SwallowsCancellations},
        {"shield": shield_that_does_not},
    ],
    ids=lambda broken: ", ".join(broken),
)
@pytest.mark.timeout(90)
def test_what_is_broken_is_found(broken: dict[str, object]) -> None:
    with contextlib.closing(compare_with(**broken)) as comparison:
        assert first_difference(comparison, broken, SEEDS) is not None


def test_difference_is_shrunk_to_what_it_needs() -> None:
    broken = {"Semaphore": LastComeFirstServed}
    with contextlib.closing(compare_with(**broken)) as comparison:
        difference = first_difference(comparison, broken, SEEDS)
        assert difference is not None
        smallest = shrink(difference, comparison.once)
        assert smallest.program.size < difference.program.size
        assert smallest.program.size <= LARGEST, str(smallest)
        assert comparison.once(smallest.program) is not None


def test_what_is_whole_makes_no_difference() -> None:
    class SameLock(asyncio.Lock):
        pass

    with contextlib.closing(compare_with(Lock=SameLock)) as comparison:
        assert first_difference(comparison, ["Lock"], 60) is None


def test_same_seed_makes_the_same_program() -> None:
    assert [generate(seed) for seed in range(20)] == [generate(seed) for seed in range(20)]
