"""What install() puts into asyncio: which names are native objects, which stay what they are, and what is pickled."""

import asyncio
import dis
import importlib
import types
import warnings
from asyncio.unix_events import _UnixSelectorEventLoop

import pytest

from tests.support.process import lines, run_python
from tests.support.versions import SINCE_3_14

pytestmark = pytest.mark.usefixtures("sabio")


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


# ---------------------------------------------------------------- pickles

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
