"""Certificates for tests, made by openssl(1) once a run: an authority, and what it has signed and what it has not."""

from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

AUTHORITY_SETTINGS = """
[ca]
default_ca = own
[own]
dir = .
database = index.txt
new_certs_dir = .
serial = serial
certificate = authority.pem
private_key = authority.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(directory: Path, *args: str) -> None:
    done = subprocess.run(["openssl", *args], cwd=directory, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def make_key(directory: Path, name: str) -> None:
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def make_authority(directory: Path) -> None:
    (directory / "openssl.cnf").write_text(AUTHORITY_SETTINGS)
    (directory / "index.txt").touch()
    (directory / "serial").write_text("01")
    make_key(directory, "authority")
    request = [
        "req",
        "-x509",
        "-new",
        "-key",
        "authority.key",
        "-days",
        "3650",
        "-subj",
        "/CN=sabio test authority",
    ]
    constraints = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(directory, *request, *constraints, "-out", "authority.pem")


def make_signed(directory: Path, name: str, common_name: str, names: str, start: str, end: str) -> None:
    make_key(directory, name)
    request = ["req", "-new", "-key", f"{name}.key", "-subj", f"/CN={common_name}"]
    openssl(directory, *request, "-addext", f"subjectAltName={names}", "-out", f"{name}.csr")
    sign = ["ca", "-config", "openssl.cnf", "-batch", "-notext", "-startdate", start, "-enddate", end]
    openssl(directory, *sign, "-in", f"{name}.csr", "-out", f"{name}.pem")


@functools.cache
def certificates() -> Path:
    """A directory with NAME.pem and NAME.key for each of: authority, server, other, client, expired, alone, locked."""
    directory = Path(tempfile.mkdtemp(prefix="sabio-certificates-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    make_authority(directory)
    valid = ("20200101000000Z", "20491231000000Z")
    make_signed(directory, "server", "localhost", "DNS:localhost,IP:127.0.0.1", *valid)
    make_signed(directory, "other", "other.test", "DNS:other.test", *valid)
    make_signed(directory, "client", "client", "DNS:client.test", *valid)
    make_signed(directory, "expired", "localhost", "DNS:localhost", "20200101000000Z", "20200102000000Z")
    make_key(directory, "alone")
    request = ["req", "-x509", "-new", "-key", "alone.key", "-days", "3650", "-subj", "/CN=localhost"]
    openssl(directory, *request, "-addext", "subjectAltName=DNS:localhost", "-out", "alone.pem")
    locked = ["ec", "-in", "server.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key"]
    openssl(directory, *locked)
    shutil.copy(directory / "server.pem", directory / "locked.pem")
    return directory


def server_context(name: str = "server", password: str | None = None) -> ssl.SSLContext:
    """A context of a server that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    directory = certificates()
    context.load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key", password)
    return context


def client_context() -> ssl.SSLContext:
    """A context of a client that trusts the authority and checks names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates() / "authority.pem")
    return context
