"""Many connections for a long time (`make soak`): every answer right, memory and descriptors flat.

A server and its clients, each a process of its own, have 10,000 idle connections and 1,000 busy ones between them over
loopback: over TCP with protocols, with streams, and over TLS. A busy connection always waits for an answer, every
byte of which is compared (`soak_peers.py`). All of them, the idle ones too, are replaced all the time, and end in
every way there is: closed by the client or by the server, aborted by either, half closed.

    python scripts/soak.py [--seconds 600] [--kinds TCP streams TLS] [--idle N] [--busy N] [--loop sabio]

What is judged, each beginning with the first look after the warm-up:

* Whenever the traffic is stopped, what each process has in use: descriptors, connections, blocks of memory and
  objects of Python, bytes of malloc(3). Descriptors and connections must be the same to the last one. The others may
  grow by half a percent, or by 2,000 blocks and objects and 2 MiB if that is more: tables keep the size that they once
  had, and so do the stores of what is recycled (handles, coroutines), which fill up in the first thousand connections.
  A leak of one object for each connection is far more than that in ten minutes.
* Resident memory in the middle and at the end, without traffic and after malloc_trim(3): it may grow by five percent,
  for pages that are only partly in use.
* Resident memory under traffic: it may grow by a quarter over the greatest of the first third of the time. Blocks of
  all sizes up to 256 KB come and go while others stay for long, so malloc(3) holds more and more pages with gaps in
  them, for about three minutes, with sabio as with asyncio; trimming shows how much of it can be given back. A client
  over TLS has most of it, since OpenSSL makes many blocks for a connection.

The proportional set size (PSS) is shown beside it, but not judged: it also changes when other processes that share a
library begin or end. The warm-up ends when every idle connection has been replaced once, since the first ones lie in
memory more densely than those that take the places of others.

Exits with 1 and all readings if anything was wrong. Called by the Makefile.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from soak_peers import KINDS

PEERS = Path(__file__).with_name("soak_peers.py")
IDLE, BUSY, SECONDS = 10_000, 1_000, 600.0
#: Descriptors that a process needs beside those of its connections, and how many more there are in the middle of being
#: replaced, at most.
SPARE_DESCRIPTORS = 200
#: By how much more than at the first look there may be at any later one; see above.
IN_USE_BOUND, IN_USE_SLACK = 1.005, {"blocks": 2000, "objects": 2000, "heap": 2 << 20}
TRIMMED_BOUND = 1.05
TRAFFIC_BOUND = 1.25
DESCRIPTOR_BOUND = 1.05
#: Looks in the whole time, and how many of them stop the traffic.
LOOKS, QUIET_LOOKS = 60, 4
#: Seconds after which a process that does not answer is taken to hang.
PATIENCE = 300.0
#: Seconds within which the warm-up must be over.
WARM_UP = 900.0
#: Seconds that the server has to see that what its clients have closed is closed.
SETTLE = 30.0

MIB = 1 << 20
Values: TypeAlias = dict[str, Any]


class Failed(Exception):
    """Something was not as it has to be."""


class Process:
    """One of the two, spoken with by lines."""

    def __init__(self, name: str, role: str, options: Sequence[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(PEERS), role, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, command: str) -> Values:
        """Sends a command and waits for what comes of it."""
        assert self.process.stdin is not None
        try:
            print(command, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise Failed(f"{self.name}: has ended, see above") from None
        return self.hear()

    def hear(self) -> Values:
        """The next line."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise Failed(f"{self.name}: has not answered for {PATIENCE:.0f} seconds")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: has ended with status {self.process.wait()}, see above")
        values: Values = json.loads(line)
        return values

    def memory(self) -> dict[str, int]:
        """Resident, proportional and own (anonymous) memory in bytes, as in proc(5)."""
        found = {}
        for line in (
            Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        ):
            name, value = line.split()[:2]
            found[name] = int(value) * 1024
        return {
            "resident": found["Rss:"] + found.get("Swap:", 0),
            "PSS": found["Pss:"] + found.get("SwapPss:", 0),
        }

    def descriptors(self) -> int:
        """How many are open."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def threads(self) -> int:
        """How many there are."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/task").iterdir())

    def end(self) -> None:
        """Ends it, and waits for that."""
        self.process.kill()
        self.process.communicate()


@dataclass
class Judge:
    """Compares readings with the first of their kind, and keeps what was wrong."""

    first: dict[str, int] = field(default_factory=dict)
    greatest: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    #: By name, the worst reading that was beyond its bound.
    wrong: dict[str, str] = field(default_factory=dict)

    def compare(
        self, when: str, name: str, value: int, bound: float, slack: int = 0, begins: bool = False
    ) -> None:
        """Notes one reading.

        `bound` is how much of the first it may be, and `slack` how much more than that in any case. One that `begins`
        counts as the first if it is greater.
        """
        first = self.first.setdefault(name, value)
        if begins and value > first:
            first = self.first[name] = value
        self.greatest[name] = max(value, self.greatest.get(name, value))
        self.last[name] = value
        if value == self.greatest[name] and value > max(first * bound, first + slack):
            self.wrong[name] = f"{when}: {name}: {value:,}, and {first:,} at first"

    def be_same(self, when: str, name: str, value: int) -> None:
        """Notes one reading that must not change at all."""
        first = self.first.setdefault(name, value)
        self.greatest[name] = max(value, self.greatest.get(name, value))
        self.last[name] = value
        if value != first:
            self.wrong[name] = f"{when}: {name}: {value:,}, and {first:,} at first"


class Soak:
    """One kind of connection for the whole time."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        self.kind, self.options = kind, options
        self.connections: int = options.idle + options.busy
        self.judge = Judge()

    def run(self) -> None:
        """Opens everything, looks until the time is up, and raises Failed if anything was wrong."""
        common = ["--kind", self.kind, "--loop", self.options.loop]
        self.server = Process("server", "serve", common)
        try:
            ports = ",".join(map(str, self.server.hear()["ports"]))
            numbers = ["--idle", str(self.options.idle), "--busy", str(self.options.busy)]
            numbers += ["--ports", ports, "--seed", str(self.options.seed)]
            self.clients = Process("client", "ask", [*common, *numbers])
            try:
                self.watch()
            finally:
                self.clients.end()
        finally:
            self.server.end()
        if self.judge.wrong:
            raise Failed("\n    ".join(["not flat:", *self.judge.wrong.values()]))

    def watch(self) -> None:
        """All looks."""
        began = time.monotonic()
        self.clients.hear()
        print(
            f"{self.kind}: {self.connections:,} connections open after {time.monotonic() - began:.0f} s",
            flush=True,
        )
        while (replaced := self.clients.tell("look"))["idle"] < self.options.idle:
            if time.monotonic() - began > WARM_UP:
                raise Failed(
                    f"only {replaced['idle']:,} idle connections were replaced in {WARM_UP:.0f} seconds"
                )
            time.sleep(0.5)
        print(f"{self.kind}: warm after {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        print(HEADINGS)
        for look in range(LOOKS + 1):
            time.sleep(max(0.0, began + look * self.options.seconds / LOOKS - time.monotonic()))
            when = f"{time.monotonic() - began:.0f} s"
            if look % (LOOKS // QUIET_LOOKS) == 0:
                self.weigh(when, trim=look in (LOOKS // 2, LOOKS))
            if look < LOOKS:
                self.look(when, show=look % (LOOKS // 12) == 0, begins=look <= LOOKS // 3)
        self.summarise(time.monotonic() - began)

    def look(self, when: str, show: bool, begins: bool) -> None:
        """What the system says, while there is traffic."""
        compare = self.judge.compare
        done = self.clients.tell("look")
        row = [when, f"{done['answers']:,}", f"{done['idle'] + done['busy']:,}"]
        for process in (self.clients, self.server):
            memory, descriptors = process.memory(), process.descriptors()
            name = f"{process.name}: resident bytes under traffic"
            compare(when, name, memory["resident"], TRAFFIC_BOUND, begins=begins)
            name = f"{process.name}: descriptors under traffic"
            compare(when, name, descriptors, DESCRIPTOR_BOUND, begins=begins)
            row += [f"{memory[name] / MIB:.1f}" for name in ("resident", "PSS")]
            row += [str(descriptors), str(process.threads())]
        if show:
            print("".join(map("{:>13}".format, row[:3])), "".join(map("{:>9}".format, row[3:])), flush=True)

    def weigh(self, when: str, trim: bool) -> None:
        """What each process has in use while nothing is under way."""
        self.clients.tell("quiet")
        deadline = time.monotonic() + SETTLE
        while self.server.tell("look")["open"] != self.connections and time.monotonic() < deadline:
            time.sleep(0.1)
        self.judge.be_same(when, "server: connections", self.server.tell("look")["open"])
        for process in (self.clients, self.server):
            values = process.tell("weigh")
            for key, what in IN_USE.items():
                if values[key] is not None:
                    name = f"{process.name}: {what} in use"
                    self.judge.compare(when, name, values[key], IN_USE_BOUND, IN_USE_SLACK[key])
            self.judge.be_same(when, f"{process.name}: descriptors", process.descriptors())
            if trim:
                held = process.memory()["resident"]
                process.tell("trim")
                trimmed = process.memory()["resident"]
                self.judge.compare(when, f"{process.name}: resident bytes, trimmed", trimmed, TRIMMED_BOUND)
                print(
                    f"    {when}: {process.name} without traffic: {held / MIB:.1f} MiB resident, "
                    f"{trimmed / MIB:.1f} after malloc_trim(3)"
                )
        self.clients.tell("go on")

    def summarise(self, seconds: float) -> None:
        """The readings that were judged, in short."""
        done = self.clients.tell("look")
        print(
            f"{self.kind}: {done['answers']:,} answers of {done['bytes'] / MIB:,.0f} MiB compared; "
            f"{done['busy']:,} busy and {done['idle']:,} idle connections replaced; {seconds:.0f} s"
        )
        for name, first in self.judge.first.items():
            last, greatest = self.judge.last[name], self.judge.greatest[name]
            print(f"    {name:<42} first {first:>13,}   greatest {greatest:>13,}   last {last:>13,}")
        sys.stdout.flush()


COLUMNS = ("RSS MiB", "PSS MiB", "fds", "threads")
IN_USE = {"blocks": "blocks of Python", "objects": "objects of the collector", "heap": "bytes of malloc"}
HEADINGS = (
    "".join(map("{:>13}".format, ("", "answers", "replaced")))
    + " "
    + "".join(f"{name:>9}" for _ in range(2) for name in COLUMNS)
)


def raise_limit(needed: int) -> None:
    """Lets this process and its children open so many descriptors. Ends the program, loudly, if it cannot."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
    except (ValueError, OSError) as error:
        sys.exit(
            f"!!! NOT RUN: {needed:,} descriptors are needed and {hard:,} allowed ({error}).\n"
            "!!! Raise the limit (`ulimit -Hn`, as root), or take fewer connections: --idle N --busy N."
        )


def main() -> None:
    """Runs every kind, and exits with 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each kind, after the warm-up")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--busy", type=int, default=BUSY)
    parser.add_argument("--loop", default="sabio", help="another loop, to compare: asyncio, uvloop")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    raise_limit(options.idle + options.busy + SPARE_DESCRIPTORS)
    failed = []
    for kind in options.kinds:
        try:
            Soak(kind, options).run()
        except Failed as error:
            failed.append(kind)
            print(f"!! {kind}: {error}", flush=True)
    if failed:
        sys.exit(f"!! FAILED: {', '.join(failed)}")
    print("soak: everything was answered, memory and descriptors were flat")


if __name__ == "__main__":
    main()
