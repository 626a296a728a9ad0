"""`python -m sabio doctor`: what it prints, what it finds missing, and that it leaves programs of that name alone."""

from __future__ import annotations

import ctypes  # noqa: F401  (libffi keeps a descriptor from the first import on: before the tests count them)
import importlib
import platform
import socket
import sys

import pytest

from tests.support.process import run_python

pytestmark = pytest.mark.usefixtures("sabio")

FACTS = ["sabio", "build", "interpreter", "kernel", "C library", "poller", "TLS engine", "descriptors"]


@pytest.fixture
def doctor(sabio):
    return importlib.import_module("sabio._doctor")


def cli(*args, **kwargs):
    return run_python("-m", "sabio", *args, **kwargs)


def missing(lines):
    """The lines below the last heading."""
    lines = list(lines)
    return lines[lines.index("not available") + 1 :]


def test_report_has_its_layout(sabio):
    done = cli("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    facts, _, rest = done.stdout.partition("\n\navailable\n")
    assert [line[:13].rstrip() for line in facts.splitlines()] == FACTS
    available, _, absent = rest.partition("\n\nnot available\n")
    absent, _, untried = absent.partition("\n\nnot to be tried here\n")
    lines = [*available.splitlines(), *absent.splitlines(), *untried.splitlines()]
    names = [line[2:17].rstrip() for line in lines if line not in ("  nothing", "  nothing is missing")]
    features = importlib.import_module("sabio._doctor").FEATURES
    assert sorted(names) == sorted(feature.name for feature in features)


def test_facts_are_those_of_this_process(doctor, sabio):
    values = {line[:13].rstrip(): line[13:] for line in list(doctor.report())[: len(FACTS)]}
    assert values["sabio"].startswith(f"{sabio.__version__} (")
    assert values["interpreter"] == f"CPython {platform.python_version()} ({sys.executable})"
    assert values["build"].split()[0].rstrip(":") in ("guided", "plain", "checked")
    assert values["kernel"] == f"Linux {platform.release()} {platform.machine()}"
    assert values["poller"] == "epoll"
    assert values["TLS engine"].split(":")[0] == importlib.import_module("sabio._sabio")._tls_engine()[0]


def test_engine_that_is_forced_is_named(doctor, monkeypatch):
    monkeypatch.setenv("SABIO_TLS_ENGINE", "portable")
    assert any(line == "TLS engine   portable: SABIO_TLS_ENGINE asks for it" for line in doctor.report())
    monkeypatch.setenv("SABIO_TLS_ENGINE", "steam")
    assert any(line.startswith("TLS engine   none: ") and "steam" in line for line in doctor.report())


def test_what_the_system_refuses_is_named_with_the_reason(doctor, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.pidfd_open", refuse)
    lines = missing(doctor.report())
    assert [line for line in lines if line.startswith("  pidfd ")] == [
        "  pidfd          [Errno 1] Operation not permitted; a thread waits for each process",
        "  pidfd signals  there is no pidfd",
    ]


def test_signals_that_go_by_number_are_told_of_alone(doctor, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("signal.pidfd_send_signal", refuse)
    [line] = [line for line in missing(doctor.report()) if "pidfd" in line]
    assert line.startswith("  pidfd signals  [Errno 1] Operation not permitted; signals go by the number")


def test_sendfile_is_not_said_to_be_missing_where_no_file_can_be_made(doctor, monkeypatch):
    def read_only(*_arguments, **_options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    lines = list(doctor.report())
    assert lines[lines.index("not to be tried here") + 1 :] == ["  sendfile       no file can be made"]


def test_interpreter_built_without_a_call_lacks_it(doctor, monkeypatch):
    monkeypatch.delattr("os.sendfile")
    assert any(line.startswith("  sendfile ") for line in missing(doctor.report()))


def test_kernel_that_makes_one_datagram_of_a_row_has_no_rows(doctor, monkeypatch):
    monkeypatch.setattr(doctor, "_send_row", lambda sender: sender.send(b"one,two."))
    monkeypatch.setattr(doctor, "_PATIENCE", 0.01)
    assert any(line.startswith("  UDP_SEGMENT ") for line in missing(doctor.report()))


def test_what_cannot_be_tried_is_not_said_to_be_missing(doctor, monkeypatch):
    def unreachable(self, address):
        raise OSError(101, "Network is unreachable")

    cut = type("Cut", (socket.socket,), {"connect": unreachable})
    monkeypatch.setattr(doctor, "_udp_socket", lambda: cut(socket.AF_INET, socket.SOCK_DGRAM))
    lines = list(doctor.report())
    rest = lines[lines.index("not available") :]
    heading = rest.index("not to be tried here")
    reason = "the kernel knows it, and 127.0.0.1 gives [Errno 101] Network is unreachable"
    assert rest[heading + 1 :] == [f"  UDP_SEGMENT    {reason}"]
    assert not [line for line in rest[:heading] if "UDP" in line]


def test_a_look_changes_nothing(doctor, sabio):
    import asyncio

    before = asyncio.new_event_loop.__module__, asyncio.Lock
    list(doctor.report())
    assert (asyncio.new_event_loop.__module__, asyncio.Lock) == before


def test_it_takes_no_arguments():
    done = cli("doctor", "--all")
    assert done.returncode == 2
    assert "doctor takes no arguments" in done.stderr


@pytest.mark.parametrize("way", ["doctor", "./doctor"])
def test_program_of_that_name_is_run(tmp_path, way):
    (tmp_path / "doctor").write_text("import sys\nprint('program', sys.argv[1:])\n")
    assert cli(way, "--all", cwd=tmp_path).stdout == "program ['--all']\n"


def test_folder_of_that_name_is_run(tmp_path):
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor" / "__main__.py").write_text("print('program')\n")
    assert cli("doctor", cwd=tmp_path).stdout == "program\n"


def test_legacy_programs_are_no_report():
    done = cli("--legacy", "doctor")
    assert done.returncode == 2
    assert "can't open file" in done.stderr
