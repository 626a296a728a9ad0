"""What can be passed to asyncio's methods can be passed to sabio's: the same names, in the same order, as optional.

Parameters that sabio has beyond those of this version of asyncio have to be optional and given by name.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import socket
from asyncio import selector_events, transports, unix_events

import pytest

from tests.support.worlds import World

sabio = pytest.importorskip("sabio")

PAIRS = {
    "Loop": (sabio.Loop, unix_events._UnixSelectorEventLoop),
    "Server": (sabio._sabio.Server, asyncio.Server),
    "TCPTransport": (sabio._sabio.TCPTransport, selector_events._SelectorSocketTransport),
    "DatagramTransport": (
        sabio._sabio.DatagramSocketTransport,
        selector_events._SelectorDatagramTransport,
    ),
    "UnixTransport": (sabio._sabio.UnixTransport, selector_events._SelectorSocketTransport),
    "ProcessTransport": (sabio._sabio.ProcessTransport, unix_events._UnixSubprocessTransport),
    "ReadPipeTransport": (sabio._sabio.ReadPipeTransport, unix_events._UnixReadPipeTransport),
    "WritePipeTransport": (sabio._sabio.WritePipeTransport, unix_events._UnixWritePipeTransport),
    "Transport": (sabio._sabio.TCPTransport, transports.Transport),
    "Future": (sabio.Future, asyncio.Future),
    "Task": (sabio.Task, asyncio.Task),
    "Handle": (sabio.Handle, asyncio.Handle),
    "TimerHandle": (sabio.TimerHandle, asyncio.TimerHandle),
    "Runner": (sabio.Runner, asyncio.Runner),
}


def is_readable(function: object) -> bool:
    """Whether asyncio tells the parameters: some functions of its C part do not."""
    try:
        inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


METHODS = [
    pytest.param(ours, theirs, name, id=f"{label}.{name}")
    for label, (ours, theirs) in PAIRS.items()
    for name in dir(theirs)
    if not name.startswith("_") and is_readable(getattr(theirs, name))
]


def parameters(function: object) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(function).parameters)  # type: ignore[arg-type]
    # Written in C or Rust, a method takes its own object by position only.
    found.pop("self", None)
    return found


@pytest.mark.parametrize(("ours", "theirs", "name"), METHODS)
def test_a_method_takes_what_asyncios_takes(ours: type, theirs: type, name: str) -> None:
    expected = parameters(getattr(theirs, name))
    found = parameters(getattr(ours, name))
    for parameter in expected.values():
        assert parameter.name in found, parameter
        same = found[parameter.name]
        assert same.kind == parameter.kind
        assert same.default == parameter.default
    by_position = [name for name, p in expected.items() if p.kind is not p.KEYWORD_ONLY]
    assert [name for name, p in found.items() if p.kind is not p.KEYWORD_ONLY][
        : len(by_position)
    ] == by_position
    for name in found.keys() - expected.keys():
        extra = found[name]
        assert extra.kind is extra.VAR_KEYWORD or extra.default is not extra.empty


@pytest.mark.parametrize("name", ["run", "sleep", "new_event_loop"])
def test_a_function_takes_what_asyncios_takes(name: str) -> None:
    expected = parameters(getattr(asyncio, name))
    found = parameters(getattr(sabio, name))
    assert {name: (p.kind, p.default) for name, p in expected.items()}.items() <= {
        name: (p.kind, p.default) for name, p in found.items()
    }.items()


@pytest.mark.parametrize(
    "name",
    [
        "Barrier",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "LifoQueue",
        "Lock",
        "PriorityQueue",
        "Queue",
        "Semaphore",
        "StreamReader",
        "StreamReaderProtocol",
        "StreamWriter",
        "TaskGroup",
        "Timeout",
    ],
)
def test_a_class_takes_what_asyncios_takes(name: str) -> None:
    """Libraries that make objects for their users look at this, whatever is derived from the class."""
    ours, theirs = getattr(sabio, name), getattr(asyncio, name)
    assert outline(ours) == outline(theirs)
    assert outline(type("Own", (ours,), {})) == outline(theirs)
    assert "--" not in ours.__doc__


def outline(class_: type) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(class_).parameters.values()]


def test_a_class_of_a_user_takes_what_its_initialiser_takes() -> None:
    class Own(sabio.Queue):  # type: ignore[misc]
        def __init__(self, first: int, *, second: int) -> None:
            super().__init__()

    assert list(inspect.signature(Own).parameters) == ["first", "second"]


def nothing(*_: object) -> None:
    pass


async def nothing_at_all() -> None:
    pass


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("call_soon", {"callback": nothing, "context": None}),
        ("call_soon_threadsafe", {"callback": nothing, "context": None}),
        ("call_later", {"delay": 0, "callback": nothing, "context": None}),
        ("call_at", {"when": 0, "callback": nothing, "context": None}),
        ("set_debug", {"enabled": False}),
        ("set_task_factory", {"factory": None}),
        ("set_exception_handler", {"handler": nothing}),
        ("run_in_executor", {"executor": None, "func": nothing}),
        ("add_reader", {"fd": 0, "callback": nothing}),
        ("remove_reader", {"fd": 0}),
        ("add_writer", {"fd": 0, "callback": nothing}),
        ("remove_writer", {"fd": 0}),
        ("add_signal_handler", {"sig": signal.SIGUSR1, "callback": nothing}),
        ("remove_signal_handler", {"sig": signal.SIGUSR1}),
    ],
)
def test_arguments_may_be_given_by_name(
    loop: asyncio.AbstractEventLoop, method: str, arguments: dict[str, object]
) -> None:
    with socket.socket() as some:
        if "fd" in arguments:
            arguments = {**arguments, "fd": some}
        getattr(loop, method)(**arguments)
        loop.run_until_complete(future=asyncio.sleep(delay=0.01))
        loop.remove_reader(fd=some)
        loop.remove_writer(fd=some)
    loop.run_until_complete(loop.shutdown_default_executor())


def test_coroutines_may_be_given_by_name(loop: asyncio.AbstractEventLoop) -> None:
    coroutine = nothing_at_all()
    task = loop.create_task(coro=coroutine, name="a name")
    assert loop.run_until_complete(future=task) is None


def missing(*names):
    *others, last = map(repr, names)
    listed = f"{', '.join(others)}{',' if len(others) > 1 else ''} and {last}" if others else last
    return f"() missing {len(names)} required positional argument{'s' * (len(names) > 1)}: {listed}"


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda world, loop: world.sleep(), ("delay",)),
        (lambda world, loop: world.wait_for(), ("fut", "timeout")),
        (lambda world, loop: world.shield(), ("arg",)),
        (lambda world, loop: world.to_thread(), ("func",)),
        (lambda world, loop: world.ensure_future(), ("coro_or_future",)),
        (lambda world, loop: world.wrap_future(), ("future",)),
        (lambda world, loop: world.run_coroutine_threadsafe(None), ("loop",)),
        (lambda world, loop: world.run_coroutine_threadsafe(), ("coro", "loop")),
        (lambda world, loop: world.as_completed(), ("fs",)),
        (lambda world, loop: world.timeout(), ("delay",)),
        (lambda world, loop: world.timeout_at(), ("when",)),
        (lambda world, loop: world.Queue().put(), ("item",)),
        (lambda world, loop: world.Queue().put_nowait(), ("item",)),
        (lambda world, loop: world.Condition().wait_for(), ("predicate",)),
        (lambda world, loop: world.StreamReader(loop=loop).readexactly(), ("n",)),
        (lambda world, loop: world.StreamReader(loop=loop).feed_data(), ("data",)),
        (lambda world, loop: loop.call_soon(), ("callback",)),
        (lambda world, loop: loop.call_later(), ("delay", "callback")),
        (lambda world, loop: loop.call_at(1), ("callback",)),
        (lambda world, loop: loop.call_soon_threadsafe(), ("callback",)),
        (lambda world, loop: loop.create_task(), ("coro",)),
        (lambda world, loop: loop.run_until_complete(), ("future",)),
        (lambda world, loop: loop.run_in_executor(), ("executor", "func")),
        (lambda world, loop: loop.call_exception_handler(), ("context",)),
        (lambda world, loop: loop.set_debug(), ("enabled",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "call",
)
def test_missing_arguments_are_named_in_the_words_of_python(call, names):
    for name in ("asyncio", "sabio"):
        world = World(name)
        loop = world.new_event_loop()
        try:
            with pytest.raises(TypeError) as refused:
                call(world, loop)
        finally:
            loop.close()
        assert str(refused.value).partition("()")[1:] == missing(*names).partition("()")[1:], name
