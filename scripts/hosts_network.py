"""Hosts for one machine: network namespaces, each with an interface of its own, joined by a bridge.

Nothing of it touches the machine's own network: the bridge and the other ends of the cables lie in a namespace, too,
and no namespace has a way out. Needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN, and `ip` of iproute2.

Invariant: on leaving the `with` block all namespaces are gone, and every process in them with them.

Used by `hosts.py` and `hosts_program.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

SWITCH = "switch"
BRIDGE = "bridge"
INTERFACE = "eth0"


class Unavailable(Exception):
    """This machine gives no hosts; the text says why."""


class Network:
    """Hosts by their names; `prefix` sets their namespaces apart from all others of the machine."""

    def __init__(self, prefix: str, hosts: Sequence[str]) -> None:
        self.prefix = prefix
        self.hosts = tuple(hosts)

    def namespace(self, host: str) -> str:
        """The name of a host's namespace."""
        return f"{self.prefix}-{host}"

    def address(self, host: str) -> str:
        """The address of a host, which the others reach it by."""
        return f"10.77.0.{self.hosts.index(host) + 1}"

    def on(self, host: str) -> list[str]:
        """What stands before a command that is to run on a host; the command keeps its process id."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def unplug(self, host: str) -> None:
        """Takes the cable out of a host's end of the switch: what is sent to it and by it is lost without a word."""
        self._cable(host, "down")

    def plug(self, host: str) -> None:
        """Puts the cable in again."""
        self._cable(host, "up")

    def _cable(self, host: str, state: str) -> None:
        ip("-n", self.namespace(SWITCH), "link", "set", self._port(host), state)

    def _port(self, host: str) -> str:
        return f"port-{self.hosts.index(host)}"

    @contextmanager
    def up(self) -> Iterator[None]:
        """Makes the hosts, and takes them away at the end. Raises Unavailable."""
        try:
            self._make()
            yield
        finally:
            self._remove()

    def _make(self) -> None:
        switch = self.namespace(SWITCH)
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", BRIDGE, "type", "bridge")
        ip("-n", switch, "link", "set", BRIDGE, "up")
        for host in self.hosts:
            namespace, port = self.namespace(host), self._port(host)
            ip("netns", "add", namespace)
            cable = ("type", "veth", "peer", "name", port, "netns", switch)
            ip("-n", namespace, "link", "add", INTERFACE, *cable)
            ip("-n", switch, "link", "set", port, "master", BRIDGE, "up")
            ip("-n", namespace, "address", "add", f"{self.address(host)}/24", "dev", INTERFACE)
            ip("-n", namespace, "link", "set", INTERFACE, "up")
            ip("-n", namespace, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for host in (*self.hosts, SWITCH):
            namespace = self.namespace(host)
            with contextlib.suppress(Unavailable):
                for process in ip("netns", "pids", namespace).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
                ip("netns", "delete", namespace)


def ip(*arguments: str) -> str:
    """The output of `ip`. Raises Unavailable with what it said if it fails, or is not there."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable(
            "there is no `ip`: install iproute2, from Debian by `apt-get install iproute2`"
        ) from None
    if done.returncode != 0:
        raise Unavailable(f"`ip {' '.join(arguments)}` says: {done.stderr.strip() or done.returncode}")
    return done.stdout
