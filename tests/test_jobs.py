"""The runner of `make test`: order, what is left out, and that a hang ends with everything it started."""

import importlib.util
import os
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture(scope="module")
def jobs():
    spec = importlib.util.spec_from_file_location("jobs", SCRIPTS / "jobs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["jobs"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["jobs"]


@pytest.fixture
def make(jobs):
    def check(name, code="", *, limit=20.0, **order):
        return jobs.Check(name, (sys.executable, "-c", code), limit, dict(os.environ), **order)

    return check


@pytest.fixture
def runner(jobs):
    return jobs.Jobs()


def test_output_of_each_check_stays_in_one_piece(runner, make, capfd):
    code = "import time\nfor _ in range(3):\n    print('{}', flush=True)\n    time.sleep(0.05)"
    runner.run([make("first", code.format("a")), make("second", code.format("b"))])
    output = capfd.readouterr().out
    assert "== first\n\na\na\na\n" in output
    assert "== second\n\nb\nb\nb\n" in output
    assert not runner.failed


def test_so_many_run_at_a_time_and_no_more(runner, make, tmp_path, capfd):
    code = f"""
import os, time
from pathlib import Path
mine = Path({str(tmp_path)!r}, str(os.getpid()))
mine.touch()
time.sleep(1)
print("beside each other:", len(os.listdir(mine.parent)))
time.sleep(0.5)
mine.unlink()
"""
    runner.run([make(name, code) for name in ("first", "second", "third")], at_once=2)
    seen = [line for line in capfd.readouterr().out.splitlines() if line.startswith("beside")]
    assert seen[:2] == ["beside each other: 2"] * 2
    assert "beside each other: 3" not in seen
    assert not runner.failed


def test_what_needs_a_failed_check_is_left_out_and_the_rest_runs(runner, make):
    runner.run(
        [
            make("depends on what depends", needs=["depends"]),
            make("depends", needs=["broken"]),
            make("broken", "raise SystemExit(1)"),
            make("only comes later", after=["broken"]),
        ]
    )
    assert {name: result.status for name, result in runner.results.items()} == {
        "broken": "FAILED",
        "depends": "not run",
        "depends on what depends": "not run",
        "only comes later": "ok",
    }
    assert runner.failed == ["broken"]


def test_hang_is_killed_with_all_that_it_started(runner, make, tmp_path, capfd):
    numbers = tmp_path / "numbers"
    code = f"""
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
with open({str(numbers)!r}, "w") as file:
    file.write(" ".join(str(child.pid) for child in children))
print("started them", flush=True)
time.sleep(60)
"""
    began = time.monotonic()
    runner.run([make("hangs", code, limit=2)])
    assert time.monotonic() - began < 10
    assert runner.failed == ["hangs"]
    output = capfd.readouterr().out
    assert "started them" in output
    assert "KILLED: hangs: no end after 2 seconds" in output
    for pid in map(int, numbers.read_text().split()):
        deadline = time.monotonic() + 5
        while is_alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_fails_beside_others_and_passes_alone_is_unsteady_and_no_failure(runner, make, tmp_path, capfd):
    runs = tmp_path / "runs"
    again = (sys.executable, "-c", f"open({str(runs)!r}, 'a').write('x')")
    runner.run([make("trembles", "raise SystemExit(1)", again=lambda: again), make("is well")])
    assert runner.failed == ["trembles"]
    runner.run_again()
    assert runner.failed == []
    assert runner.unsteady == ["trembles"]
    assert sorted(runner.results) == ["is well", "trembles"]
    assert runs.read_text() == "xxx"
    assert "UNSTEADY: trembles" in capfd.readouterr().out


def test_what_fails_alone_even_once_has_failed(runner, make, tmp_path):
    runs = tmp_path / "runs"
    code = f"open({str(runs)!r}, 'a').write('x'); raise SystemExit(open({str(runs)!r}).read() == 'xx')"
    runner.run([make("trembles", "raise SystemExit(1)", again=lambda: (sys.executable, "-c", code))])
    runner.run_again()
    assert runner.failed == ["trembles"]
    assert runner.unsteady == []
    assert runs.read_text() == "xx"


@pytest.mark.parametrize(
    "code", ["import os; os.kill(os.getpid(), 11)", "raise SystemExit(2)", "import time; time.sleep(60)"]
)
def test_a_crash_a_breakdown_and_a_hang_get_no_second_chance(runner, make, code):
    runner.run([make("dies", code, limit=2, again=lambda: (sys.executable, "-c", ""))])
    runner.run_again()
    assert runner.failed == ["dies"]


def test_what_is_kept_for_the_end_is_printed_there_and_a_failure_at_once(runner, make, capfd):
    runner.run([make("closes", "print('closing line')", last=True), make("other", "print('other line')")])
    assert "closing line" not in capfd.readouterr().out
    runner.print_last()
    assert capfd.readouterr().out.endswith("closing line\n")
    runner.run([make("fails", "print('its reason'); raise SystemExit(1)", last=True)])
    assert "its reason" in capfd.readouterr().out


def is_alive(pid):
    """Whether the process still runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
