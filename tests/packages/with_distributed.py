"""distributed: what the processes of a Dask cluster speak with, over memory, TCP and TLS, in one process."""

import asyncio
import logging
import subprocess
import tempfile
from pathlib import Path

from distributed.batched import BatchedSend
from distributed.comm import CommClosedError, connect, listen
from distributed.core import ConnectionPool, Server, rpc
from distributed.protocol import Serialize
from distributed.security import Security

SCHEMES = ("inproc", "tcp", "tls")
SUBJECT = ("-subj", "/CN=localhost", "-days", "2")


def security(folder):
    """Keys for both sides, and a certificate that vouches for itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*make, *SUBJECT, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    names = ("tls_client", "tls_scheduler", "tls_worker")
    files = {f"{name}_key": str(key) for name in names} | {f"{name}_cert": str(certificate) for name in names}
    return Security(require_encryption=True, tls_ca_file=str(certificate), **files)


def address(scheme):
    return "inproc://" if scheme == "inproc" else f"{scheme}://127.0.0.1:0"


def client_arguments(scheme, keys):
    return keys.get_connection_args("client") if scheme == "tls" else {}


def server_arguments(scheme, keys):
    return keys.get_listen_args("scheduler") if scheme == "tls" else {}


async def echo(comm):
    """Sends back what comes, until it is told to end."""
    try:
        while (message := await comm.read()) != "end":
            await comm.write(message)
        await comm.close()
    except CommClosedError:
        pass


async def messages(comm):
    await comm.write({"op": "small", "of": [1, 2.5, None, "text", b"bytes"]})
    print("small", await comm.read())
    for size in (0, 1, 70_000, 3_000_000):
        await comm.write({"data": Serialize(b"x" * size)})
        print("large", len((await comm.read())["data"]))

    async def write():
        for number in range(100):
            await comm.write(number)

    writing = asyncio.create_task(write())
    print("in order", [await comm.read() for _ in range(100)] == list(range(100)))
    await writing


async def ends(comm):
    await comm.write("end")
    try:
        print(await comm.read())
    except CommClosedError:
        print("the other side has closed")
    await comm.close()
    try:
        await comm.write("too late")
    except CommClosedError:
        print("closed:", comm.closed())


async def comms(scheme, keys):
    listener = await listen(address(scheme), echo, **server_arguments(scheme, keys))
    client = client_arguments(scheme, keys)
    contact = listener.contact_address
    comm = await connect(contact, timeout=20, **client)
    print(
        comm.peer_address.split(":")[0],
        comm.local_address.split(":")[0],
        comm.extra_info.get("cipher") is not None,
    )
    await messages(comm)
    await ends(comm)

    several = await asyncio.gather(*(connect(contact, timeout=20, **client) for _ in range(5)))
    await asyncio.gather(*(comm.write(number) for number, comm in enumerate(several)))
    print("each its own", await asyncio.gather(*(comm.read() for comm in several)))
    for comm in several:
        comm.abort()
    listener.stop()
    try:
        await connect(contact, timeout=0.3, **client)
    except OSError as error:
        print("nobody listens:", isinstance(error, TimeoutError) or type(error).__name__)


async def batches():
    came = []
    done = asyncio.Event()

    async def collect(comm):
        try:
            while len(came) < 100:
                came.extend(await comm.read())
        finally:
            done.set()
            await comm.close()

    listener = await listen("tcp://127.0.0.1:0", collect)
    comm = await connect(listener.contact_address, timeout=20)
    sender = BatchedSend(interval=0.005)
    sender.start(comm)
    for number in range(100):
        sender.send(number)
        if number % 25 == 0:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(done.wait(), 20)
    await sender.close()
    listener.stop()
    print("batches", came == list(range(100)), sender.batch_count < 100)


async def calls(scheme, keys):
    async def double(number):
        await asyncio.sleep(0)
        return number * 2

    def fail(why):
        raise ValueError(why)

    async def wait():
        await asyncio.sleep(60)

    server = Server({"double": double, "fail": fail, "wait": wait})
    await server.listen(address(scheme), **server_arguments(scheme, keys))
    client = client_arguments(scheme, keys)
    async with rpc(server.address, connection_args=client) as remote:
        print("doubled", await asyncio.gather(*(remote.double(number=number) for number in range(20))))
        try:
            await remote.fail(why="no reason")
        except ValueError as error:
            print("raised there, caught here:", error)
        waiting = asyncio.create_task(remote.wait())
        await asyncio.sleep(0.01)
        waiting.cancel()
        print(
            "cancelled:",
            isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError),
        )

    pool = await ConnectionPool(limit=2, connection_args=client)
    results = await asyncio.gather(*(pool(server.address).double(number=number) for number in range(10)))
    print("pooled", results, pool.open <= 2)
    await pool.close()
    await server.close()


async def main():
    # What goes wrong on purpose would be told of, with the time of day.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.getLogger("distributed.core").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        keys = security(Path(folder))
        for scheme in SCHEMES:
            print("--", scheme)
            await comms(scheme, keys)
            await calls(scheme, keys)
    await batches()


if __name__ == "__main__":
    asyncio.run(main())
