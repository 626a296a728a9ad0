"""Legacy mode: what asyncio has lost since Python 3.4, for programs of those days.

`install(legacy=True)` and `python -m sabio --legacy` put it back into asyncio; nothing here is imported otherwise.
Each thing warns once, when it is first used, and names what replaced it. Invariant: a program that uses none of it runs
as without.
"""

from __future__ import annotations

import asyncio

from sabio._legacy import _argument, _coroutine, _names, _warning
from sabio._legacy._warning import warn_once
from sabio._policy import EventLoopPolicy, current_policy, is_main_thread
from sabio._replacement import Replacements


class LegacyEventLoopPolicy(EventLoopPolicy):
    """The policy with which `asyncio.get_event_loop()` makes a loop in the main thread, if it has none."""

    def __init__(self) -> None:
        super().__init__()
        before = current_policy()
        if isinstance(before, EventLoopPolicy):
            # The current loops of the threads stay what they are.
            vars(self)["_local"] = vars(before)["_local"]

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """The current loop of this thread. RuntimeError if there is none, outside the main thread."""
        if is_main_thread() and vars(self)["_local"]._loop is None:
            warn_once("asyncio.get_event_loop() makes no loop from Python 3.14 on", "use asyncio.run()")
            self.set_event_loop(self.new_event_loop())
        return super().get_event_loop()


def put_names() -> Replacements:
    """Put everything but the policy into asyncio."""
    _warning.forget()
    done = Replacements()
    _coroutine.put(done)
    _argument.put(done)
    _names.put(done)
    return done
