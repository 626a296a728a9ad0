"""What sabio is, on what it runs, and what it can use here: `python -m sabio doctor`.

Nothing is concluded from a version number: a loop is made to see what it opens, and every call that a kernel or a
sandbox may refuse is made once. What is not there costs speed and nothing else, and its line says what is done instead;
what can not be tried, because the look itself needs what is not there, is not said to be missing.
Invariant: the process is left as it was found: what is opened for a look is closed, and nothing is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import resource
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sabio import __version__, _sabio
from sabio._runner import new_event_loop

#: `EPOLL_PWAIT2` of Linux, the same number on every architecture (epoll_wait(2)).
_SYS_EPOLL_PWAIT2 = 441
#: Options of UDP (udp(7)) that the socket module does not name.
_UDP_SEGMENT, _UDP_GRO = 103, 104
#: How long an answer over loopback may take, in seconds.
_PATIENCE = 1.0

#: What is said of the extension's kinds of build.
_BUILDS = {
    "guided by a profile": "guided by a profile, as wheels are",
    "plain": "plain: some things are slower than with a wheel, whose build is guided by a profile",
    "checked": "checked: for the tests of sabio, and slow",
}

_DESCRIPTORS = Path("/proc/self/fd")


class Untried(Exception):
    """A look that could not be taken; the text says why."""


@dataclass(frozen=True)
class Feature:
    """Something of the system that sabio uses where it can.

    `probe` uses it once; OSError when the system does not give it, Untried when nobody can tell. `use` says for what,
    `otherwise` what is done without it.
    """

    name: str
    probe: Callable[[], None]
    use: str
    otherwise: str


def report() -> Iterator[str]:
    """The lines of the report: facts first, then what is available, what is not and why, and what cannot be tried."""
    for name, value in _facts():
        yield f"{name:<13}{value}"
    available, missing, untried = [], [], []
    for feature in FEATURES:
        try:
            feature.probe()
        except Untried as reason:
            untried.append(f"  {feature.name:<15}{reason}")
        except (OSError, AttributeError) as error:
            missing.append(f"  {feature.name:<15}{error}; {feature.otherwise}")
        else:
            available.append(f"  {feature.name:<15}{feature.use}")
    yield ""
    yield "available"
    yield from available or ["  nothing"]
    yield ""
    yield "not available"
    yield from missing or ["  nothing is missing"]
    if untried:
        yield ""
        yield "not to be tried here"
        yield from untried


def _facts() -> Iterator[tuple[str, str]]:
    system = platform.uname()
    yield "sabio", f"{__version__} ({_sabio.__file__})"
    yield "build", _BUILDS[_sabio._build]
    yield "interpreter", f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    yield "kernel", f"{system.system} {system.release} {system.machine}"
    yield "C library", " ".join(platform.libc_ver()).strip() or "unknown"
    yield "poller", _poller()
    try:
        name, why = _sabio._tls_engine()
    except ValueError as error:
        name, why = "none", str(error)
    yield "TLS engine", f"{name}: {why}"
    yield "descriptors", "{} of at most {} (RLIMIT_NOFILE)".format(*map(_limit, _file_limits()))


def _file_limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _limit(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else str(number)


def _poller() -> str:
    """What a loop that runs has opened to wait in."""
    before = _open_files()
    loop = new_event_loop()
    try:
        loop.run_until_complete(_sabio.sleep(0))
        opened = [name for number, name in _open_files().items() if before.get(number) != name]
    finally:
        loop.close()
    pollers = {"anon_inode:[eventpoll]": "epoll"}
    found = [pollers[name] for name in opened if name in pollers]
    if found:
        return ", ".join(found)
    return "unknown: /proc is not to be read" if not opened else f"unknown: {', '.join(opened)}"


def _open_files() -> dict[str, str]:
    files = {}
    with contextlib.suppress(OSError):
        for number in os.listdir(_DESCRIPTORS):
            # The descriptor of the listing itself is closed by now.
            with contextlib.suppress(OSError):
                files[number] = os.readlink(_DESCRIPTORS / number)
    return files


# ---------------------------------------------------------------- what the system gives


def _wait_in_nanoseconds() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with select.epoll() as poller:
        # One event at most, no time to wait, no signal mask: all zeros but for the first number.
        event, nothing = ctypes.create_string_buffer(16), ctypes.create_string_buffer(16)
        answer = libc.syscall(_SYS_EPOLL_PWAIT2, poller.fileno(), event, 1, nothing, None, ctypes.c_size_t(0))
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


def _pidfd_send_signal() -> None:
    try:
        descriptor = os.pidfd_open(os.getpid())
    except OSError as error:
        raise Untried("there is no pidfd") from error
    try:
        signal.pidfd_send_signal(descriptor, 0)  # no signal: it only asks
    finally:
        os.close(descriptor)


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise Untried("no file can be made") from error


def _sendfile() -> None:
    left, right = socket.socketpair()
    with left, right, _temporary_file() as file:
        file.write(b"sent by the kernel")
        file.flush()
        os.sendfile(left.fileno(), file.fileno(), 0, mmap.PAGESIZE)
        if right.recv(mmap.PAGESIZE) != b"sent by the kernel":
            raise OSError(errno.EIO, "what came is not what was sent")


def _udp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextlib.contextmanager
def _udp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets of UDP on loopback. Untried where loopback is not to be used, as in a bare container."""
    with _udp_socket() as one, _udp_socket() as other:
        try:
            for end in (one, other):
                end.settimeout(_PATIENCE)
                end.bind(("127.0.0.1", 0))
            one.connect(other.getsockname())
            other.connect(one.getsockname())
        except OSError as error:
            raise Untried(f"the kernel knows it, and 127.0.0.1 gives {error}") from None
        yield one, other


def _send_row(sender: socket.socket) -> None:
    """Gives the kernel two datagrams of four bytes as one row."""
    size = (4).to_bytes(2, sys.byteorder)
    sender.sendmsg([b"one,two."], [(socket.SOL_UDP, _UDP_SEGMENT, size)])


def _udp_segment() -> None:
    with _udp_socket() as sender:
        # A kernel that does not know the option does not refuse the row: it has to be asked.
        sender.getsockopt(socket.SOL_UDP, _UDP_SEGMENT)
    with _udp_pair() as (sender, receiver):
        _send_row(sender)
        came = [receiver.recv(100), receiver.recv(100)]
    if came != [b"one,", b"two."]:
        raise OSError(errno.EIO, f"the kernel made {came} of a row")


def _udp_gro() -> None:
    with _udp_socket() as receiver:
        receiver.setsockopt(socket.SOL_UDP, _UDP_GRO, 1)


def _ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6):
        pass


def _abstract_names() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"\0sabio-doctor-{os.getpid()}")


FEATURES = (
    Feature(
        "epoll_pwait2",
        _wait_in_nanoseconds,
        "timers are waited for in nanoseconds",
        "timers are waited for in milliseconds",
    ),
    Feature(
        "pidfd",
        _pidfd,
        "the poller tells of the end of processes",
        "a thread waits for each process",
    ),
    Feature(
        "pidfd signals",
        _pidfd_send_signal,
        "signals reach the process that is meant and no stranger",
        "signals go by the number of a process, which is its own until it was waited for",
    ),
    Feature(
        "sendfile",
        _sendfile,
        "files are sent by the kernel",
        "files are read and written",
    ),
    Feature(
        "UDP_SEGMENT",
        _udp_segment,
        "datagrams of one size for one address are sent as one",
        "datagrams are sent one by one in one call",
    ),
    Feature(
        "UDP_GRO",
        _udp_gro,
        "datagrams of one size from one address are received as one",
        "datagrams are received one by one in one call",
    ),
    Feature(
        "IPv6",
        _ipv6,
        "connections and servers over IPv6, on loopback at least",
        "only IPv4 can be used",
    ),
    Feature(
        "abstract names",
        _abstract_names,
        "Unix sockets without a file",
        "Unix sockets need a path",
    ),
)
