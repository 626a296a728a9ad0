"""The same conversations over TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from training.connections import converse


async def main(folder: Path) -> None:
    """With TLS 1.3 and 1.2."""
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(folder / "localhost.pem")
        served.maximum_version = version
        asking = ssl.create_default_context(cafile=str(folder / "localhost.pem"))
        for many in (1, 16):
            await converse(({"ssl": served}, {"ssl": asking, "server_hostname": "localhost"}), many, None)
