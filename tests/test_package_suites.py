"""What `make packages` makes of suites, outcomes and servers; the suites themselves are not run here."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.support.scripts import imported

MODULES = ("list", "source", "suite", "portions", "compare", "report", "servers")

SUITE = """
import asyncio, os

def test_before(): pass

def test_that_takes_the_process_with_it():
    if os.environ["SABIO_WORLD"] == "loop":
        os._exit(7)

def test_which_loop():
    loop = asyncio.new_event_loop()
    loop.close()
    assert type(loop).__module__.startswith(os.environ["SABIO_WORLD"])

def test_by_name():
    asyncio.SelectorEventLoop().close()
"""


@pytest.fixture(scope="module")
def packages():
    """The script's modules, by their last word."""
    with imported({name: f"package_{name}" for name in MODULES}) as modules:
        yield modules


@pytest.fixture
def suite(packages, tmp_path):
    """Makes a suite of one file."""

    def make(source, options=()):
        tree = tmp_path / "tree"
        (tree / "tests").mkdir(parents=True)
        (tree / "tests" / "test_it.py").write_text(source)
        # What the tests themselves import sabio from.
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        # Of the plugins that are installed here one is needed; pytest starts sooner without the others.
        paths |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        package = packages.list.Package("it", options=("-p", "pytest_timeout", *options))
        return packages.suite.Suite(package, Path(sys.executable), tree, tmp_path / "output", paths)

    return make


def record(*lines):
    return [json.dumps(line) for line in lines]


def ended(test, outcome="passed", sabio=0, asyncio=0, why=""):
    return {"end": test, "outcome": outcome, "why": why, "sabio": sabio, "asyncio": asyncio}


def run_of(packages, **outcomes):
    return packages.suite.Run(outcomes=dict(outcomes), sabio=1)


# ---------------------------------------------------------------- runs


def test_record_tells_outcomes_and_loops(packages):
    run = packages.suite.read(
        record(
            {"collected": 2},
            {"start": "a[<object at 0x7f12>]"},
            ended("a[<object at 0x7f12>]", sabio=2),
            {"start": "b"},
            ended("b", "failed", sabio=2, asyncio=1, why="assert 1 == 2"),
            {"exit": 1, "sabio": 3, "asyncio": 1},
        )
    )
    assert run.outcomes == {"a[<object at 0x...>]": "passed", "b": "failed"}
    assert run.why == {"b": "assert 1 == 2"}
    assert (run.sabio, run.asyncio, run.on_asyncio) == (3, 1, ["b"])


def test_test_that_began_and_did_not_end_has_died(packages):
    first = [{"collected": 3}, {"start": "a"}, ended("a", sabio=4), {"start": "b"}]
    second = [{"collected": 1}, {"start": "c"}, ended("c", sabio=1)]
    run = packages.suite.read(record(*first, *second))
    assert run.outcomes == {"a": "passed", "b": "died", "c": "passed"}
    assert run.sabio == 5  # the second process counts from zero
    assert packages.suite.read(record(*first)).outcomes == {"a": "passed", "b": "died"}


@pytest.mark.usefixtures("sabio")
def test_suite_goes_on_behind_a_test_that_ends_the_process(packages, suite):
    run = suite(SUITE).run("loop", limit=20)
    name = "tests/test_it.py::test_{}".format
    assert run.outcomes == {
        name("before"): "passed",
        name("that_takes_the_process_with_it"): "died",
        name("which_loop"): "failed",  # it looks for a module called loop
        name("by_name"): "passed",
    }
    assert (run.sabio, run.asyncio, run.unfinished) == (1, 0, "")
    assert "assert" in run.why[name("which_loop")]


def test_on_asyncio_nothing_is_changed(packages, suite):
    run = suite(SUITE).run("asyncio", limit=20)
    assert set(run.outcomes.values()) == {"passed"}
    assert (run.sabio, run.asyncio) == (0, 2)
    assert len(run.on_asyncio) == 2


def test_suite_that_does_not_end_is_ended_and_says_so(packages, suite):
    run = suite("import time\ndef test_sleeps(): time.sleep(60)").run("asyncio", limit=0.5)
    assert run.unfinished == "out of time"
    assert set(run.outcomes.values()) <= {"died"}


@pytest.fixture
def divided(packages, suite):
    """A suite of three files, and what makes its portions; `pause` is in seconds from now."""
    whole = suite("def test_one(): pass\ndef test_two(): pass")
    for name in "ab":
        (whole.tree / "tests" / f"test_{name}.py").write_text("def test_it(): pass")
    names = [
        f"tests/test_{name}"
        for name in ("a.py::test_it", "b.py::test_it", "it.py::test_one", "it.py::test_two")
    ]

    def portion(identity="the same", pause=0.0):
        suites = dict.fromkeys(packages.suite.WORLDS, whole)
        return packages.portions.Portions(suites, identity, time.monotonic() + pause)

    return whole, names, portion


def test_suite_that_is_paused_goes_on_with_the_next_file(packages, divided):
    suite, names, _ = divided
    for number in (1, 2):
        run = suite.run("asyncio", limit=20, pause=0)
        assert (run.unfinished, [*run.outcomes]) == ("paused", names[:number])
    run = suite.run("asyncio", limit=20, pause=0)
    # The tests of one file stay together, and behind the last file there is nothing to wait for.
    assert (run.unfinished, [*run.outcomes]) == ("", names)
    assert set(run.outcomes.values()) == {"passed"}
    suite.forget("asyncio")
    assert suite.recorded("asyncio").outcomes == {}


def test_suite_that_does_not_start_again_is_not_paused(packages, divided):
    suite, names, _ = divided
    assert suite.run("asyncio", limit=20, pause=0).unfinished == "paused"
    (suite.tree / "conftest.py").write_text("raise SystemExit(3)")
    run = suite.run("asyncio", limit=20, pause=0)
    assert "did not start" in run.unfinished
    assert [*run.outcomes] == names[:1]


def test_portions_make_one_run(packages, divided):
    _, names, portion = divided
    paused = 0
    for _ in range(50):
        try:
            # pytest takes longer to start: its time is up when the first file is done.
            run = portion(pause=0.1).run("asyncio", 20)
        except packages.portions.Paused:
            paused += 1
        else:
            break
    assert ([*run.outcomes], run.unfinished) == (names, "")
    assert paused >= 2
    # What has come to its end is not run again, not even if there is no time left.
    assert [*portion(pause=-1).run("asyncio", 20).outcomes] == names
    with pytest.raises(packages.portions.Paused):
        portion(pause=-1).run("loop", 20)
    # Alone, too, and the outcomes are kept.
    assert portion(pause=60).alone("asyncio", names[0], 20, 2, "not run") == ["passed"] * 2
    assert portion(pause=-1).alone("asyncio", names[0], 20, 2, "not run") == ["passed"] * 2
    with pytest.raises(packages.portions.Paused):
        portion(pause=-1).alone("asyncio", names[1], 20, 2, "not run")


def test_portion_that_is_interrupted_is_not_gone_on_from(packages, divided, monkeypatch):
    suite, names, portion = divided

    def interrupt(process, until):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packages.suite, "_ends", interrupt)
        first = portion(pause=60)
        with pytest.raises(KeyboardInterrupt):
            first.run("asyncio", 20)
    with (suite.output / "asyncio.record").open("a") as record:
        record.write(json.dumps({"start": names[1]}) + "\n")
    run = portion(pause=60).run("asyncio", 20)
    assert run.outcomes == dict.fromkeys(names, "passed")


@pytest.mark.usefixtures("sabio")
def test_worlds_can_be_run_beside_each_other(divided):
    _, names, portion = divided
    one, other = portion(pause=60), portion(pause=60)
    one.run("asyncio", 20)
    other.run("loop", 20)
    after = portion(pause=-1)  # it has no time, and takes what the two have left
    assert [[*after.run(world, 20).outcomes] for world in ("asyncio", "loop")] == [names] * 2


def test_a_world_is_run_by_one_process_at_a_time(packages, tmp_path):
    claimed = packages.portions.claimed
    with (
        claimed(tmp_path, "loop"),
        claimed(tmp_path, "asyncio"),
        pytest.raises(packages.portions.Busy, match=rf"{tmp_path.name} \(loop\)"),
        claimed(tmp_path, "loop"),
    ):
        pass
    with claimed(tmp_path, "loop"):
        pass


def test_portions_of_another_run_are_not_taken(packages, divided):
    suite, names, portion = divided
    portion(pause=60).run("asyncio", 20)
    (suite.tree / "tests" / "test_a.py").unlink()
    assert [*portion("another", pause=60).run("asyncio", 20).outcomes] == names[1:]
    # One that came to its end is not gone on with, either.
    portion("another").end()
    (suite.tree / "tests" / "test_b.py").unlink()
    assert [*portion("another", pause=60).run("asyncio", 20).outcomes] == names[2:]


def test_unfinished_run_stays_unfinished(packages, divided):
    _, _, portion = divided
    assert portion(pause=60).run("asyncio", 0).unfinished == "out of time"
    assert portion(pause=60).run("asyncio", 20).unfinished == "out of time"


def test_what_was_run_tells_portions_apart(packages):
    identity, package = packages.portions.identity, packages.list.Package("it")
    same = packages.list.Package("it", explained={"a": "because"})
    assert identity(package, {"sabio": "1"}) == identity(same, {"sabio": "1"})
    others = [(package, {"sabio": "2"}), (packages.list.Package("it", options=("-x",)), {"sabio": "1"})]
    assert identity(package, {"sabio": "1"}) not in [identity(*other) for other in others]


def test_suite_that_cannot_start_says_so(packages, suite):
    run = suite("", options=("--no-such-option",)).run("asyncio", limit=20)
    assert run.outcomes == {}
    assert "did not start" in run.unfinished


# ---------------------------------------------------------------- comparing


def test_what_never_ends_as_on_asyncio_is_a_difference(packages):
    there, here = run_of(packages, a="passed", b="passed"), run_of(packages, a="passed", b="failed")
    asked = []

    def alone(world, test):
        asked.append((world, test))
        return ["passed" if world == "asyncio" else "failed"] * 3

    found = packages.compare.compare(there, here, "install", alone)
    assert [each.test for each in found.differences] == ["b"]
    assert found.unsteady == []
    assert asked == [("asyncio", "b"), ("install", "b")]


def test_what_ends_as_on_asyncio_now_and_then_is_unsteady(packages):
    answers = {"asyncio": ["passed"] * 3, "loop": ["failed", "passed", "failed"]}
    found = packages.compare.compare(
        run_of(packages, a="passed"), run_of(packages, a="failed"), "loop", lambda world, _: answers[world]
    )
    assert found.differences == []
    assert found.unsteady[0].why == "alone: passed 3 on asyncio, failed 2, passed 1 on sabio"


def test_test_that_one_run_lacks_is_a_difference(packages):
    found = packages.compare.suspects(run_of(packages, a="passed"), run_of(packages))
    assert [(each.test, each.sabio) for each in found] == [("a", "not run")]


def test_many_differences_are_not_run_again(packages):
    names = [f"t{number}" for number in range(100)]
    there = run_of(packages, **dict.fromkeys(names, "passed"))
    found = packages.compare.compare(there, run_of(packages), "loop", lambda *_: pytest.fail("was run"))
    assert len(found.differences) == 100


# ---------------------------------------------------------------- reporting


def a_result(packages, **worlds):
    runs = {
        world: worlds.get(world, run_of(packages, a="passed", b="skipped"))
        for world in ("asyncio", "loop", "install")
    }
    found = {
        world: packages.compare.compare(runs["asyncio"], runs[world], world, lambda where, _: [where])
        for world in ("loop", "install")
    }
    return packages.report.result("1.2", {"CPython": "3.14.0"}, runs, found)


def test_good_result_is_good(packages):
    result = a_result(packages)
    assert packages.report.is_good("it", result)
    assert packages.report.row("it", result) == ["it", "1.2", "2", "1", "1", "1", "none"]


def test_difference_is_told_by_name(packages):
    result = a_result(packages, install=run_of(packages, a="failed", b="skipped"))
    assert not packages.report.is_good("it", result)
    assert packages.report.row("it", result)[-1] == "1"
    lines = list(packages.report.details("it", result))
    assert "difference with `install()`: `a`: passed on asyncio, failed" in lines


def test_difference_that_is_explained_is_counted_apart(packages, monkeypatch):
    package = packages.list.Package("it", explained={"a.*": "it asks for a file of asyncio's"})
    monkeypatch.setitem(packages.list.BY_NAME, "it", package)
    result = a_result(packages, loop=run_of(packages, a="failed", b="skipped"))
    assert packages.report.is_good("it", result)
    assert packages.report.row("it", result)[-1] == "none, 1 explained"
    assert any("it asks for a file" in line for line in packages.report.details("it", result))
    result = a_result(packages, loop=run_of(packages, a="failed", b="failed"))
    assert not packages.report.is_good("it", result)
    assert packages.report.row("it", result)[-1] == "1, 1 explained"


def test_run_that_made_no_loop_of_sabio_is_not_good(packages):
    run = run_of(packages, a="passed", b="skipped")
    run.sabio = 0
    result = a_result(packages, loop=run)
    assert not packages.report.is_good("it", result)
    assert "NOT ON SABIO" in packages.report.summary("it", result)


def test_unfinished_run_is_not_good(packages):
    run = run_of(packages, a="passed", b="skipped")
    run.unfinished = "out of time"
    result = a_result(packages, loop=run)
    assert not packages.report.is_good("it", result)
    assert "1 (out of time)" in packages.report.row("it", result)
    assert packages.report.row("it", result)[-1] == "NOT FINISHED"


def test_what_was_not_run_is_listed_and_not_counted(packages):
    report = packages.report
    skipped = report.skipped("1.0", "PostgreSQL did not start: no disk")
    assert not report.is_good("it", skipped)
    page = report.page({"asyncpg": skipped})
    assert "| asyncpg | 1.0 |  |  |  |  | not run: PostgreSQL did not start: no disk |" in page
    assert page.count("| not run |") == len(packages.list.PACKAGES) - 1


def test_own_checks_are_told_from_a_package_s_own_tests(packages, monkeypatch):
    package = packages.list.Package("it-is", checks=True)
    monkeypatch.setitem(packages.list.BY_NAME, "it-is", package)
    assert packages.report.row("it-is", a_result(packages))[0] == "it-is (own checks)"
    monkeypatch.setattr(packages.report, "PACKAGES", (package,))
    assert "[our own](../tests/packages/check_it_is.py)" in packages.report.page(
        {"it-is": a_result(packages)}
    )


def test_page_is_what_the_results_say(packages):
    results = packages.report.load()
    assert packages.report.PAGE.read_text() == packages.report.page(results)
    assert packages.report.PICTURE.read_text() == packages.report.picture(results)
    assert packages.report.in_short(results) in packages.report.README.read_text()


# ---------------------------------------------------------------- sources and servers


def test_every_package_is_pinned(packages):
    unpinned = []
    for package in packages.list.PACKAGES:
        text = packages.source.pins(package).read_text()
        needs = (package.name, "pytest", "pytest-timeout", *package.needs)
        names = [re.match(r"[\w.-]+", need)[0] for need in needs]
        unpinned += [name for name in names if not packages.source.pinned(text, name)]
    assert unpinned == []


def test_own_checks_are_there_and_none_knows_of_sabio(packages):
    files = [packages.source.checks(package) for package in packages.list.PACKAGES if package.checks]
    assert sorted(files) == sorted(files[0].parent.glob("check_*.py"))
    assert not [file.name for file in files if "sabio" in file.read_text()]


def test_own_checks_are_what_is_run(packages, tmp_path, monkeypatch):
    monkeypatch.setenv("CARGO_TARGET_DIR", str(tmp_path))
    package = next(package for package in packages.list.PACKAGES if package.checks)
    tree = packages.source.unpack(package, None)
    wanted = {*package.paths, "pytest.ini"}
    assert {file.name for file in tree.iterdir()} == wanted
    (tree / "left over").touch()
    assert {file.name for file in packages.source.unpack(package, None).iterdir()} == wanted


def test_suite_does_not_get_our_settings(packages, tmp_path):
    (tmp_path / "tests").mkdir()
    package = packages.list.Package("it")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    packages.source.prepare(package, tmp_path)
    assert not (tmp_path / "pytest.ini").exists()
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    packages.source.prepare(package, tmp_path)
    # pytest takes a file of this name for its settings, whatever is in it.
    assert (tmp_path / "pytest.ini").exists()


def test_name_is_found_however_it_is_written(packages):
    text = "# comment\nFoo_Bar[extra]==1.2; python_version > '3'\nfoo==3\n"
    assert packages.source.pinned(text, "foo-bar") == "1.2"
    assert packages.source.pinned(text, "Foo") == "3"
    with pytest.raises(KeyError):
        packages.source.pinned(text, "bar")


def test_package_itself_is_taken_out_of_its_sources(packages, tmp_path):
    (tmp_path / "it" / "tests").mkdir(parents=True)
    package = packages.list.Package("it", moved={"it/tests": "suite"}, source=("it",), tests=("suite",))
    packages.source.prepare(package, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"suite", "pytest.ini"}
    with pytest.raises(packages.source.Unavailable, match="no folder it/tests"):
        packages.source.prepare(package, tmp_path)


def test_files_that_are_left_out_are_not_there(packages, tmp_path):
    for name in ("tests/a/conftest.py", "tests/b.py", "tests/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    left_out = dict.fromkeys(["tests/a", "tests/b.py", "tests/c.py::test_it"], "it needs another machine")
    package = packages.list.Package("it", left_out=left_out)
    packages.source.prepare(package, tmp_path)
    assert [path.name for path in (tmp_path / "tests").iterdir()] == ["c.py"]
    suite = packages.suite.Suite(package, Path(sys.executable), tmp_path, tmp_path)
    assert suite.command([]).count("--deselect") == 1


def test_link_is_started_by_its_own_name(packages, tmp_path, monkeypatch):
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "a-server").symlink_to("program")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert packages.servers.require("a-server", "no-such-package") == tmp_path / "a-server"


def test_server_that_does_not_start_is_named(packages, tmp_path):
    servers = packages.servers
    command = [sys.executable, "-c", "print('no room'); raise SystemExit(1)"]
    with (
        pytest.raises(packages.source.Unavailable, match="Postgres did not start: no room"),
        servers._process("Postgres", command, servers.free_port(), tmp_path, None),
    ):
        pytest.fail("it did not start")


def test_server_is_stopped(packages, tmp_path):
    servers = packages.servers
    port = servers.free_port()
    code = f"import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\nwhile True: s.accept()"
    with servers._process("it", [sys.executable, "-c", code], port, tmp_path, None):
        assert servers._answers(port)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_server_that_cannot_be_installed_is_named(packages, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(packages.source.Unavailable, match="only root can install it"):
        packages.servers.require("no-such-program", "no-such-package")
