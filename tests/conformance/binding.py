"""Puts the loop under test where CPython's suite looks for one.

The suite gets its loops in two ways. Mixins (`EventLoopTestsMixin` and its like) ask a method that the concrete
class gives them: those mixins are bound to the loop under test here and the standard library's own concrete classes
are left out. All other tests end in the default loop factory, `asyncio.run()` and `asyncio.new_event_loop()`
included: that factory is replaced.

Invariant: `asyncio.SelectorEventLoop` and the policy objects are never touched, because tests of the standard
library's own selector loop need the former and the suite's `tearDownModule` resets the latter.
"""

from __future__ import annotations

import asyncio
import importlib
import unittest
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

SUITE = "test.test_asyncio"

# What a change to the loop most often breaks; the rest is left to full runs.
QUICK = (
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_futures",
    "test_futures2",
    "test_graph",
    "test_runners",
    "test_server",
    "test_sock_lowlevel",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_timeouts",
    "test_waitfor",
)

# What `sabio.install()` puts native objects in the place of, and what uses these objects: the modules of a run with
# `--install`. The loop's own tests would only be run once more.
INSTALLED = (
    "test_context",
    "test_eager_task_factory",
    "test_futures",
    "test_futures2",
    "test_graph",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_waitfor",
)
QUICK_INSTALLED = (
    "test_locks",
    "test_queues",
    "test_streams",
    "test_taskgroups",
    "test_timeouts",
    "test_waitfor",
)

WINDOWS_ONLY = {"test_windows_events", "test_windows_utils"}

SELECTOR_LOOPS = {"KqueueEventLoopTests", "EPollEventLoopTests", "PollEventLoopTests", "SelectEventLoopTests"}

# Concrete classes that name a loop of the standard library or one of its child watchers: `bound_cases` has their
# mixins with the loop under test in their place.
REPLACED = {
    "test_buffered_proto": {"BufferedProtocolSelectorTests"},
    "test_events": SELECTOR_LOOPS,
    "test_sendfile": SELECTOR_LOOPS,
    "test_server": {"SelectorStartServerTests"},
    "test_sock_lowlevel": SELECTOR_LOOPS,
    "test_sslproto": {"SelectorStartTLSTests"},
    "test_subprocess": {
        "SubprocessFastWatcherTests",
        "SubprocessMultiLoopWatcherTests",
        "SubprocessPidfdWatcherTests",
        "SubprocessSafeWatcherTests",
        "SubprocessThreadedWatcherTests",
    },
}


class SuiteMissing(Exception):
    """This interpreter was installed without its test suite."""


class LoopFactory:
    """Makes loops of the kind under test and counts them: a test that asked for none never met the loop."""

    def __init__(self, name: str) -> None:
        """Takes `asyncio` for the standard library's selector loop, else `MODULE` or `MODULE:CALLABLE`.

        Of a bare module `new_event_loop` is called.
        """
        self.made = 0
        if name == "asyncio":
            self._make: Callable[..., asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
        else:
            module, _, attribute = name.partition(":")
            self._make = getattr(importlib.import_module(module), attribute or "new_event_loop")

    def __call__(self, *args: Any, **options: Any) -> asyncio.AbstractEventLoop:
        self.made += 1
        return self._make(*args, **options)


@dataclass(frozen=True)
class Case:
    """One test of the suite: `id` is `module.Class.method`."""

    id: str
    test: unittest.TestCase


def suite_modules() -> list[str]:
    """The names of the suite's modules that can run on this system."""
    try:
        package = importlib.import_module(SUITE)
    except ImportError as error:
        raise SuiteMissing(f"{SUITE} cannot be imported: {error}") from error
    (directory,) = package.__path__
    return sorted({file.stem for file in Path(directory).glob("test_*.py")} - WINDOWS_ONLY)


def default_modules(available: list[str], *, install: bool, quick: bool) -> list[str]:
    """The modules of a run that names none."""
    if install:
        wanted: Collection[str] = QUICK_INSTALLED if quick else INSTALLED
    else:
        wanted = QUICK if quick else available
    return [name for name in available if name in wanted]


def load(names: list[str], factory: LoopFactory, *, strict: bool = False) -> list[Case]:
    """All tests of the named modules, bound to the loops that `factory` makes.

    `strict` leaves the suite's own `close_loop` as it is (see `_tolerate_loops_without_executor`).
    """
    # Before the suite is imported: some classes of it pick their loop when they are defined.
    _replace_default_loop(factory)
    modules = {name: importlib.import_module(f"{SUITE}.{name}") for name in names}
    if not strict:
        _tolerate_loops_without_executor()
    return list(_cases(modules, factory))


def install(factory: LoopFactory) -> None:
    """Makes sabio the asyncio of this process, and so of the suite that it imports."""
    sabio: Any = importlib.import_module("sabio")  # A run for another loop has no need of it.
    sabio.install()
    sabio.EventLoopPolicy._loop_factory = staticmethod(
        factory
    )  # They are sabio's loops all the same, but counted.


def _replace_default_loop(factory: LoopFactory) -> None:
    unix_events: Any = asyncio.unix_events
    policy = getattr(unix_events, "_DefaultEventLoopPolicy", None) or unix_events.DefaultEventLoopPolicy
    policy._loop_factory = staticmethod(factory)
    if hasattr(unix_events, "EventLoop"):
        unix_events.EventLoop = factory
        setattr(asyncio, "EventLoop", factory)  # noqa: B010 (mypy knows no such name before 3.13)


def _tolerate_loops_without_executor() -> None:
    """Lets the suite close loops that have no `_default_executor`, an attribute which it reads unasked."""
    test_case = importlib.import_module(f"{SUITE}.utils").TestCase
    original = test_case.close_loop

    def close_loop(loop: Any) -> None:
        if hasattr(loop, "_default_executor"):
            original(loop)
            return
        if not loop.is_closed():
            loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    test_case.close_loop = staticmethod(close_loop)


def _cases(modules: dict[str, ModuleType], factory: LoopFactory) -> Iterator[Case]:
    bound = dict(bound_cases(modules, factory))
    for name, module in modules.items():
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, unittest.TestCase)
            and value.__module__ == module.__name__
            and value.__name__ not in REPLACED.get(name, ())
        ]
        if name in bound:
            classes.append(bound[name])
        for test_class in classes:
            for method in unittest.defaultTestLoader.getTestCaseNames(test_class):
                yield Case(f"{name}.{test_class.__name__}.{method}", test_class(method))


def bound_cases(
    modules: dict[str, ModuleType], factory: LoopFactory
) -> Iterator[tuple[str, type[unittest.TestCase]]]:
    """For each module with mixins, its mixins bound to the loop under test: pairs of module name and class."""

    def make_loop(_self: object) -> asyncio.AbstractEventLoop:
        return factory()

    utils = importlib.import_module(f"{SUITE}.utils")
    plans: dict[str, tuple[str, tuple[str, ...], type[unittest.TestCase], dict[str, Any]]] = {
        "test_buffered_proto": (
            "LoopBufferedProtocolTests",
            ("BaseTestBufferedProtocol",),
            unittest.TestCase,
            {"new_loop": make_loop},
        ),
        "test_events": (
            "LoopTests",
            ("EventLoopTestsMixin", "SubprocessTestsMixin"),
            utils.TestCase,
            {"create_event_loop": make_loop},
        ),
        "test_sendfile": (
            "LoopSendfileTests",
            ("SendfileTestsBase",),
            utils.TestCase,
            {"create_event_loop": make_loop},
        ),
        "test_server": (
            "LoopStartServerTests",
            ("SelectorStartServerTests",),
            unittest.TestCase,
            {"new_loop": make_loop},
        ),
        "test_sock_lowlevel": (
            "LoopSockTests",
            ("BaseSockTestsMixin",),
            utils.TestCase,
            {"create_event_loop": make_loop},
        ),
        "test_sslproto": ("LoopStartTLSTests", ("BaseStartTLS",), unittest.TestCase, {"new_loop": make_loop}),
        "test_subprocess": ("LoopSubprocessTests", *_subprocess_plan(modules, utils.TestCase)),
    }
    for name, (class_name, mixins, base, namespace) in plans.items():
        if name in modules:
            module = modules[name]
            bases = tuple(getattr(module, mixin) for mixin in mixins)
            if not issubclass(bases[0], base):
                bases += (base,)
            # With the module's name, so that its setUpModule and tearDownModule are run for the class.
            yield name, type(class_name, bases, {"__module__": module.__name__, **namespace})


def _subprocess_plan(
    modules: dict[str, ModuleType], base: Any
) -> tuple[tuple[str, ...], type[unittest.TestCase], dict[str, Any]]:
    """Mixins, base class and namespace of the subprocess tests.

    Up to 3.13 the outer mixin is about child watchers, objects beside the loop; the inner one is bound then.
    """
    outer = getattr(modules.get("test_subprocess"), "SubprocessWatcherMixin", None)
    if outer is not None and not hasattr(outer, "Watcher"):
        return ("SubprocessWatcherMixin",), base, {}

    def set_up(self: Any) -> None:
        base.setUp(self)
        self.loop = asyncio.new_event_loop()
        self.set_event_loop(self.loop)

    return ("SubprocessMixin",), base, {"setUp": set_up}
