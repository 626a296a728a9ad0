"""The hosts that `make hosts` makes of one machine, and what it makes of the outputs; no cluster is started here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.scripts import imported

SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as server:
    print(server.getsockname()[1], flush=True)
    connection, peer = server.accept()
    print(peer[0], flush=True)
"""
CLIENT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).close()"


@pytest.fixture(scope="module")
def scripts():
    """The scripts' modules."""
    with imported({"hosts": "hosts", "network": "hosts_network"}) as modules:
        yield modules


@pytest.fixture(scope="module")
def make(scripts):
    """Makes networks; a skip where the machine gives no hosts, and then only."""
    try:
        with scripts.network.Network(f"sabio-test-{os.getpid()}-0", ["only"]).up():
            pass
    except scripts.network.Unavailable as reason:
        pytest.skip(f"no hosts here: {reason}")
    return lambda *hosts: scripts.network.Network(f"sabio-test-{os.getpid()}-1", hosts)


@pytest.fixture
def network(make):
    """Two hosts."""
    network = make("left", "right")
    with network.up():
        yield network


def names(scripts, network):
    """The namespaces of a network that the machine has."""
    return [
        line for line in scripts.network.ip("netns", "list").splitlines() if line.startswith(network.prefix)
    ]


def test_hosts_reach_each_other_and_nobody_else(network):
    address = network.address("right")
    listen = [*network.on("right"), sys.executable, "-c", SERVER, address]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip()
        connect = [*network.on("left"), sys.executable, "-c", CLIENT]
        subprocess.run([*connect, address, port], check=True, timeout=20)
        assert server.stdout.readline().strip() == network.address("left")
    outside = subprocess.run([*connect, "192.0.2.1", "80"], capture_output=True, text=True, timeout=20)
    assert "Network is unreachable" in outside.stderr


def test_cable_can_be_pulled_and_put_in_again(network):
    def carrier():
        state = [*network.on("left"), "cat", "/sys/class/net/eth0/carrier"]
        return subprocess.run(state, capture_output=True, text=True, check=True).stdout.strip()

    assert carrier() == "1"
    network.unplug("left")
    assert carrier() == "0"
    network.plug("left")
    assert carrier() == "1"


def test_hosts_end_with_all_that_runs_on_them(scripts, make):
    network = make("only")
    with network.up():
        sleeper = subprocess.Popen([*network.on("only"), sys.executable, "-c", "import time; time.sleep(60)"])
        assert names(scripts, network)
        while str(sleeper.pid) not in scripts.network.ip("netns", "pids", network.namespace("only")).split():
            assert sleeper.poll() is None
    assert sleeper.wait(20) == -9
    assert names(scripts, network) == []


def test_machine_without_the_program_gives_no_hosts(scripts, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    scripts.hosts.main()
    printed = capsys.readouterr().out
    assert "!!! NOT RUN" in printed
    assert "apt-get install iproute2" in printed
    assert "gave the same" not in printed


def test_machine_that_refuses_says_why(scripts, monkeypatch, tmp_path):
    refusing = tmp_path / "ip"
    refusing.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    network = scripts.network.Network("sabio-test", ["only"])
    with pytest.raises(scripts.network.Unavailable, match="Operation not permitted"), network.up():
        pytest.fail("there are no hosts")


@pytest.mark.parametrize(
    ("native", "wrong"),
    [
        (["sabio.Loop"] * 5, []),
        (["sabio.Loop"] * 4, ["not every process was on sabio"]),
        (["sabio.Loop"] * 4 + ["asyncio._UnixSelectorEventLoop"], ["not every process was on sabio"]),
    ],
)
def test_every_process_must_be_on_sabio(scripts, native, wrong):
    def output(kinds):
        return "".join(f"worker-{number} runs on {kind}\n" for number, kind in enumerate(kinds)) + "map: 1\n"

    said = scripts.hosts.compare(output(["asyncio._UnixSelectorEventLoop"] * 5), output(native))
    assert [line.partition(":")[0] for line in said] == wrong


def test_results_must_be_the_same(scripts):
    def output(kind, result):
        return "".join(f"worker-{number} runs on {kind}\n" for number in range(5)) + f"map: {result}\n"

    said = scripts.hosts.compare(output("asyncio.Loop", 1), output("sabio.Loop", 2))
    assert said == ["the results differ"]
