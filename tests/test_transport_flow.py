"""Flow control: limits, pause_writing, resume_writing, bounded memory (asyncio docs, "Write-only transports")."""

import asyncio
import re
import resource
import sys
from fractions import Fraction

import pytest

from tests.support.net import receive_all, reset, socket_pair
from tests.support.protocols import Recorder
from tests.support.tcp import peers
from tests.support.waiting import turns, until

__all__ = ["peers"]


async def clog(transport):
    """Write until something stays in the transport's own buffer; how much was written."""
    total = 0
    while transport.get_write_buffer_size() == 0:
        transport.write(b"x" * (1 << 20))
        total += 1 << 20
        await turns(1)
    return total


async def drain(peer, size):
    received = 0
    while received < size:
        try:
            received += len(peer.recv(1 << 20))
        except BlockingIOError:
            await asyncio.sleep(0)


async def test_limits_by_default(peers):
    transport, protocol, _ = await peers()
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await protocol.lost


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 2000, "low": 500}, (500, 2000)),
        ({"high": 0}, (0, 0)),
        ({}, (16 * 1024, 64 * 1024)),
        ({"high": 1000, "low": 1000}, (1000, 1000)),
    ],
)
async def test_limits_can_be_set(peers, given, expected):
    transport, protocol, _ = await peers()
    transport.set_write_buffer_limits(**given)
    assert transport.get_write_buffer_limits() == expected
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("given", [{"high": 100, "low": 200}, {"high": -1}, {"low": -1, "high": 10}])
async def test_limits_must_be_in_order(peers, given):
    transport, protocol, _ = await peers()
    with pytest.raises(ValueError, match=r"must be >= low"):
        transport.set_write_buffer_limits(**given)
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    transport.close()
    await protocol.lost


async def test_writing_is_paused_above_the_high_limit_and_resumed_at_the_low_one(peers):
    transport, protocol, peer = await peers()
    written = await clog(transport)
    transport.write(b"x" * 65536)
    written += 65536
    assert protocol.calls == ["connection_made", "pause_writing"]
    await drain(peer, written)
    await until(lambda: "resume_writing" in protocol.calls)
    assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await protocol.lost


async def test_pause_is_called_once_until_it_is_resumed(peers):
    transport, protocol, peer = await peers()
    written = await clog(transport)
    for _ in range(10):
        transport.write(b"x" * 65536)
        written += 65536
        await turns(1)
    assert protocol.calls.count("pause_writing") == 1
    await drain(peer, written)
    await until(lambda: "resume_writing" in protocol.calls)
    await clog(transport)
    transport.write(b"x" * 65536)
    assert protocol.calls.count("pause_writing") == 2
    transport.abort()
    await protocol.lost


async def test_buffer_size_is_what_the_socket_did_not_take(peers):
    transport, protocol, peer = await peers()
    await clog(transport)
    before = transport.get_write_buffer_size()
    transport.write(b"x" * 1000)
    assert transport.get_write_buffer_size() == before + 1000
    transport.writelines([b"x" * 10, b"y" * 20])
    assert transport.get_write_buffer_size() == before + 1030
    transport.abort()
    await protocol.lost
    await asyncio.gather(receive_all(peer), return_exceptions=True)


async def test_lowering_the_limits_pauses_at_once(peers):
    transport, protocol, _ = await peers()
    transport.set_write_buffer_limits(high=1 << 30)
    await clog(transport)
    assert "pause_writing" not in protocol.calls
    transport.set_write_buffer_limits(high=1)
    transport.write(b"x")
    assert "pause_writing" in protocol.calls
    transport.abort()
    await protocol.lost


async def test_high_limit_of_zero_pauses_at_the_first_byte_that_waits(peers):
    transport, protocol, _ = await peers()
    transport.set_write_buffer_limits(high=0)
    transport.write(b"fits into the socket")
    await turns(2)
    assert "pause_writing" not in protocol.calls
    await clog(transport)
    assert "pause_writing" in protocol.calls
    transport.abort()
    await protocol.lost


async def test_small_writes_that_fit_never_pause(peers):
    transport, protocol, peer = await peers()
    for _ in range(200):
        transport.write(b"x" * 1000)
        await turns(1)
        await drain(peer, 1000)
    assert "pause_writing" not in protocol.calls
    transport.close()
    await protocol.lost


async def test_pause_and_resume_come_in_pairs_when_the_peer_is_slow(peers):
    transport, protocol, peer = await peers()
    transport.set_write_buffer_limits(high=100_000, low=10_000)
    total = 16 << 20
    written = 0

    async def produce():
        nonlocal written
        while written < total:
            while protocol.calls[-1] == "pause_writing":
                assert transport.get_write_buffer_size() <= 100_000 + 65536
                await asyncio.sleep(0)
            transport.write(b"x" * 65536)
            written += 65536

    await asyncio.gather(produce(), drain(peer, total))
    await until(lambda: protocol.calls[-1] != "pause_writing")
    pauses, resumes = protocol.calls.count("pause_writing"), protocol.calls.count("resume_writing")
    assert pauses == resumes > 0
    transport.close()
    await protocol.lost


async def test_peer_that_never_reads_costs_bounded_memory(peers):
    loop = asyncio.get_running_loop()
    server_side = []

    class Polite(Recorder):
        """Writes for ever, but stops while it is told to."""

        may_write = True

        def pause_writing(self):
            self.may_write = False

        def resume_writing(self):
            self.may_write = True

    transport, protocol, _ = await peers(Polite)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    deadline = loop.time() + 0.2
    while loop.time() < deadline:
        if protocol.may_write:
            transport.write(b"x" * 65536)
            server_side.append(65536)
        await asyncio.sleep(0)
    assert transport.get_write_buffer_size() <= 64 * 1024 + 65536
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    transport.abort()
    await protocol.lost


async def test_connection_lost_while_paused_comes_without_resume(peers):
    transport, protocol, peer = await peers()
    await clog(transport)
    await until(lambda: "pause_writing" in protocol.calls)
    reset(peer)
    error = await protocol.lost
    assert isinstance(error, (ConnectionResetError, BrokenPipeError))
    assert "resume_writing" not in protocol.calls


async def test_error_in_pause_writing_is_reported_and_the_data_is_sent(peers):
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Failing(Recorder):
        def pause_writing(self):
            super().pause_writing()
            raise ValueError("in pause_writing")

        def resume_writing(self):
            super().resume_writing()
            raise ValueError("in resume_writing")

    transport, protocol, peer = await peers(Failing)
    written = await clog(transport)
    transport.write(b"x" * 65536)
    await drain(peer, written + 65536)
    await until(lambda: "resume_writing" in protocol.calls)
    messages = [(context["message"], str(context["exception"])) for context in contexts]
    assert messages == [
        ("protocol.pause_writing() failed", "in pause_writing"),
        ("protocol.resume_writing() failed", "in resume_writing"),
    ]
    assert contexts[0]["transport"] is transport
    assert contexts[0]["protocol"] is protocol
    transport.close()
    await protocol.lost


async def test_close_from_pause_writing(peers):
    class Closing(Recorder):
        def pause_writing(self):
            super().pause_writing()
            self.transport.abort()

    transport, protocol, _ = await peers(Closing)
    transport.set_write_buffer_limits(high=0)
    transport.write(b"x" * (16 << 20))
    assert await protocol.lost is None
    assert transport.get_write_buffer_size() == 0


async def test_write_from_resume_writing(peers):
    class Writing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            if self.calls.count("resume_writing") == 1:
                self.transport.write(b"y" * 1000)

    transport, protocol, peer = await peers(Writing)
    written = await clog(transport)
    transport.write(b"x" * 65536)
    await drain(peer, written + 65536 + 1000)
    transport.close()
    await protocol.lost


async def test_limits_may_be_any_numbers():
    loop = asyncio.get_running_loop()
    with socket_pair() as (left, _):
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        for high, low, expected in [
            (1e3, None, (250, 1000)),
            (None, 12.5, (12.5, 50)),
            (Fraction(7, 2), True, (1, 3.5)),
            (1 << 70, 0, (0, 1 << 70)),
        ]:
            transport.set_write_buffer_limits(high, low)
            # A limit is a number of bytes; sabio gives it as one.
            set_to = transport.get_write_buffer_limits()
            assert [min(int(limit), sys.maxsize * 2 + 1) for limit in set_to] == [
                min(int(limit), sys.maxsize * 2 + 1) for limit in expected
            ]
        for high, low, message in [
            (5, 1 << 70, f"high (5) must be >= low ({1 << 70}) must be >= 0"),
            (-1.5, None, "high (-1.5) must be >= low (-1.0) must be >= 0"),
            (None, float("nan"), "high (nan) must be >= low (nan) must be >= 0"),
        ]:
            with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                transport.set_write_buffer_limits(high, low)
        for high, low in [("1", None), (None, []), (1, "0")]:
            with pytest.raises(TypeError):
                transport.set_write_buffer_limits(high, low)
        transport.abort()


async def test_what_cannot_be_a_key_is_no_name_of_extra_information():
    loop = asyncio.get_running_loop()
    with socket_pair() as (left, _):
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        assert transport.get_extra_info(3, "nothing") == "nothing"
        with pytest.raises(TypeError, match="unhashable type"):
            transport.get_extra_info([])
        transport.abort()
