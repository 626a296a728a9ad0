"""TLS with the other end held by the programs of OpenSSL: s_client and s_server."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import ssl
import subprocess
import sys
import threading

import pytest

from tests.support.certificates import certificates, client_context, server_context
from tests.support.net import HOST
from tests.support.programs import PATIENCE_SECONDS, program, run
from tests.support.protocols import Recorder
from tests.support.tls import in_thread, serving

pytestmark = pytest.mark.usefixtures("tls_engine")

VERSIONS = ["-tls1_2", "-tls1_3"]


class Answering(Recorder):
    """Answers each line, and closes after `bye`."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data.upper())
        if b"bye" in data:
            self.transport.close()


def client_arguments(address, *more):
    authority = certificates() / "authority.pem"
    where = ["-connect", f"{HOST}:{address[1]}", "-servername", "localhost", "-CAfile", authority]
    return [program("openssl"), "s_client", *where, "-verify_return_error", *more]


class Interactive:
    """A program that is talked to line by line; what it prints is collected in a thread."""

    def __init__(self, arguments):
        words = [str(argument) for argument in arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self.lines = queue.Queue()
        self.printed = b""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while data := self.process.stdout.read1():
            self.lines.put(data)
        self.lines.put(None)

    def say(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def wait_for(self, text):
        """What was printed up to `text`; all that was left if the program has ended before."""
        while text not in self.printed:
            data = self.lines.get(timeout=PATIENCE_SECONDS)
            if data is None:
                break
            self.printed += data
        before, found, self.printed = self.printed.partition(text)
        return before + found

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


@contextlib.contextmanager
def interactive(arguments):
    talked_to = Interactive(arguments)
    try:
        yield talked_to
    finally:
        talked_to.end()


@contextlib.contextmanager
def s_server(*more):
    """`openssl s_server` on a free port: the program and its port. With `-nocert` it shows no certificate."""
    files = ["-cert", certificates() / "server.pem", "-key", certificates() / "server.key"]
    shown = [] if "-nocert" in more else files
    accept = ["-accept", f"{HOST}:0"]
    with interactive([program("openssl"), "s_server", *accept, *shown, *more]) as server:
        server.wait_for(b"ACCEPT ")
        yield server, int(server.wait_for(b"\n").rpartition(b":")[2])


@pytest.mark.parametrize("version", VERSIONS)
async def test_s_client_is_answered(version):
    context = server_context()
    context.set_alpn_protocols(["lines"])
    async with serving(Answering, context) as served:
        arguments = client_arguments(served.address, version, "-alpn", "other,lines", "-quiet")
        done = await in_thread(run, arguments, b"hello\nbye\n")
        assert done.returncode == 0
        assert done.stdout.endswith(b"HELLO\nBYE\n")
        transport = served.protocols[0].transport
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "lines"
        assert await served.protocols[0].lost is None


@pytest.mark.parametrize("version", VERSIONS)
async def test_s_client_gets_much_data_in_order(version):
    data = b"".join(b"%09d\n" % number for number in range(200_000))

    class Sending(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            for start in range(0, len(data), 300_000):
                transport.write(data[start : start + 300_000])
            transport.close()

    async with serving(Sending) as served:
        done = await in_thread(run, client_arguments(served.address, version, "-quiet"))
        assert done.returncode == 0
        # What openssl says of the certificate comes before.
        assert done.stdout.endswith(data)


async def test_s_client_that_trusts_somebody_else_is_refused():
    async with serving(Answering) as served:
        arguments = client_arguments(served.address, "-quiet")
        arguments[arguments.index("-CAfile") + 1] = certificates() / "alone.pem"
        done = await in_thread(run, arguments, b"hello\nbye\n")
        assert done.returncode != 0
        assert b"HELLO" not in done.stdout
    assert all(not protocol.calls for protocol in served.protocols)


async def test_keys_are_changed_in_the_middle():
    async with serving(Answering) as served:
        arguments = client_arguments(served.address, "-tls1_3")
        with interactive(arguments) as client:
            for line, answer in (
                (b"first\n", b"FIRST\n"),
                (b"K\n", b"KEYUPDATE"),
                (b"second\n", b"SECOND\n"),
            ):
                client.say(line)
                assert answer in await in_thread(client.wait_for, answer)
            # Another one, whose answer is not asked for.
            client.say(b"k\n")
            assert b"KEYUPDATE" in await in_thread(client.wait_for, b"KEYUPDATE")
            client.say(b"bye\n")
            assert b"BYE" in await in_thread(client.wait_for, b"BYE\n")
        await served.protocols[0].lost
        assert bytes(served.protocols[0].received) == b"first\nsecond\nbye\n"


async def test_renegotiation_that_a_client_asks_for_is_refused():
    async with serving(Answering) as served:
        with interactive(client_arguments(served.address, "-tls1_2")) as client:
            client.say(b"first\n")
            assert b"FIRST\n" in await in_thread(client.wait_for, b"FIRST\n")
            client.say(b"R\n")
            printed = await in_thread(client.wait_for, b"no renegotiation")
            assert b"RENEGOTIATING" in printed
            assert b"no renegotiation" in printed
        await served.protocols[0].lost
        assert bytes(served.protocols[0].received) == b"first\n"


async def test_renegotiation_that_a_server_asks_for_is_made():
    loop = asyncio.get_running_loop()
    with s_server("-tls1_2") as (server, port):
        transport, protocol = await loop.create_connection(
            Recorder, HOST, port, ssl=client_context(), server_hostname="localhost"
        )
        transport.write(b"before\n")
        assert b"before" in await in_thread(server.wait_for, b"before\n")
        server.say(b"r\n")
        assert b"SSL_do_handshake -> 1" in await in_thread(server.wait_for, b"SSL_do_handshake -> 1")
        # Both directions work with the new keys.
        server.say(b"hello\n")
        assert await protocol.receive(6) == b"hello\n"
        transport.write(b"after\n")
        assert b"after" in await in_thread(server.wait_for, b"after\n")
        transport.close()
        assert await protocol.lost is None


@pytest.mark.skipif(sys.version_info < (3, 13), reason="keys that both sides know came with 3.13")
async def test_callback_that_fails_in_a_renegotiation_ends_the_connection(reports):
    loop = asyncio.get_running_loop()
    hints = []

    def key_for(hint):
        hints.append(hint)
        if len(hints) > 1:
            raise LookupError("no key any more")
        return "name", bytes.fromhex("1a2b")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    context.set_psk_client_callback(key_for)
    key = ["-psk", "1a2b", "-psk_identity", "name", "-cipher", "PSK"]
    with s_server("-nocert", "-tls1_2", "-no_ticket", "-no_cache", *key) as (server, port):
        transport, protocol = await loop.create_connection(Recorder, HOST, port, ssl=context)
        transport.write(b"before\n")
        assert b"before" in await in_thread(server.wait_for, b"before\n")
        server.say(b"r\n")
        error = await protocol.lost
    # The library hears of no key; what the callback raised is the interpreter's to report.
    assert isinstance(error, ssl.SSLError)
    assert error.reason == "PSK_IDENTITY_NOT_FOUND"
    assert len(reports.take_unraisable()) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_s_server_answers(version):
    loop = asyncio.get_running_loop()
    with s_server("-rev", version) as (_, port):
        transport, protocol = await loop.create_connection(
            Recorder, HOST, port, ssl=client_context(), server_hostname="localhost"
        )
        for word in (b"hello", b"a" * 40 + b"b" * 40):
            got = len(protocol.received)
            transport.write(word + b"\n")
            answer = await protocol.receive(got + len(word) + 1)
            assert bytes(answer[got:]) == word[::-1] + b"\n"
        assert transport.get_extra_info("cipher")[1] == version[1:].upper().replace("TLS", "TLSv").replace(
            "_", "."
        )
        transport.close()
        assert await protocol.lost is None
