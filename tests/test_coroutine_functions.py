"""Functions that give coroutines are coroutine functions for those who ask: `inspect`, asyncio, `unittest.mock`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import inspect
import pickle
import pydoc
import sys
import warnings
import weakref
from types import ModuleType
from unittest import mock

import pytest

from tests.support.process import run_python

NAMES = [name for name in asyncio.__all__ if inspect.iscoroutinefunction(getattr(asyncio, name))]
OTHERS = (
    "gather",
    "shield",
    "ensure_future",
    "as_completed",
    "timeout",
    "create_task",
    "run_coroutine_threadsafe",
)


@pytest.fixture(params=["asyncio", "sabio"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_there_are_such_functions() -> None:
    assert {"sleep", "wait", "wait_for", "to_thread", "open_connection", "start_server"} <= {*NAMES}


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_what_gives_coroutines_says_so(module: ModuleType, name: str) -> None:
    function = getattr(module, name)
    expected = name in NAMES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.iscoroutinefunction(function) == expected
    # Before 3.12 nothing but a function written in Python can say it to `inspect`.
    if module is asyncio or sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(function) == expected
        assert inspect.iscoroutinefunction(functools.partial(function)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_they_are_functions_in_all_else(module: ModuleType, name: str) -> None:
    function = getattr(module, name)
    assert callable(function)
    assert inspect.isroutine(function)
    assert function.__name__ == function.__qualname__ == name
    assert pickle.loads(pickle.dumps(function)) is function
    assert [*inspect.signature(function).parameters] == [
        *inspect.signature(getattr(asyncio, name)).parameters
    ]


def test_they_cannot_be_made_or_changed(sabio: ModuleType) -> None:
    with pytest.raises(TypeError):
        type(sabio.sleep)()
    with pytest.raises(AttributeError):
        sabio.sleep.attribute = 1


@pytest.mark.parametrize("name", NAMES)
def test_they_have_a_text_for_help(module: ModuleType, name: str) -> None:
    function = getattr(module, name)
    assert function.__doc__ is None or isinstance(function.__doc__, str)
    # What `pydoc` asks for, which is not the attribute.
    assert object.__getattribute__(function, "__doc__") == function.__doc__
    text = pydoc.plain(pydoc.render_doc(function))
    for line in (function.__doc__ or "").splitlines():
        assert line.strip() in text
    if module is not asyncio:
        assert function.__doc__


def test_they_and_methods_can_be_referenced_weakly(module: ModuleType) -> None:
    for thing in (module.sleep, module.wait_for, module.Queue.get, module.StreamReader.read):
        assert weakref.ref(thing)() is thing
    queue = module.Queue()
    method = weakref.WeakMethod(queue.get)
    assert method() == queue.get
    del queue
    gc.collect()
    assert method() is None


PATCHING = """
import asyncio
from unittest import mock

async def main():
    with mock.patch("asyncio.sleep") as sleep, mock.patch.object(asyncio, "wait_for", return_value=5) as wait_for:
        await asyncio.sleep(60)
        print(await asyncio.wait_for(None, 1))
        sleep.assert_awaited_once_with(60)
        wait_for.assert_awaited_once_with(None, 1)
    with mock.patch("asyncio.gather") as gather:
        asyncio.gather(1)
        gather.assert_called_once_with(1)
    await asyncio.sleep(0)

asyncio.run(main())
"""


#: By the names of the classes, without those of `async with`, which are called by name only.
METHODS = [
    (name, method)
    for name in (
        *("Barrier", "BoundedSemaphore", "Condition", "Event", "LifoQueue", "Lock", "PriorityQueue", "Queue"),
        *("Semaphore", "StreamReader", "StreamWriter"),
    )
    for method in dir(getattr(asyncio, name))
    if not method.startswith("_") and inspect.iscoroutinefunction(getattr(getattr(asyncio, name), method))
]


def is_coroutine_function(function: object) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # Before 3.12 nothing but a function written in Python can say it to `inspect`.
        ask = inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
        return bool(ask(function))


def test_there_are_such_methods() -> None:
    assert {("Queue", "get"), ("Lock", "acquire"), ("Event", "wait"), ("StreamReader", "read")} <= {*METHODS}


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_methods_that_give_coroutines_say_so(module: ModuleType, name: str, method: str) -> None:
    function = getattr(getattr(module, name), method)
    assert is_coroutine_function(function)
    assert inspect.isroutine(function)
    assert (function.__name__, function.__qualname__.rpartition(".")[2]) == (method, method)
    assert pickle.loads(pickle.dumps(function)) is function
    # What the parameters are called is compared in test_signatures.py.
    assert next(iter(inspect.signature(function).parameters)) == "self"
    mocked = mock.create_autospec(getattr(module, name), instance=True)
    assert isinstance(getattr(mocked, method), mock.AsyncMock)
    assert isinstance(getattr(mock.Mock(spec=getattr(module, name)), method), mock.AsyncMock)


def test_methods_of_the_loop_say_so(loop: asyncio.AbstractEventLoop) -> None:
    names = [
        name
        for name in dir(asyncio.AbstractEventLoop)
        if inspect.iscoroutinefunction(getattr(asyncio.AbstractEventLoop, name))
    ]
    assert len(names) > 20
    assert [name for name in names if not is_coroutine_function(getattr(loop, name))] == []
    assert not is_coroutine_function(loop.run_in_executor)
    assert not is_coroutine_function(loop.call_soon)


async def test_methods_of_servers_and_processes_say_so() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        for name in ("__aenter__", "__aexit__", "serve_forever", "start_serving", "wait_closed"):
            assert is_coroutine_function(getattr(server, name))
        assert not is_coroutine_function(server.close)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    assert is_coroutine_function(process.wait)
    assert is_coroutine_function(process.communicate)
    assert await process.wait() == 0


async def test_methods_of_the_loop_can_be_patched_by_what_they_are(loop_name: str) -> None:
    loop = asyncio.get_running_loop()
    patches = [
        mock.patch.object(loop, name, autospec=True, return_value=name)
        for name in ("create_server", "sock_recv", "getaddrinfo")
    ]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        assert await loop.create_server(asyncio.Protocol, "x", 1) == "create_server"
        assert await loop.sock_recv(None, 10) == "sock_recv"
        assert await loop.getaddrinfo("x", 1, type=2) == "getaddrinfo"
        loop.getaddrinfo.assert_awaited_once_with("x", 1, type=2)
        with pytest.raises(TypeError):
            await loop.sock_recv()


def test_bound_and_unbound_methods_are_called_as_ever(module: ModuleType, run) -> None:
    async def main() -> None:
        queue, other = module.Queue(), module.Queue()
        get, put = queue.get, queue.put
        assert get.__self__ is queue
        assert get == queue.get != other.get
        await put(item=1)
        assert await module.Queue.get(queue) == 1
        await module.Queue.put(queue, 2)
        assert await get() == 2
        for wrong in (lambda: get(1), lambda: put(), lambda: put(1, 2), lambda: put(other=1)):
            with pytest.raises(TypeError):
                await wrong()
        for wrong in (module.Queue.get, lambda: module.Queue.get(5), lambda: module.Queue.get(module.Lock())):
            with pytest.raises((TypeError, AttributeError)):
                await wrong()

        class Doubling(module.Queue):
            async def get(self):
                return 2 * await super().get()

        doubling = Doubling()
        await doubling.put(4)
        assert await doubling.get() == 8
        await doubling.put(4)
        assert await module.Queue.get(doubling) == 4

    run(main)


@pytest.mark.usefixtures("sabio")
@pytest.mark.parametrize("options", [[], ["-m", "sabio"]], ids=["asyncio", "sabio"])
def test_mocks_of_them_are_awaited(options: list[str]) -> None:
    done = run_python(*options, "-c", PATCHING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")
