"""Random programs that are cancelled at every step end on sabio as they end on asyncio."""

from __future__ import annotations

import os
import time
from types import ModuleType

import pytest

from tests.fuzz.compare import Comparison
from tests.fuzz.generate import generate
from tests.fuzz.settings import reference, under_test
from tests.fuzz.shrink import shrink
from tests.support.versions import SINCE_3_14

pytestmark = pytest.mark.skipif(
    not SINCE_3_14, reason="sabio behaves like the newest asyncio, and older ones differ from that"
)

SEEDS = 32
PARTS = 4
#: Seconds after which a part ends even if seeds are left; not with seeds that somebody asks for.
BOUND = 5.0


def asked_for() -> range | None:
    """The seeds that the environment names."""
    text = os.environ.get("SABIO_FUZZ_SEEDS", "")
    if not text:
        return None
    start, _, stop = text.rpartition(":")
    return range(int(start or 0), int(stop))


@pytest.mark.timeout(0 if asked_for() else 120)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_cancellation_ends_as_on_asyncio(sabio: ModuleType, part: int) -> None:
    seeds = (asked_for() or range(SEEDS))[part::PARTS]
    deadline = float("inf") if asked_for() else time.monotonic() + BOUND
    comparison = Comparison(reference(), under_test(sabio))
    try:
        for seed in seeds:
            if difference := comparison.with_every_cancellation(generate(seed)):
                smallest = shrink(difference, comparison.once)
                pytest.fail(f"seed {seed}:\n\n{smallest}", pytrace=False)
            if time.monotonic() > deadline:
                break
    finally:
        comparison.close()
