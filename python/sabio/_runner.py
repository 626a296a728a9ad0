"""Running a program on sabio: `run`, `Runner` and `new_event_loop`.

They follow asyncio's functions of the same names (asyncio: Runners) with one difference: where asyncio asks the
event loop policy for a loop, these make a `sabio.Loop`. Where the versions of asyncio differ, each keeps to the
interpreter that it runs on. Invariant: whatever way a runner is left, its loop is closed, and the handler of SIGINT
is the one that was there before.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import inspect
import signal
import sys
import threading
from asyncio import constants
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, TypeAlias, TypeVar, final

from sabio._sabio import Loop

_T = TypeVar("_T")

#: From 3.14 asyncio runs whatever can be awaited, and no longer coroutines alone.
_TAKES_AWAITABLES = sys.version_info >= (3, 14)
if sys.version_info >= (3, 14):
    _Runnable: TypeAlias = Awaitable[_T]
else:
    _Runnable: TypeAlias = Coroutine[Any, Any, _T]

#: How long the threads of the default executor are waited for on the way out, in seconds.
_EXECUTOR_SECONDS: float = getattr(constants, "THREAD_JOIN_TIMEOUT", 300)


def new_event_loop() -> Loop:
    """A new `sabio.Loop`: what `loop_factory` parameters take, asyncio's and other packages'."""
    return Loop()


class _State(enum.Enum):
    CREATED = "created"
    INITIALIZED = "initialized"
    CLOSED = "closed"


@final
class Runner:
    """Runs several coroutines on one event loop and in one context (asyncio: Runner context manager).

    `debug` switches the loop's debug mode on or off; None leaves it as the environment has it. `loop_factory`
    makes the loop, by default `sabio.new_event_loop`; the default loop also becomes the thread's current loop
    until the runner is closed. The loop is made when the context is entered or the runner is first used.
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._state = _State.CREATED
        self._debug = debug
        self._loop_factory = loop_factory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._is_current_loop = False

    def __enter__(self) -> Runner:
        self._start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The runner's loop. RuntimeError once the runner is closed."""
        loop, _ = self._start()
        return loop

    def run(self, coro: _Runnable[_T], *, context: contextvars.Context | None = None) -> _T:
        """Run `coro` to its end in `context`, or else in the runner's own, and give its result.

        The first Ctrl-C cancels it, a second one ends it with KeyboardInterrupt at once, if Python's own handler
        of SIGINT was in place and this is the main thread. ValueError if `coro` is no coroutine (from 3.14:
        TypeError if it cannot be awaited), RuntimeError if a loop runs on this thread or the runner is closed.
        """
        if not _TAKES_AWAITABLES and not asyncio.iscoroutine(coro):
            raise ValueError(f"a coroutine was expected, got {coro!r}")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Runner.run() cannot be called from a running event loop")
        if not asyncio.iscoroutine(coro):
            if not inspect.isawaitable(coro):
                raise TypeError("An asyncio.Future, a coroutine or an awaitable is required")
            coro = _await(coro)
        loop, own_context = self._start()
        if context is None:
            context = own_context
        task: asyncio.Task[_T] = loop.create_task(coro, context=context)
        with _InterruptCancels(loop, task) as interrupt:
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError as error:
                # A task that somebody else cancelled as well still ends as a cancelled one, and so does one of a
                # foreign kind that does not count.
                uncancel = getattr(task, "uncancel", None)
                if interrupt.count > 0 and uncancel is not None and uncancel() == 0:
                    raise KeyboardInterrupt from error
                raise

    def close(self) -> None:
        """Cancel what still runs, finish asynchronous generators and the executor's threads, close the loop.

        The threads are given five minutes. Closing twice, or before the loop was made, does nothing.
        """
        loop = self._loop
        if self._state is not _State.INITIALIZED or loop is None:
            return
        try:
            _cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(_shutdown_default_executor(loop))
        finally:
            if self._is_current_loop:
                asyncio.set_event_loop(None)
            loop.close()
            self._loop = None
            self._state = _State.CLOSED

    def _start(self) -> tuple[asyncio.AbstractEventLoop, contextvars.Context]:
        if self._state is _State.CLOSED:
            raise RuntimeError("Runner is closed")
        if self._loop is None or self._context is None:
            loop: asyncio.AbstractEventLoop
            if self._loop_factory is None:
                loop = new_event_loop()
                asyncio.set_event_loop(loop)
                self._is_current_loop = True
            else:
                loop = self._loop_factory()
            if self._debug is not None:
                loop.set_debug(self._debug)
            self._loop = loop
            self._context = contextvars.copy_context()
            self._state = _State.INITIALIZED
        return self._loop, self._context


def run(
    main: _Runnable[_T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run `main` on a new sabio loop, give its result and close the loop (asyncio: Running an asyncio program).

    The parameters are those of `Runner`. RuntimeError if a loop runs on this thread.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


class _InterruptCancels:
    """For the time of one run, the first SIGINT cancels the task; the second raises KeyboardInterrupt at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
        self.count = 0
        self._loop = loop
        self._task = task
        self._set = False

    def __enter__(self) -> _InterruptCancels:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            try:
                signal.signal(signal.SIGINT, self)
            except ValueError:
                # An embedded interpreter's main thread need not be the one that gets signals.
                return self
            self._set = True
        return self

    def __exit__(self, *_exception: object) -> None:
        # The program may have set a handler of its own since: that one stays.
        if self._set and signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1 or self._task.done():
            raise KeyboardInterrupt
        self._task.cancel()
        # The loop may be waiting: it has a step to run now.
        self._loop.call_soon_threadsafe(_nothing)


def _nothing() -> None:
    pass


async def _await(awaitable: Awaitable[_T]) -> _T:
    return await awaitable


def _shutdown_default_executor(loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, None]:
    shutdown: Callable[..., Coroutine[Any, Any, None]] = loop.shutdown_default_executor
    if sys.version_info >= (3, 12) or isinstance(loop, Loop):
        return shutdown(_EXECUTOR_SECONDS)
    return shutdown()


def _cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the loop's tasks and run it until they are done; report those that fail on the way."""
    tasks = asyncio.all_tasks(loop)
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if task.cancelled():
            continue
        exception = task.exception()
        if exception is not None:
            loop.call_exception_handler(
                {
                    "message": "unhandled exception during asyncio.run() shutdown",
                    "exception": exception,
                    "task": task,
                }
            )
