"""Which native object stands for which name of asyncio, module by module: the one place that says so.

`import sabio as asyncio` finds all of them under asyncio's names (`_namespace`). `install` puts those of `NATIVE` into
asyncio itself (`_install`). A native object that is new needs one entry here, besides its type in the stubs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from sabio import _sabio
from sabio._policy import EventLoopPolicy, get_event_loop
from sabio._runner import Runner, new_event_loop, run
from sabio._tasks import create_eager_task_factory, eager_task_factory

Places = Mapping[str, Mapping[str, Any]]

#: Module of asyncio -> name -> the native object, which takes the place of asyncio's wherever that is found.
NATIVE: Places = {
    "locks": {
        "Barrier": _sabio.Barrier,
        "BoundedSemaphore": _sabio.BoundedSemaphore,
        "Condition": _sabio.Condition,
        "Event": _sabio.Event,
        "Lock": _sabio.Lock,
        "Semaphore": _sabio.Semaphore,
    },
    "futures": {"wrap_future": _sabio.wrap_future},
    "taskgroups": {"TaskGroup": _sabio.TaskGroup},
    "tasks": {
        "as_completed": _sabio.as_completed,
        "create_eager_task_factory": create_eager_task_factory,
        "create_task": _sabio.create_task,
        "eager_task_factory": eager_task_factory,
        "ensure_future": _sabio.ensure_future,
        "gather": _sabio.gather,
        "run_coroutine_threadsafe": _sabio.run_coroutine_threadsafe,
        "shield": _sabio.shield,
        "sleep": _sabio.sleep,
        "wait": _sabio.wait,
        "wait_for": _sabio.wait_for,
    },
    "threads": {"to_thread": _sabio.to_thread},
    "queues": {
        "LifoQueue": _sabio.LifoQueue,
        "PriorityQueue": _sabio.PriorityQueue,
        "Queue": _sabio.Queue,
    },
    "streams": {
        "StreamReader": _sabio.StreamReader,
        "StreamReaderProtocol": _sabio.StreamReaderProtocol,
        "StreamWriter": _sabio.StreamWriter,
        "open_connection": _sabio.open_connection,
        "open_unix_connection": _sabio.open_unix_connection,
        "start_server": _sabio.start_server,
        "start_unix_server": _sabio.start_unix_server,
    },
    "subprocess": {
        "Process": _sabio.Process,
        "SubprocessStreamProtocol": _sabio.SubprocessStreamProtocol,
        "create_subprocess_exec": _sabio.create_subprocess_exec,
        "create_subprocess_shell": _sabio.create_subprocess_shell,
    },
    "timeouts": {
        "Timeout": _sabio.Timeout,
        "timeout": _sabio.timeout,
        "timeout_at": _sabio.timeout_at,
    },
    "unix_events": {"EventLoop": _sabio.Loop},
}

#: The same for names under which asyncio keeps its own object when sabio is installed. Either that is what ours derives
#: from or stands for, so that all objects of both kinds are instances of it, or it asks the event loop policy for a
#: loop, which then is sabio's, and goes on doing so when somebody sets another policy.
SABIO_ONLY: Places = {
    "events": {
        "Handle": _sabio.Handle,
        "TimerHandle": _sabio.TimerHandle,
        "get_event_loop": get_event_loop,
        "new_event_loop": new_event_loop,
    },
    "futures": {"Future": _sabio.Future},
    # asyncio's own where it has one, from 3.13 on.
    "queues": {"QueueShutDown": _sabio.QueueShutDown},
    "runners": {"Runner": Runner, "run": run},
    "tasks": {"Task": _sabio.Task},
    # From 3.14 on the package gives this name only with a warning: see `_namespace`.
    "unix_events": {} if sys.version_info >= (3, 14) else {"DefaultEventLoopPolicy": EventLoopPolicy},
}
