"""Random conversations between two transports: all that was said is heard, once and in order."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests import conversation_fuzz

SEEDS = 25
#: asyncio loses what comes with the end of a handshake, and may wait for ever at a write limit of 0 over TLS.
SEEDS_WITHOUT_TLS = 10


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_is_heard_once_and_in_order(sabio, seed, tls_engine, loop_factory):
    conversation_fuzz.run_seed(loop_factory, seed, (sabio, asyncio))


@pytest.mark.asyncio_lacks("an end is not heard of in one of them", where=">=3.12,<3.14", strict=False)
@pytest.mark.parametrize("seed", range(SEEDS_WITHOUT_TLS))
def test_all_is_heard_without_tls(seed, loop_factory):
    conversation_fuzz.run_seed(loop_factory, seed, (asyncio,), with_tls=False)


def test_the_seeds_make_conversations_of_all_kinds():
    """Otherwise the tests above would say little."""
    each = [conversation_fuzz.seeds_at_once(number) for number in range(SEEDS)]
    kinds = [conversation_fuzz.draw(random.Random(seed), with_tls=True) for seeds in each for seed in seeds]
    assert {kind.way for kind in kinds} == set(conversation_fuzz.WAYS)
    assert {kind.upgrades for kind in kinds} == {0, 1, 2}
    assert {kind.relayed for kind in kinds} == {False, True}
    assert {kind.ending for kind in kinds} == set(conversation_fuzz.ENDINGS)
    assert {len(seeds) for seeds in each} == {1, 8}
