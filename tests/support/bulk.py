"""Much data for a protocol that does something between two reads: what the tests of all transports use."""

from __future__ import annotations

import asyncio

from tests.support.protocols import Recorder

#: More than a few reads can take; each byte differs from those around it.
DATA = bytes(range(256)) * (3 << 12)


class Sipping(Recorder):
    """Pauses after each piece, and goes on soon."""

    def data_received(self, data: bytes) -> None:
        assert self.transport.is_reading()
        super().data_received(data)
        self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self.transport.resume_reading)
