"""Random TLS connections whose records come in pieces and damaged: nothing is delivered that was not sent.

On sabio alone: asyncio may end a connection before a BufferedProtocol has got all that came.
"""

from __future__ import annotations

import pytest

from tests import tls_fuzz

SEEDS = 25


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_delivered_is_a_beginning_of_what_was_sent(sabio, seed, tls_engine, loop_factory):
    tls_fuzz.run_seed(sabio, loop_factory, seed)


def test_the_seeds_make_connections_of_all_kinds(sabio, loop_factory, monkeypatch):
    """Otherwise the test above would say little: damaged and whole ones, as client and as server."""
    met = set()

    def note(choices, wire, damage=tls_fuzz.damage):
        met.add("damaged")
        damage(choices, wire)

    async def play(choices, peer, ours, receiver, play=tls_fuzz.play):
        met.add("server" if peer.tls.server_side else "client")
        met.add(type(receiver).__name__)
        await play(choices, peer, ours, receiver)
        if receiver.got and not peer.damaged:
            met.add("whole")

    monkeypatch.setattr(tls_fuzz, "damage", note)
    monkeypatch.setattr(tls_fuzz, "play", play)
    for seed in range(SEEDS):
        tls_fuzz.run_seed(sabio, loop_factory, seed)
    assert met == {"damaged", "whole", "server", "client", "Plain", "Buffered", "Streamed"}
