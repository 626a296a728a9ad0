"""The servers that test suites talk to, from Debian's packages, on loopback and on free ports.

A server that the machine lacks is installed by apt-get, for which this must run as root; Debian's own service of it is
not started. Invariant: every server runs in a directory of its own, which is new and empty, and is stopped when its
`with` block is left; one that cannot be installed or does not answer raises Unavailable, with its name and the reason.

Called by `packages.py`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from package_source import Unavailable

HOST = "127.0.0.1"
#: Seconds that a server is given to answer, and then to end.
START_SECONDS, STOP_SECONDS = 30.0, 10.0
INSTALL_SECONDS = 300.0
#: Debian's scripts ask this program whether they may start a service.
POLICY = Path("/usr/sbin/policy-rc.d")

#: What a server adds to the environment of the tests.
Environment = Mapping[str, str]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require(program: str, package: str, *places: str) -> Path:
    """The path of a program, looked for on PATH and by the patterns `places`; installs Debian's package if needed."""
    if found := _find(program, places):
        return found
    if os.geteuid() != 0:
        raise Unavailable(f"{package} is not installed, and only root can install it")
    if not shutil.which("apt-get"):
        raise Unavailable(f"{package} is not installed, and this is not a Debian-like system")
    with _no_services():
        install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        if not _apt(install):
            _apt(["apt-get", "update"])
            _apt(install)
    if found := _find(program, places):
        return found
    raise Unavailable(f"{package} could not be installed by apt-get")


def _find(program: str, places: Sequence[str]) -> Path | None:
    if on_path := shutil.which(program):
        # Not resolved: Debian's redis-server is another program's link and goes by its own name.
        return Path(on_path)
    found = [path for place in places for path in sorted(Path("/").glob(place.lstrip("/")))]
    return found[-1] if found else None


def _apt(command: Sequence[str]) -> bool:
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keeps packages that are installed from starting their service; an own policy of the machine stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


@contextlib.contextmanager
def _directory(user: str | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sabio-server-") as name:
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(name, account.pw_uid, account.pw_gid)
        yield Path(name)


@contextlib.contextmanager
def _process(
    name: str, command: Sequence[str | Path], port: int, directory: Path, user: str | None
) -> Iterator[None]:
    """A server that runs until the block is left, and answers when it is entered."""
    log = directory / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(part) for part in command],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > until:
                last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
                raise Unavailable(f"{name} did not start: {last}")
            time.sleep(0.05)
        yield
    finally:
        # SIGINT is the fast shutdown of PostgreSQL and an ordinary end of the others.
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def postgresql() -> Iterator[Environment]:
    """A cluster of PostgreSQL whose superuser needs no password; libpq's variables lead to it."""
    # A link may lead to it, but initdb lies beside the program itself.
    server = require("postgres", "postgresql", "/usr/lib/postgresql/*/bin/postgres").resolve()
    # It refuses to be run by root; Debian's package has made a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    with _directory(user) as directory:
        data, port = directory / "data", free_port()
        command = [server.with_name("initdb"), "--auth=trust", "--username=postgres", "--no-sync", "-D", data]
        made = subprocess.run(
            [str(part) for part in command], user=user, cwd=directory, capture_output=True, text=True
        )
        if made.returncode != 0:
            raise Unavailable(f"initdb failed: {(made.stderr.strip().splitlines() or ['no message'])[-1]}")
        settings = ["fsync=off", "max_connections=200", "max_prepared_transactions=20"]
        options = [part for setting in settings for part in ("-c", setting)]
        run: list[str | Path] = [
            server,
            "-D",
            data,
            "-h",
            HOST,
            "-p",
            str(port),
            "-k",
            str(directory),
            *options,
        ]
        with _process("PostgreSQL", run, port, directory, user):
            yield {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}


@contextlib.contextmanager
def redis() -> Iterator[Environment]:
    """A Redis that keeps nothing; `REDIS_URL` leads to it."""
    server = require("redis-server", "redis-server")
    with _directory() as directory:
        port = free_port()
        run: list[str | Path] = [
            server,
            "--bind",
            HOST,
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        run += ["--enable-debug-command", "yes", "--dir", str(directory)]
        with _process("Redis", run, port, directory, None):
            yield {"REDIS_URL": f"redis://{HOST}:{port}/0"}


@contextlib.contextmanager
def nats() -> Iterator[Environment]:
    """A NATS server with JetStream; `NATS_URL` leads to it, `NATS_SERVER` is its program, to start others."""
    server = require("nats-server", "nats-server", "/usr/sbin/nats-server")
    with _directory() as directory:
        port = free_port()
        run: list[str | Path] = [server, "--addr", HOST, "--port", str(port)]
        run += ["--jetstream", "--store_dir", directory]
        with _process("NATS", run, port, directory, None):
            yield {"NATS_URL": f"nats://{HOST}:{port}", "NATS_SERVER": str(server)}


SERVERS: Mapping[str, Callable[[], contextlib.AbstractContextManager[Environment]]] = {
    "postgresql": postgresql,
    "redis": redis,
    "nats": nats,
}
