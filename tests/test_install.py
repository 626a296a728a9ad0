"""install(), uninstall(), and that `import sabio` alone changes nothing."""

import asyncio
import dis
import importlib
import importlib.resources
import inspect
import pickle
import selectors
import sys
import threading
import types
import warnings
from asyncio.unix_events import _UnixSelectorEventLoop

import pytest

from tests.support.process import output_of, run_python
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


def lines(code, *options):
    done = run_python(*options, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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


@pytest.fixture
def installed(sabio):
    sabio.install()
    yield sabio
    sabio.uninstall()


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


# ---------------------------------------------------------------- names


def places():
    return importlib.import_module("sabio._places").NATIVE.items()


def natives_of_this_version():
    """Home module, name and native object of each name that this version's asyncio has."""
    for home, natives in places():
        for name, native in natives.items():
            if hasattr(importlib.import_module(f"asyncio.{home}"), name):
                yield home, name, native


def test_installed_names_are_native_in_the_package_and_in_their_modules(installed):
    for home, name, native in natives_of_this_version():
        assert vars(importlib.import_module(f"asyncio.{home}"))[name] is native
        # asyncio keeps some in their modules alone.
        assert getattr(asyncio, name, native) is native
    assert asyncio.create_subprocess_exec is installed.create_subprocess_exec
    assert asyncio.streams.sleep is installed.sleep


def test_no_module_of_the_standard_library_keeps_what_was_replaced():
    """Imports every module whose source mentions asyncio, before and after; none may hold an old object."""
    code = """
import asyncio, contextlib, importlib, pathlib, re, sys, sysconfig, warnings
warnings.simplefilter("ignore")
library = pathlib.Path(sysconfig.get_path("stdlib"))
found = []
for path in library.rglob("*.py"):
    parts = path.relative_to(library).with_suffix("").parts
    if parts[0] in ("test", "site-packages", "dist-packages", "idlelib", "turtledemo", "lib2to3", "lib-dynload"):
        continue
    if parts[-1] == "__main__" or "windows" in parts[-1] or not path.is_file():
        continue
    if re.search(r"^\\s*(from|import)\\s+asyncio", path.read_text("utf-8", "replace"), re.M) or parts[0] == "asyncio":
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
modules = []
for name in found:
    with contextlib.suppress(ImportError):
        modules.append(importlib.import_module(name))
print(len(modules) > 20, "unittest.async_case" in found)
import sabio
from sabio._places import NATIVE
originals = {}
for home, natives in NATIVE.items():
    for name, native in natives.items():
        original = vars(importlib.import_module(f"asyncio.{home}")).get(name)
        if original is not None and name != "EventLoop":
            originals[id(original)] = name
sabio.install()
for module in modules:
    for name, value in vars(module).items():
        # Private names say that they are one implementation of several: `_CTask`, `_PyFuture`.
        if id(value) in originals and not name.startswith("_"):
            print(module.__name__, name)
"""
    assert lines(code) == ["True True"]


def test_a_name_that_was_taken_before_stays_what_it_was(sabio):
    before = asyncio.sleep
    sabio.install()
    try:
        assert asyncio.sleep is sabio.sleep
        assert before is not sabio.sleep
        # And both work, on the loop that is installed.
        assert asyncio.run(before(0.001, "old")) == "old"
        assert asyncio.run(asyncio.sleep(0.001, "new")) == "new"
    finally:
        sabio.uninstall()
    assert asyncio.sleep is before


def test_a_lock_that_was_made_before_works_on(sabio):
    lock = asyncio.Lock()

    async def main():
        async with lock:
            waiting = asyncio.create_task(lock.acquire())
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        assert lock.locked()
        assert not isinstance(lock, asyncio.Lock)

    sabio.install()
    try:
        asyncio.run(main())
    finally:
        sabio.uninstall()
    assert isinstance(lock, asyncio.Lock)


def test_what_somebody_else_has_replaced_since_stays(sabio, monkeypatch):
    def sleep(delay):
        raise AssertionError

    with monkeypatch.context() as patch:
        sabio.install()
        patch.setattr(asyncio, "sleep", sleep)
        sabio.uninstall()
        assert asyncio.sleep is sleep
        assert asyncio.tasks.sleep is not sabio.sleep
        # The package's name is not asyncio's: it gets back what it had when somebody replaced it.
    vars(asyncio)["sleep"] = asyncio.tasks.sleep


def test_what_somebody_else_had_replaced_before_stays_and_comes_back(sabio, monkeypatch):
    def sleep(delay):
        raise AssertionError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    sabio.install()
    try:
        # Whoever replaced the package's name meant just that one.
        assert asyncio.sleep is sleep
        assert asyncio.tasks.sleep is sabio.sleep
    finally:
        sabio.uninstall()
    assert asyncio.sleep is sleep
    assert asyncio.tasks.sleep is not sabio.sleep


def test_names_this_version_does_not_have_are_not_added(installed):
    assert [name for name in dir(asyncio) if name in installed.__all__ and name not in asyncio.__all__] in (
        [],
        ["TaskGroup"],  # asyncio of 3.11 forgot it
    )


def test_installed_objects_work_on_a_loop_of_asyncio_s(installed):
    async def main():
        await asyncio.sleep(0)
        return await asyncio.sleep(0.001, type(asyncio.get_running_loop()))

    with asyncio.Runner(loop_factory=_UnixSelectorEventLoop) as runner:
        assert runner.run(main()) is _UnixSelectorEventLoop


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


# ---------------------------------------------------------------- names that asyncio gives only when it is asked


def deferred_name(name):
    """What `asyncio.name` is or raises, and its warning with the line that it is for."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = getattr(asyncio, name)
        except AttributeError as error:
            found = str(error)
    return found, [(str(warning.message), warning.filename, warning.lineno) for warning in caught]


@pytest.mark.skipif(not SINCE_3_14, reason="3.14 has the first such names")
@pytest.mark.parametrize(
    "name", ["AbstractEventLoopPolicy", "DefaultEventLoopPolicy", "WindowsProactorEventLoopPolicy", "events_"]
)
def test_names_that_asyncio_gives_when_asked_stay_what_they_are(sabio, name):
    before = deferred_name(name)
    sabio.install()
    try:
        assert deferred_name(name) == before
        assert name not in vars(asyncio)
    finally:
        sabio.uninstall()
    assert deferred_name(name) == before
    assert type(asyncio) is types.ModuleType


def test_names_that_asyncio_gives_when_asked_can_be_replaced(installed, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        original = asyncio.DefaultEventLoopPolicy
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "DefaultEventLoopPolicy", None)
            assert asyncio.DefaultEventLoopPolicy is None
        assert asyncio.DefaultEventLoopPolicy is original
    if SINCE_3_14:
        # Where it was not before: it came when it was put back.
        vars(asyncio).pop("DefaultEventLoopPolicy", None)


@pytest.mark.skipif(not SINCE_3_14, reason="no version before has a __getattr__ in asyncio")
def test_the_interpreter_remembers_where_names_of_asyncio_lie(installed):
    def look():
        for _ in range(1000):
            asyncio.sleep  # noqa: B018

    look()
    names = [instruction.opname for instruction in dis.get_instructions(look, adaptive=True)]
    assert "LOAD_ATTR_MODULE" in names
    assert isinstance(asyncio, types.ModuleType)


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


#: Pickles in the way of cloudpickle: functions by value, with what they use, and modules by name, known by their class.
BY_VALUE = """
import copy, importlib, io, marshal, pickle, types, warnings
warnings.simplefilter("ignore")

FUNCTION = "__import__('types').FunctionType(__import__('marshal').loads(code), used)"

class ByValue(pickle.Pickler):
    dispatch_table = {types.ModuleType: lambda module: (importlib.import_module, (module.__name__,))}

    def reducer_override(self, obj):
        if isinstance(obj, types.FunctionType) and obj.__module__ == "__main__":
            names = {name: obj.__globals__[name] for name in obj.__code__.co_names if name in obj.__globals__}
            return eval, (FUNCTION, {"code": marshal.dumps(obj.__code__), "used": names})
        return NotImplemented

def by_value(obj):
    file = io.BytesIO()
    ByValue(file).dump(obj)
    return file.getvalue()
"""


@pytest.mark.parametrize("how", ["import asyncio\nsabio.install()", "import sabio as asyncio"])
def test_functions_that_use_asyncio_can_be_sent_to_where_there_is_no_sabio(how):
    sender = f"""
import sabio, sys
{BY_VALUE}
{how}
async def main(count):
    await asyncio.sleep(0)
    return [asyncio.__name__, count]
def work(count):
    return asyncio.run(main(count))
sys.stdout.write(by_value(work).hex())
"""
    sent = "".join(lines(sender))
    reader = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))(7), 'sabio' in sys.modules)"
    done = run_python("-c", reader, sent)
    module = "asyncio" if "install" in how else "sabio"
    assert done.stdout.splitlines() == [f"['{module}', 7] {module == 'sabio'}"], done.stderr


def test_all_that_pickles_by_name_does_so_while_sabio_is_installed():
    code = f"""
import asyncio, sabio
{BY_VALUE}
def found():
    names = set()
    for module in [asyncio, *(value for value in vars(asyncio).values() if isinstance(value, types.ModuleType))]:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            for way in (pickle.dumps, by_value):
                try:
                    if pickle.loads(way(value)) is value and copy.copy(value) is copy.deepcopy(value) is value:
                        names.add((module.__name__, name, way.__name__))
                except (AttributeError, TypeError, pickle.PicklingError):
                    pass
    return names
before = found()
sabio.install()
installed = found()
print(len(before) > 100, sorted(before - installed))
sabio.uninstall()
print(found() == before)
"""
    assert lines(code) == ["True []", "True"]
