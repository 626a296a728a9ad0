"""The departures from asyncio that docs/differences.md lists and no other test pins: each on both loops.

Where sabio is not asyncio's double, the expectation names what each of the two does; when one of them changes, the
page has to change with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from tests.support.net import tcp_pair
from tests.support.versions import SINCE_3_12
from tests.support.waiting import turns

AnyLoop = Any


def one_turn(loop: AnyLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_the_loop_is_no_base_event_loop(loop: AnyLoop, loop_name: str) -> None:
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop) == (loop_name == "asyncio")
    private = {name for name in ("_ready", "_scheduled", "_selector", "_run_once") if hasattr(loop, name)}
    assert bool(private) == (loop_name == "asyncio")


def test_the_loop_takes_no_selector(sabio: ModuleType) -> None:
    with pytest.raises(TypeError, match="takes no arguments"):
        sabio.Loop(object())


def test_steps_of_tasks_do_not_go_through_call_soon(loop: AnyLoop, loop_name: str) -> None:
    class Counting(type(loop)):  # type: ignore[misc]
        calls = 0

        def call_soon(self, callback: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return super().call_soon(callback, *args, **kwargs)

    async def main() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    counting = Counting()
    try:
        counting.run_until_complete(main())
    finally:
        counting.close()
    assert (counting.calls > 10) == (loop_name == "asyncio")


def test_a_handle_lets_go_of_its_callback_when_it_has_run(loop: AnyLoop, loop_name: str) -> None:
    handle = loop.call_soon(str, "argument")
    assert (handle._callback, handle._args) == (str, ("argument",))
    one_turn(loop)
    after = {"asyncio": (str, ("argument",), loop), "sabio": (None, None, None)}
    assert (handle._callback, handle._args, handle._loop) == after[loop_name]
    if SINCE_3_12:
        assert (handle.get_context() is None) == (loop_name == "sabio")


def test_handles_only_stand_for_those_of_asyncio(sabio: ModuleType, loop: AnyLoop) -> None:
    handle = loop.call_soon(str)
    assert type(handle) is sabio.Handle
    assert handle.__class__ is asyncio.Handle
    assert not issubclass(sabio.Handle, asyncio.Handle)


@pytest.mark.debug_mode
async def test_a_native_coroutine_has_no_python_frame(sabio: ModuleType) -> None:
    coroutine = sabio.sleep(60)
    task = asyncio.get_running_loop().create_task(coroutine)
    await asyncio.sleep(0)
    try:
        assert asyncio.iscoroutine(coroutine)
        assert not inspect.iscoroutine(coroutine)
        assert coroutine.cr_frame is None
        assert not hasattr(coroutine, "cr_code")
        assert coroutine.cr_origin is None
        assert task.get_stack() == []
    finally:
        task.cancel()


async def test_futures_of_as_completed_are_made_in_the_order_of_the_arguments(sabio: ModuleType) -> None:
    started: list[int] = []

    async def work(number: int) -> None:
        started.append(number)

    for coroutine in sabio.as_completed([work(number) for number in range(100)]):
        await coroutine
    assert started == list(range(100))


@pytest.mark.parametrize("world", ["asyncio", "sabio"])
async def test_async_with_of_mocks_by_specification(sabio: ModuleType, world: str) -> None:
    objects = {"asyncio": asyncio, "sabio": sabio}[world]
    names = ("Barrier", "BoundedSemaphore", "Condition", "Lock", "Semaphore", "TaskGroup", "Timeout")
    for original in [getattr(objects, name) for name in names]:
        async with mock.MagicMock(spec=original) as entered:
            assert entered is not None
        for specified in (mock.create_autospec(original, instance=True), mock.AsyncMock(spec=original)):
            if objects is asyncio:
                async with specified:
                    pass
                assert specified.__aexit__.await_count == 1
            else:
                with pytest.raises(TypeError, match="__aenter__"):
                    async with specified:
                        pass
    # A server is entered once in its life.
    async with mock.AsyncMock(spec=objects.Server) as server:
        assert server is not None
    assert inspect.iscoroutinefunction(objects.StreamReader.__anext__) == (objects is asyncio)


@pytest.mark.parametrize("world", ["asyncio", "sabio"])
async def test_a_replaced_method_with_autospec_is_not_given_self(sabio: ModuleType, world: str) -> None:
    objects = {"asyncio": asyncio, "sabio": sabio}[world]
    with mock.patch.object(objects.Queue, "put", autospec=True) as put:
        queue = objects.Queue()
        await queue.put(1)
    assert put.call_args.args == ((1,) if world == "sabio" else (queue, 1))


async def test_what_a_callback_writes_leaves_when_it_returns(loop_name: str) -> None:
    left, right = tcp_pair()

    def arrived() -> bytes:
        try:
            return right.recv(100)
        except BlockingIOError:
            return b""

    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, left)
    transport.write(b"one")
    first = arrived()
    transport.write(b"two")
    assert transport.get_write_buffer_size() == 0
    await asyncio.sleep(0)
    assert (first, first + arrived()) == ({"asyncio": b"one", "sabio": b""}[loop_name], b"onetwo")
    transport.close()
    right.close()
    await asyncio.sleep(0)


async def test_names_are_not_resolved_in_the_default_executor(loop_name: str) -> None:
    loop: AnyLoop = asyncio.get_running_loop()
    await loop.getaddrinfo("localhost", 80)
    assert (loop._default_executor is None) == (loop_name == "sabio")


UNDER_SABIO = pytest.mark.parametrize("under_sabio", [False, True], ids=["python", "sabio"])


def run_file(path: Path, source: str, *, under_sabio: bool) -> subprocess.CompletedProcess[str]:
    path.write_text(source, encoding="latin-1")
    command = [sys.executable, *(["-m", "sabio"] if under_sabio else []), path.name]
    return subprocess.run(
        command, cwd=path.parent, capture_output=True, text=True, timeout=25, check=False, env=os.environ
    )


@UNDER_SABIO
def test_the_stack_below_a_program_shows_who_runs_it(tmp_path: Path, under_sabio: bool) -> None:
    source = "import traceback\nprint(len(traceback.extract_stack()))"
    depth = int(run_file(tmp_path / "app.py", source, under_sabio=under_sabio).stdout)
    assert (depth == 1) != under_sabio


@UNDER_SABIO
def test_a_wrong_encoding_is_a_syntax_error_in_other_words(tmp_path: Path, under_sabio: bool) -> None:
    done = run_file(tmp_path / "app.py", "x = '\xe9'\n", under_sabio=under_sabio)
    assert done.returncode == 1
    assert "SyntaxError: " in done.stderr
    assert ("in file" in done.stderr) != under_sabio


async def use_a_lock(objects: Any) -> None:
    async with objects.Lock():
        pass


async def use_a_queue(objects: Any) -> None:
    queue = objects.Queue()
    await queue.put(1)
    await queue.get()


async def read_a_line(objects: Any) -> None:
    near, far = socket.socketpair()
    with far:
        reader, writer = await objects.open_unix_connection(sock=near)
        far.send(b"line\n")
        assert [await reader.readline()] == [b"line\n"]
        writer.close()
        await writer.wait_closed()


async def sleep(objects: Any) -> None:
    await objects.sleep(0.001)


async def time_out(objects: Any) -> None:
    with pytest.raises(TimeoutError):
        async with objects.timeout(0.001):
            await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("owner", "names", "use"),
    [
        ("Lock", ["acquire", "release"], use_a_lock),
        ("Queue", ["put_nowait", "get_nowait", "_put", "_get"], use_a_queue),
        ("StreamReader", ["feed_data", "readuntil"], read_a_line),
        ("StreamReaderProtocol", ["data_received"], read_a_line),
        ("loop", ["call_later", "call_at"], sleep),
        ("loop", ["call_later", "call_at"], time_out),
    ],
)
async def test_methods_that_are_patched_in_a_class_are_not_called_from_inside(
    sabio: ModuleType, owner: str, names: list[str], use: Callable[[Any], Any]
) -> None:
    called: dict[str, list[str]] = {}

    async def calls(objects: Any, loop: AnyLoop) -> list[str]:
        called: list[str] = []
        with contextlib.ExitStack() as stack:
            patched = type(loop) if owner == "loop" else getattr(objects, owner)
            for name in names:
                original = getattr(patched, name)

                def recording(*args: Any, original: Any = original, name: str = name, **kwargs: Any) -> Any:
                    called.append(name)
                    return original(*args, **kwargs)

                stack.enter_context(mock.patch.object(patched, name, recording))
            await use(objects)
        return called

    # What each does on its own loop.
    loop = asyncio.get_running_loop()
    called["sabio"] = await calls(sabio, loop)

    def on_asyncio() -> list[str]:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(calls(asyncio, runner.get_loop()))

    called["asyncio"] = await asyncio.to_thread(on_asyncio)
    assert called["sabio"] == []
    assert called["asyncio"]


async def test_the_clock_is_that_of_the_system_also_where_monotonic_is_replaced(loop_name: str) -> None:
    loop = asyncio.get_running_loop()
    now = time.monotonic()
    with mock.patch("time.monotonic", return_value=now) as monotonic:
        sleeping = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        monotonic.return_value = now + 3600
        is_ahead = loop.time() - now > 1800
        await turns(5)
        slept = sleeping.done()
    sleeping.cancel()
    assert (is_ahead, slept) == ((True, True) if loop_name == "asyncio" else (False, False))
