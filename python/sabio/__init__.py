"""sabio: Python's asyncio as a native package.

The loop, its handles, futures, tasks and coroutines are written in Rust, in `sabio._sabio`; this package gives
them their public names and the ways to start a program on them. It has every public name of asyncio, asyncio's own
object where there is no native one, so that `import sabio as asyncio` works. Importing it changes nothing in the
process: no module is patched, no thread started, no descriptor opened and no signal handler set. `install()` is what
changes the process, and only when called.
"""

from sabio import _namespace
from sabio._install import install, uninstall
from sabio._policy import EventLoopPolicy
from sabio._runner import Runner, new_event_loop, run
from sabio._sabio import Coroutine, Future, Handle, Loop, Task, TimerHandle, __version__, sleep

__all__ = [
    "Coroutine",
    "EventLoopPolicy",
    "Future",
    "Handle",
    "Loop",
    "Runner",
    "Task",
    "TimerHandle",
    "__version__",
    "install",
    "new_event_loop",
    "run",
    "sleep",
    "uninstall",
]

_namespace.fill(globals())
__all__ = sorted({*__all__, *_namespace.public_names()})
__getattr__ = _namespace.get
_namespace.defer(__name__)
