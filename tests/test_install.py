"""install(), uninstall(), and that `import sabio` alone changes nothing."""

import asyncio
import importlib
import importlib.resources
import inspect
import pickle
import selectors
import sys
import threading
from asyncio.unix_events import _UnixSelectorEventLoop

import pytest

from tests.support.process import lines, output_of
from tests.support.versions import SINCE_3_13, SINCE_3_14

pytestmark = pytest.mark.usefixtures("sabio")

#: What of the process is compared. Modules are compared name by name, objects by identity.
SNAPSHOT = """
import asyncio, asyncio.events, asyncio.tasks, asyncio.futures, asyncio.base_events, asyncio.unix_events
import asyncio.selector_events, asyncio.runners, asyncio.streams, asyncio.transports, asyncio.coroutines
import gc, os, signal, socket, ssl, sys, threading, warnings, types, collections.abc, concurrent.futures

WATCHED = [name for name in sys.modules if name.split(".")[0] in (
    "asyncio", "_asyncio", "ssl", "_ssl", "socket", "_socket", "select", "selectors", "signal", "threading",
    "concurrent", "contextvars", "subprocess", "types", "inspect", "traceback", "warnings", "builtins")]

def snapshot():
    found = {}
    for module in WATCHED:
        for name, value in vars(sys.modules[module]).items():
            # Caches that fill up by themselves, and what an import adds to its parent.
            if name in ("__warningregistry__", "_cache") or isinstance(value, types.ModuleType):
                continue
            found[module, name] = id(value)
            if isinstance(value, type) and value.__module__.split(".")[0] in ("asyncio", "_asyncio", "ssl", "socket"):
                for attribute, inner in vars(value).items():
                    if not attribute.startswith("_abc_"):
                        found[module, name, attribute] = id(inner)
        found[module, "order"] = [name for name in vars(sys.modules[module]) if name != "__warningregistry__"]
    found["threads"] = sorted(thread.name for thread in threading.enumerate())
    found["native threads"] = len(os.listdir("/proc/self/task"))
    found["descriptors"] = sorted(os.listdir("/proc/self/fd"))
    found["handlers"] = {number: signal.getsignal(number) for number in signal.valid_signals()}
    found["mask"] = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    found["switch interval"] = sys.getswitchinterval()
    found["hooks"] = (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook,
                      sys.get_asyncgen_hooks(), sys.gettrace(), sys.getprofile())
    found["warning filters"] = list(warnings.filters)
    found["collector"] = (gc.isenabled(), gc.get_threshold(), list(gc.callbacks))
    found["path"] = (list(sys.path), list(map(id, sys.meta_path)), list(map(id, sys.path_hooks)))
    found["environment"] = dict(os.environ)
    found["abstract classes"] = [
        issubclass(kind, abstract)
        for kind in (int, str, asyncio.Future, asyncio.Task, types.GeneratorType)
        for abstract in (collections.abc.Coroutine, collections.abc.Awaitable)
    ]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    found["wakeup"] = wakeup
    return found

def difference(before, after):
    return sorted(str(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key))
"""


def test_import_changes_nothing_in_the_process():
    code = SNAPSHOT + "snapshot()\nbefore = snapshot()\nimport sabio\nprint(difference(before, snapshot()))"
    assert lines(code) == ["[]"]


def test_making_and_closing_a_loop_changes_nothing_in_the_process():
    code = (
        SNAPSHOT
        + """
import sabio
async def main():
    await asyncio.sleep(0.001)
    await sabio.sleep(0.001)
def use():
    loop = sabio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
use()
before = snapshot()
use()
print(difference(before, snapshot()))
"""
    )
    assert lines(code) == ["[]"]


def test_uninstall_restores_exactly_what_install_changed():
    code = (
        SNAPSHOT
        + """
import sabio
before = snapshot()
sabio.install()
installed = snapshot()
sabio.uninstall()
print(difference(before, snapshot()))
print(difference(before, installed) != [])
sabio.install()
async def main():
    return type(asyncio.get_running_loop()) is sabio.Loop
print(asyncio.run(main()))
sabio.uninstall()
print(difference(before, snapshot()))
async def plain():
    return isinstance(asyncio.get_running_loop(), sabio.Loop)
print(asyncio.run(plain()))
"""
    )
    assert lines(code) == ["[]", "True", "True", "[]", "False"]


def test_import_works_without_asyncio_being_imported_before():
    code = "import sys\nassert 'asyncio' not in sys.modules\nimport sabio\nprint(sabio.run(sabio.sleep(0, 'ran')))"
    assert lines(code) == ["ran"]


async def kind_of_loop():
    return type(asyncio.get_running_loop())


def test_installed_loop_is_what_asyncio_runs_on(installed):
    assert asyncio.run(kind_of_loop()) is installed.Loop
    with asyncio.Runner() as runner:
        assert runner.run(kind_of_loop()) is installed.Loop
    loop = asyncio.new_event_loop()
    assert type(loop) is installed.Loop
    loop.close()


def test_installed_loop_is_what_other_threads_get(installed):
    results = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(kind_of_loop())))
    thread.start()
    thread.join()
    assert results == [installed.Loop]


@pytest.mark.skipif(not SINCE_3_13, reason="asyncio.EventLoop is new in 3.13")
def test_installed_loop_is_asyncio_s_event_loop(installed):
    assert asyncio.EventLoop is installed.Loop


@pytest.mark.skipif(SINCE_3_14, reason="get_event_loop() makes no loop since 3.14")
@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")
def test_get_event_loop_makes_an_installed_loop():
    code = """
        import warnings
        warnings.simplefilter("ignore")
        sabio.install()
        loop = asyncio.get_event_loop()
        print(type(loop) is sabio.Loop)
        loop.close()
    """
    assert output_of("sabio", code) == ["True"]


def test_install_twice_and_uninstall_once(sabio):
    sabio.install()
    sabio.install()
    sabio.uninstall()
    assert asyncio.run(kind_of_loop()) is not sabio.Loop


def test_uninstall_without_install_does_nothing(sabio):
    sabio.uninstall()
    sabio.uninstall()
    assert asyncio.run(kind_of_loop()) is not sabio.Loop


def test_install_while_a_loop_runs_leaves_that_loop_alone(sabio):
    async def main():
        sabio.install()
        try:
            await asyncio.sleep(0.001)
            loop = asyncio.new_event_loop()
            loop.close()
            return type(asyncio.get_running_loop()), type(loop)
        finally:
            sabio.uninstall()

    running, new = asyncio.run(main())
    assert running is not sabio.Loop
    assert new is sabio.Loop


def test_install_from_many_threads_at_once(sabio):
    threads = [threading.Thread(target=sabio.install) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(kind_of_loop()) is sabio.Loop
    sabio.uninstall()
    assert asyncio.run(kind_of_loop()) is not sabio.Loop


def test_loops_made_before_uninstall_go_on(sabio):
    sabio.install()
    loop = asyncio.new_event_loop()
    sabio.uninstall()
    assert loop.run_until_complete(kind_of_loop()) is sabio.Loop
    loop.close()


def test_selector_event_loop_is_a_loop_of_sabio_s(sabio):
    of_asyncio = asyncio.SelectorEventLoop()
    original = asyncio.SelectorEventLoop
    sabio.install()
    try:
        kind = asyncio.SelectorEventLoop
        assert kind is asyncio.unix_events.SelectorEventLoop
        assert (kind.__module__, kind.__name__) == ("asyncio.unix_events", "SelectorEventLoop")
        assert inspect.isclass(kind)
        assert list(inspect.signature(kind).parameters) == ["selector"]
        assert pickle.loads(pickle.dumps(kind)) is kind
        with asyncio.Runner(loop_factory=kind) as runner:
            assert runner.run(kind_of_loop()) is sabio.Loop
            assert isinstance(runner.get_loop(), kind)
        assert isinstance(of_asyncio, kind)
        assert issubclass(sabio.Loop, kind)
        assert issubclass(original, kind)
        assert not issubclass(asyncio.BaseEventLoop, kind)
    finally:
        sabio.uninstall()
        of_asyncio.close()
    assert asyncio.SelectorEventLoop is asyncio.unix_events.SelectorEventLoop is original


def test_a_selector_and_a_class_of_one_s_own_get_asyncio_s_loop(installed):
    class Counting(asyncio.SelectorEventLoop):
        turns = 0

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.arguments = arguments

        def _run_once(self):
            self.turns += 1
            super()._run_once()

    for make in (asyncio.SelectorEventLoop, Counting):
        selector = selectors.SelectSelector()
        loop = make(selector)
        with asyncio.Runner(loop_factory=lambda loop=loop: loop) as runner:
            runner.run(asyncio.sleep(0.001))
            assert isinstance(loop, asyncio.SelectorEventLoop)
            assert isinstance(loop, _UnixSelectorEventLoop)
            assert loop._selector is selector
    assert loop.arguments == (selector,)
    assert loop.turns > 1
    assert type(Counting) is type
    assert Counting.__mro__[1] is _UnixSelectorEventLoop


def test_uninstall_while_a_loop_runs_leaves_that_loop_alone(sabio):
    async def main():
        sleep = asyncio.sleep
        sabio.uninstall()
        assert asyncio.sleep is not sleep
        await sleep(0.001)
        await asyncio.sleep(0.001)
        return type(asyncio.get_running_loop())

    sabio.install()
    assert asyncio.run(main()) is sabio.Loop


def test_install_and_uninstall_from_many_threads_while_a_loop_runs(sabio):
    before = vars(asyncio).copy()

    def switch():
        for _ in range(50):
            sabio.install()
            sabio.uninstall()

    async def main():
        threads = [threading.Thread(target=switch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    sabio.run(main())
    after = vars(asyncio)
    assert {name for name in before if before[name] is not after[name]} == set()


# ---------------------------------------------------------------- policies


@pytest.mark.skipif(SINCE_3_14, reason="policies are deprecated since 3.14")
def test_policy_makes_loops_of_sabio(sabio):
    policy = sabio.EventLoopPolicy()
    assert isinstance(policy, asyncio.AbstractEventLoopPolicy)
    loop = policy.new_event_loop()
    assert type(loop) is sabio.Loop
    loop.close()
    asyncio.set_event_loop_policy(policy)
    try:
        assert asyncio.run(kind_of_loop()) is sabio.Loop
    finally:
        asyncio.set_event_loop_policy(None)


@pytest.mark.skipif(SINCE_3_14, reason="policies are deprecated since 3.14")
def test_policy_that_somebody_set_after_install_stays(sabio):
    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    sabio.install()
    policy = Policy()
    asyncio.set_event_loop_policy(policy)
    sabio.uninstall()
    try:
        assert asyncio.get_event_loop_policy() is policy
    finally:
        asyncio.set_event_loop_policy(None)


@pytest.mark.skipif(SINCE_3_14, reason="policies are deprecated since 3.14")
def test_policy_that_was_set_before_install_comes_back(sabio):
    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    policy = Policy()
    asyncio.set_event_loop_policy(policy)
    try:
        sabio.install()
        assert asyncio.run(kind_of_loop()) is sabio.Loop
        sabio.uninstall()
        assert asyncio.get_event_loop_policy() is policy
    finally:
        asyncio.set_event_loop_policy(None)


def test_package_has_types_and_a_version(sabio):
    assert sabio.__version__.count(".") == 2
    assert importlib.resources.files("sabio").joinpath("py.typed").is_file()
    for name in sabio.__all__:
        assert hasattr(sabio, name)
    assert sys.modules["sabio"] is sabio
