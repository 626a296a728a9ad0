"""How asyncio comes by event loops, and sabio's place in it: the event loop policy and `get_event_loop`.

asyncio makes its loops through one object, the policy: `asyncio.run`, `asyncio.Runner`, `asyncio.new_event_loop` and
`asyncio.get_event_loop` all ask it, however they were imported. `install` puts an `EventLoopPolicy` in its place.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from asyncio import events, unix_events
from typing import Any

from sabio._runner import new_event_loop
from sabio._sabio import Loop

# Policies are deprecated from 3.14: their public names warn, and the warning is not for the users of sabio.
if sys.version_info >= (3, 14):
    _DefaultPolicy = unix_events._DefaultEventLoopPolicy
    set_policy = events._set_event_loop_policy
    _get_policy = events._get_event_loop_policy
else:
    _DefaultPolicy = asyncio.DefaultEventLoopPolicy
    set_policy = asyncio.set_event_loop_policy
    _get_policy = asyncio.get_event_loop_policy


class EventLoopPolicy(_DefaultPolicy):
    """asyncio's default policy with `sabio.Loop` for the loops it makes (asyncio: Policies)."""

    _loop_factory = Loop


def current_policy() -> Any:
    """The policy that is set; None as long as nobody asked for a loop: asyncio makes its default one when it must."""
    return vars(events)["_event_loop_policy"]


if sys.version_info >= (3, 14):
    get_event_loop = asyncio.get_event_loop
else:

    def get_event_loop() -> asyncio.AbstractEventLoop:
        """The running loop, or the current one of this thread (asyncio: Event loop).

        Where asyncio's would make one, which is in the main thread as long as none was ever set, this makes a
        `sabio.Loop`, unless somebody has set a policy that makes other loops. RuntimeError if there is none.
        """
        loop = asyncio._get_running_loop()
        if loop is not None:
            return loop
        policy = _get_policy()
        if type(policy) is _DefaultPolicy:
            local = policy._local  # type: ignore[attr-defined]
            if local._loop is None and not local._set_called and is_main_thread():
                if sys.version_info >= (3, 12):
                    warnings.warn("There is no current event loop", DeprecationWarning, stacklevel=2)
                policy.set_event_loop(new_event_loop())
        return policy.get_event_loop()


def is_main_thread() -> bool:
    """Whether this is the thread in which the interpreter handles signals, and for which policies make loops."""
    return threading.current_thread() is threading.main_thread()
