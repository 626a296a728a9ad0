"""HTTPS with curl at the other end, over both versions of TLS, the protocol of the application chosen by ALPN."""

from __future__ import annotations

import pytest

from tests.support.certificates import certificates, server_context
from tests.support.net import HOST
from tests.support.programs import program, run
from tests.support.protocols import Recorder
from tests.support.tls import in_thread, serving

pytestmark = pytest.mark.usefixtures("tls_engine")

VERSIONS = ["1.2", "1.3"]


class Http(Recorder):
    """Answers each request with its body."""

    def __init__(self):
        super().__init__()
        self.pending = b""

    def data_received(self, data):
        self.pending += data
        head, end, body = self.pending.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if end and len(body) >= length:
            self.pending = b""
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % length)
            self.transport.writelines([b"Connection: keep-alive\r\n\r\n", body])


def curl(address, version, *more):
    name = f"localhost:{address[1]}"
    limits = [f"--tlsv{version}", "--tls-max", version, "--max-time", "15"]
    trust = ["--cacert", certificates() / "authority.pem", "--resolve", f"{name}:{HOST}"]
    return [program("curl"), "-q", "--silent", "--show-error", *limits, *trust, *more, f"https://{name}/"]


def https_context():
    context = server_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@pytest.mark.parametrize("version", VERSIONS)
async def test_curl_gets_what_it_posts(version, tmp_path):
    data = bytes(range(256)) * 8000
    posted, got = tmp_path / "posted", tmp_path / "got"
    posted.write_bytes(data)
    async with serving(Http, https_context()) as served:
        send = ["--header", "Expect:", "--data-binary", f"@{posted}", "--output", got]
        said = ["--write-out", "%{http_code} %{http_version} %{ssl_verify_result}"]
        done = await in_thread(run, curl(served.address, version, *send, *said))
        assert (done.returncode, done.stdout) == (0, b"200 1.1 0")
        assert got.read_bytes() == data
        ssl_object = served.protocols[0].transport.get_extra_info("ssl_object")
        assert ssl_object.version() == f"TLSv{version}"
        assert ssl_object.selected_alpn_protocol() == "http/1.1"
        await served.protocols[0].lost


@pytest.mark.parametrize("version", VERSIONS)
async def test_curl_uses_a_connection_again(version):
    async with serving(Http, https_context()) as served:
        again = [f"https://localhost:{served.address[1]}/{number}" for number in range(20)]
        send = ["--data-binary", "x", "--write-out", "%{num_connects}"]
        done = await in_thread(run, curl(served.address, version, *send, *again))
        assert (done.returncode, done.stdout) == (0, b"x1" + b"x0" * 20)
        assert len(served.protocols) == 1
        await served.protocols[0].lost


async def test_curl_refuses_a_certificate_for_another_name():
    async with serving(Http, server_context("other")) as served:
        done = await in_thread(run, curl(served.address, "1.3"))
        assert done.returncode == 60
    assert all(not protocol.received for protocol in served.protocols)
