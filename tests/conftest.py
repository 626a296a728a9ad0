"""How the differential suite runs: which loops, in which mode, and what every test must leave behind.

A test that takes `loop_name`, `loop_factory`, `loop` or `run`, or that is a coroutine function, runs
once on asyncio and once on sabio; one that takes `sabio` runs on sabio only. `--loops asyncio` picks
one half. With `tls_engine` it runs on sabio once with each engine of TLS. After each test nothing
may be left over: no descriptor, no thread, no open loop and no error that was reported but not
expected.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import inspect
import json
import os
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.engines import ENGINES, choose
from tests.support.leaks import Snapshot
from tests.support.reports import Reports
from tests.support.versions import is_affected
from tests.support.worlds import WORLDS, World

LOOPS = ("asyncio", "sabio")
TIMEOUT_SECONDS = 30
#: How much longer than its own timeout a test may hang in native code before the process ends.
GRACE_SECONDS = 30
#: After how many tests what has survived is taken out of the collections for good.
FREEZE_EVERY = 50

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
body_passed = pytest.StashKey[bool]()
terminal = pytest.StashKey[int]()
tests_since_freeze = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loops", default=",".join(LOOPS), help="the loops to test, by name")
    parser.addoption(
        "--write-failed", type=Path, help="the file for the names of the tests that failed, as JSON"
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "asyncio_lacks(reason, where='', strict=True, run=True): the asyncio half fails on the "
        "versions that `where` describes, a version specifier or several",
        "debug_mode: run a coroutine test in asyncio's debug mode",
        "alone: measures how late something happens, so nothing else may keep the machine busy",
    ):
        config.addinivalue_line("markers", line)
    if written := config.getoption("--write-failed"):
        # A run that breaks down must not seem to have failed as the last one did.
        written.unlink(missing_ok=True)
    # A warning that no test expects is a failure; those out of finalizers become unraisable.
    config.addinivalue_line("filterwarnings", "error")
    # A shell has what it starts in the background ignore Ctrl-C, programs that the tests start included; nohup does
    # so with what a terminal sends when it goes.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    # Standard error before the tests' output is captured: what a hung process says must be seen.
    config.stash[terminal] = os.dup(2)
    unknown = [name for name in chosen_loops(config) if name not in LOOPS]
    if unknown:
        raise pytest.UsageError(f"--loops: no such loop: {', '.join(unknown)}")
    if "sabio" in chosen_loops(config):
        try:
            importlib.import_module("sabio")
        except ImportError as error:
            raise pytest.UsageError(f"sabio cannot be imported ({error}); build it first") from error


def pytest_unconfigure(config: pytest.Config) -> None:
    if terminal in config.stash:
        os.close(config.stash[terminal])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write down what failed, for who wants to run it again."""
    if file := config.getoption("--write-failed"):
        stats = terminalreporter.stats
        failed = {report.nodeid: None for outcome in ("failed", "error") for report in stats.get(outcome, [])}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(list(failed)))


def chosen_loops(config: pytest.Config) -> list[str]:
    return str(config.getoption("--loops")).split(",")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    """Give coroutine tests the loop under test, so that they are parametrised by it."""
    if collector.istestfunction(obj, name) and inspect.iscoroutinefunction(obj):
        pytest.mark.usefixtures("run")(obj)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "loop_name" in metafunc.fixturenames:
        names = chosen_loops(metafunc.config)
        if "sabio" in metafunc.fixturenames:
            names = [name for name in names if name == "sabio"]
        if "tls_engine" in metafunc.fixturenames:
            pairs = [(name, engine) for name in names for engine in ENGINES[name]]
            metafunc.parametrize(("loop_name", "tls_engine"), pairs, indirect=["tls_engine"])
        else:
            metafunc.parametrize("loop_name", names, scope="function")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = chosen_loops(config)
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        needs_missing = "sabio" in fixtures and "sabio" not in names
        (dropped if needs_missing else kept).append(item)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS, method="signal"))
        lacks = item.get_closest_marker("asyncio_lacks")
        if lacks is not None and loop_of(item) == "asyncio":
            mark_lacking(item, *lacks.args, **lacks.kwargs)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


def loop_of(item: pytest.Item) -> str | None:
    """The loop under test, or the world whose objects are, by name."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    return callspec.params.get("loop_name", callspec.params.get("world"))


def mark_lacking(
    item: pytest.Item,
    reason: str,
    where: str | Sequence[str] = "",
    strict: bool = True,
    run: bool = True,
) -> None:
    if is_affected(where):
        item.add_marker(pytest.mark.xfail(reason=reason, strict=strict, run=run))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Each test ends with a collection; what exists by now need not be looked at again and again.
    gc.collect()
    gc.freeze()
    session.stash[tests_since_freeze] = 0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests on the loop under test."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    args = {name: pyfuncitem.funcargs[name] for name in names}
    debug = pyfuncitem.get_closest_marker("debug_mode") is not None
    run: Any = pyfuncitem.funcargs["run"]
    run(pyfuncitem.obj, debug=debug, **args)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    outcome: Any = yield
    if call.when == "call":
        item.stash[body_passed] = outcome.get_result().passed


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the process when native code hangs with the interpreter locked: no signal helps then."""
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0]) if marker is not None and marker.args else TIMEOUT_SECONDS
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=item.config.stash[terminal])
    yield
    faulthandler.cancel_dump_traceback_later()
    item.session.stash[tests_since_freeze] += 1
    if item.session.stash[tests_since_freeze] == FREEZE_EVERY:
        # What pytest keeps of each test made every collection dearer than the one before.
        pytest_collection_finish(item.session)


@pytest.fixture(autouse=True)
def reports(request: pytest.FixtureRequest) -> Iterator[Reports]:
    """The errors reported during the test; fails when there is more left over than the test took."""
    before = Snapshot()
    with Reports() as collected:
        yield collected
        left_over = before.left_over() + collected.left_over()
    if left_over and request.node.stash.get(body_passed, False):
        pytest.fail("left over:\n  " + "\n  ".join(left_over), pytrace=False)


@pytest.fixture
def loop_name() -> str:
    """The name of the loop under test, asyncio or sabio; the parametrisation replaces this."""
    raise AssertionError("not parametrised")


@pytest.fixture
def tls_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine of TLS that is forced, by name: `ssl` is asyncio's own."""
    return choose(request.param, monkeypatch)


@pytest.fixture
def sabio() -> ModuleType:
    """The package itself, for tests that make sense on sabio only."""
    return importlib.import_module("sabio")


@pytest.fixture
def installed(sabio: ModuleType) -> Iterator[ModuleType]:
    """The package, installed into asyncio during the test."""
    sabio.install()
    yield sabio
    sabio.uninstall()


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Each way of mixing our objects, tasks and loop with asyncio's, and asyncio alone."""
    if ("asyncio" if request.param == "asyncio" else "sabio") not in chosen_loops(request.config):
        pytest.skip("left out by --loops")
    return World(request.param)


@pytest.fixture
def loop_factory(loop_name: str, reports: Reports) -> Iterator[LoopFactory]:
    """Makes loops of the kind under test; each must be closed by the end of the test."""
    make: LoopFactory = asyncio.SelectorEventLoop
    if loop_name == "sabio":
        make = importlib.import_module("sabio").new_event_loop
    made: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    def factory() -> asyncio.AbstractEventLoop:
        loop = make()
        made.append(weakref.ref(loop))
        return loop

    yield factory
    still_open = [loop for ref in made if (loop := ref()) is not None and not loop.is_closed()]
    assert not still_open


@pytest.fixture
def loop(loop_factory: LoopFactory) -> Iterator[asyncio.AbstractEventLoop]:
    """A new loop that is not running, closed at the end."""
    loop = loop_factory()
    yield loop
    loop.close()


@pytest.fixture
def run(loop_factory: LoopFactory) -> Callable[..., Any]:
    """Runs a coroutine function to its end on a new loop, as `asyncio.run` would."""

    def run_main(main: Callable[..., Any], *args: Any, debug: bool = False, **kwargs: Any) -> Any:
        with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
            return runner.run(main(*args, **kwargs))

    return run_main
