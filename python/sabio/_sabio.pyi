"""Types of the native part: what `sabio._sabio` exports. Import `sabio` instead.

A method of the loop whose result is awaited is declared as a function that returns a coroutine, which is what it
is. Parameters, defaults and types are asyncio's; where versions of asyncio differ, sabio has the newest on all.
"""

import asyncio
import collections.abc
import ssl as _ssl
import sys
from asyncio import (
    AbstractEventLoop,
    BaseProtocol,
    BaseTransport,
    DatagramTransport,
    ReadTransport,
    SubprocessTransport,
    Transport,
    WriteTransport,
)
from asyncio import ensure_future as ensure_future
from asyncio import gather as gather
from asyncio import run_coroutine_threadsafe as run_coroutine_threadsafe
from asyncio import shield as shield
from asyncio import to_thread as to_thread
from asyncio import wait as wait
from asyncio import wrap_future as wrap_future
from asyncio.events import _TaskFactory
from asyncio.streams import _ReaduntilBuffer
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from socket import AddressFamily, SocketKind, socket
from types import TracebackType
from typing import (
    IO,
    Any,
    Literal,
    Self,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    final,
    overload,
    type_check_only,
)

from _typeshed import (
    FileDescriptorLike,
    ReadableBuffer,
    StrOrBytesPath,
    StrPath,
    SupportsRichComparisonT,
    WriteableBuffer,
)
from typing_extensions import disjoint_base

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Coroutine",
    "DatagramSocketTransport",
    "Event",
    "Future",
    "Handle",
    "LifoQueue",
    "Lock",
    "Loop",
    "PriorityQueue",
    "Process",
    "ProcessTransport",
    "Queue",
    "QueueShutDown",
    "ReadPipeTransport",
    "SSLTransport",
    "Semaphore",
    "Server",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "SubprocessStreamProtocol",
    "TCPTransport",
    "Task",
    "TaskGroup",
    "Timeout",
    "TimerHandle",
    "UnixTransport",
    "WritePipeTransport",
    "__version__",
    "as_completed",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "create_task",
    "ensure_future",
    "gather",
    "open_connection",
    "open_unix_connection",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
    "wrap_future",
]

_build: str
__version__: str

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown as QueueShutDown
else:
    class QueueShutDown(Exception):
        """Put to or get from a queue that was shut down."""

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Ts = TypeVarTuple("_Ts")
_ProtocolT = TypeVar("_ProtocolT", bound=BaseProtocol)

_Coro: TypeAlias = collections.abc.Coroutine[Any, Any, _T]
_Awaitable: TypeAlias = Generator[Any, None, _T] | Awaitable[_T]
_CoroutineLike: TypeAlias = Generator[Any, None, _T] | _Coro[_T]
_Address: TypeAlias = tuple[Any, ...] | str | ReadableBuffer | int
_AddressInfo: TypeAlias = list[
    tuple[Literal[AddressFamily.AF_INET], SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[AddressFamily.AF_INET6],
        SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
]
_SSL: TypeAlias = bool | _ssl.SSLContext | None
_ErrorContext: TypeAlias = dict[str, Any]
_ExceptionHandler: TypeAlias = Callable[[AbstractEventLoop, _ErrorContext], object]
_ClientConnected: TypeAlias = Callable[["StreamReader", "StreamWriter"], Awaitable[None] | None]

@overload
def sleep(delay: float, result: None = None) -> _Coro[None]: ...
@overload
def sleep(delay: float, result: _T) -> _Coro[_T]: ...

@type_check_only
class _AsCompletedIterator(Iterator[_Coro[_T_co]], AsyncIterator[asyncio.Future[_T_co]]):
    def __next__(self) -> _Coro[_T_co]: ...
    async def __anext__(self) -> asyncio.Future[_T_co]: ...

def as_completed(
    fs: Iterable[asyncio.Future[_T] | _Awaitable[_T]], *, timeout: float | None = None
) -> _AsCompletedIterator[_T]: ...

@final
class Coroutine(collections.abc.Coroutine[Any, Any, _T_co]):
    """What `sleep` and the loop's coroutine methods return: a coroutine whose body is native."""

    __name__: str
    __qualname__: str
    @property
    def cr_await(self) -> Any | None: ...
    @property
    def cr_frame(self) -> None: ...
    @property
    def cr_origin(self) -> tuple[tuple[str, int, str], ...] | None: ...
    @property
    def cr_running(self) -> bool: ...
    @property
    def cr_state(self) -> str: ...
    @property
    def cr_suspended(self) -> bool: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, typ: Any, val: object = None, tb: TracebackType | None = None, /) -> Any: ...
    def close(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __del__(self) -> None: ...

@disjoint_base
class Handle(asyncio.Handle):
    """A callback that was scheduled (asyncio: Callback handles). Made by the loop only."""

    def cancel(self) -> None: ...
    def cancelled(self) -> bool: ...
    def get_context(self) -> Context: ...

@final  # Instances of asyncio's classes by their `__class__`: no class could inherit from both.
class TimerHandle(Handle, asyncio.TimerHandle):  # type: ignore[misc]
    """A callback that was scheduled for a time (asyncio: Callback handles). Made by the loop only."""

    def when(self) -> float: ...
    def __hash__(self) -> int: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __lt__(self, value: asyncio.TimerHandle, /) -> bool: ...
    def __le__(self, value: asyncio.TimerHandle, /) -> bool: ...
    def __gt__(self, value: asyncio.TimerHandle, /) -> bool: ...
    def __ge__(self, value: asyncio.TimerHandle, /) -> bool: ...

class Queue(asyncio.Queue[_T]):
    """A queue between tasks (asyncio: Queues), written in Rust."""

    def __init__(self, maxsize: float = 0) -> None: ...
    @property
    def maxsize(self) -> int: ...
    def _init(self, maxsize: int) -> None: ...
    def _get(self) -> _T: ...
    def _put(self, item: _T) -> None: ...
    def _format(self) -> str: ...
    def qsize(self) -> int: ...
    def empty(self) -> bool: ...
    def full(self) -> bool: ...
    def put(self, item: _T) -> _Coro[None]: ...
    def put_nowait(self, item: _T) -> None: ...
    def get(self) -> _Coro[_T]: ...
    def get_nowait(self) -> _T: ...
    def join(self) -> _Coro[None]: ...
    def task_done(self) -> None: ...
    def shutdown(self, immediate: bool = False) -> None: ...

class LifoQueue(Queue[_T], asyncio.LifoQueue[_T]):
    """A Queue that gives the newest item first."""

class PriorityQueue(Queue[SupportsRichComparisonT], asyncio.PriorityQueue[SupportsRichComparisonT]):
    """A Queue that gives the smallest item first."""

@disjoint_base
class Future(asyncio.Future[_T]):
    """A result that is not there yet (asyncio: Futures)."""

    def add_done_callback(
        self, fn: Callable[[Future[_T]], object], /, *, context: Context | None = None
    ) -> None: ...
    def cancel(self, msg: Any | None = None) -> bool: ...
    def set_result(self, result: _T, /) -> None: ...
    def set_exception(self, exception: type | BaseException, /) -> None: ...
    def __await__(self) -> Generator[Any, None, _T]: ...
    def __iter__(self) -> Generator[Any, None, _T]: ...

@disjoint_base
class Task(asyncio.Task[_T]):
    """A coroutine that the loop runs (asyncio: Task object)."""

    def __init__(
        self,
        coro: _CoroutineLike[_T],
        *,
        loop: AbstractEventLoop | None = None,
        name: str | None = None,
        context: Context | None = None,
        eager_start: bool = False,
    ) -> None: ...
    def add_done_callback(
        self, fn: Callable[[Task[_T]], object], /, *, context: Context | None = None
    ) -> None: ...
    def cancel(self, msg: Any | None = None) -> bool: ...
    def cancelling(self) -> int: ...
    def uncancel(self) -> int: ...
    def get_context(self) -> Context: ...
    def result(self) -> _T: ...
    def exception(self) -> BaseException | None: ...
    def __await__(self) -> Generator[Any, None, _T]: ...
    def __iter__(self) -> Generator[Any, None, _T]: ...

def create_task(coro: _CoroutineLike[_T], **kwargs: Any) -> asyncio.Task[_T]: ...
def _tls_engine() -> tuple[str, str]: ...
def _set_eager_task_factory(factory: Callable[..., asyncio.Task[Any]], /) -> None: ...
def wait_for(fut: _Awaitable[_T], timeout: float | None) -> _Coro[_T]: ...
def timeout(delay: float | None) -> Timeout: ...
def timeout_at(when: float | None) -> Timeout: ...

@final
class Timeout(asyncio.Timeout):  # type: ignore[misc]  # asyncio's is final, too.
    """Cancels a block that takes too long (asyncio: Timeouts)."""

    def __init__(self, when: float | None) -> None: ...
    def __aenter__(self) -> Coroutine[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Coroutine[None]: ...

class TaskGroup(asyncio.TaskGroup):
    """Tasks that end before the block does (asyncio: Task Groups)."""

    def __aenter__(self) -> Coroutine[Self]: ...
    def __aexit__(
        self,
        et: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> Coroutine[Any]: ...
    def create_task(self, coro: _CoroutineLike[_T], **kwargs: Any) -> asyncio.Task[_T]: ...
    def cancel(self) -> None: ...

@final
class TCPTransport(Transport):
    """The transport of a TCP connection (asyncio: Transports). Made by the loop only."""

@final
class DatagramSocketTransport(asyncio.DatagramTransport):
    """The transport of a datagram endpoint (asyncio: Transports). Made by the loop only."""

    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_limits(self) -> tuple[int, int]: ...
    def get_write_buffer_size(self) -> int: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

@final
class ProcessTransport(asyncio.SubprocessTransport):
    """The transport of a process (asyncio: Transports). Made by the loop only."""

@final
class ReadPipeTransport(asyncio.ReadTransport):
    """The transport of a pipe that is read from (asyncio: Transports). Made by the loop only."""

@final
class WritePipeTransport(Transport):
    """The transport of a pipe that is written to (asyncio: Transports). Made by the loop only."""

@final
class SSLTransport(Transport):
    """The transport of a connection with TLS, above another one (asyncio: Transports). Made by the loop only."""

    def get_read_buffer_limits(self) -> tuple[int, int]: ...
    def set_read_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_read_buffer_size(self) -> int: ...

@final
class UnixTransport(Transport):
    """The transport of a connection over a Unix socket (asyncio: Transports). Made by the loop only."""

@final
class Server(asyncio.Server):
    """A server (asyncio: Server objects). Made by the loop only; has what is new in 3.13 on every version."""

    def get_loop(self) -> AbstractEventLoop: ...
    def is_serving(self) -> bool: ...
    def start_serving(self) -> _Coro[None]: ...
    def serve_forever(self) -> _Coro[None]: ...
    def close(self) -> None: ...
    def close_clients(self) -> None: ...
    def abort_clients(self) -> None: ...
    def wait_closed(self) -> _Coro[None]: ...

class StreamReader(asyncio.StreamReader):
    """Reads bytes from a stream (asyncio: StreamReader); takes several separators on every version."""

    def __init__(self, limit: float = 65536, loop: AbstractEventLoop | None = None) -> None: ...
    def read(self, n: int = -1) -> _Coro[bytes]: ...
    def readexactly(self, n: int) -> _Coro[bytes]: ...
    def readuntil(
        self, separator: _ReaduntilBuffer | tuple[_ReaduntilBuffer, ...] = b"\n"
    ) -> _Coro[bytes]: ...
    def readline(self) -> _Coro[bytes]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> _Coro[bytes]: ...
    def feed_data(self, data: collections.abc.Iterable[SupportsIndex]) -> None: ...
    def feed_eof(self) -> None: ...
    def at_eof(self) -> bool: ...
    def exception(self) -> Exception: ...
    def set_exception(self, exc: Exception) -> None: ...
    def set_transport(self, transport: BaseTransport) -> None: ...

class StreamWriter(asyncio.StreamWriter):
    """Writes bytes to a stream (asyncio: StreamWriter)."""

    def __init__(
        self,
        transport: WriteTransport,
        protocol: BaseProtocol,
        reader: asyncio.StreamReader | None,
        loop: AbstractEventLoop,
    ) -> None: ...
    @property
    def transport(self) -> WriteTransport: ...
    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def writelines(self, data: collections.abc.Iterable[bytes | bytearray | memoryview]) -> None: ...
    def drain(self) -> _Coro[None]: ...
    def write_eof(self) -> None: ...
    def can_write_eof(self) -> bool: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool: ...
    def wait_closed(self) -> _Coro[None]: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...
    def start_tls(
        self,
        sslcontext: _ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> _Coro[None]: ...

class StreamReaderProtocol(asyncio.StreamReaderProtocol):
    """Stands between a transport and a pair of streams (asyncio: Streams)."""

    def __init__(
        self,
        stream_reader: asyncio.StreamReader | None,
        client_connected_cb: _ClientConnected | None = None,
        loop: AbstractEventLoop | None = None,
    ) -> None: ...
    def connection_made(self, transport: BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

class SubprocessStreamProtocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Stands between a process and its streams (asyncio: Subprocesses)."""

class Process(asyncio.subprocess.Process):
    """A process with streams (asyncio: Subprocesses)."""

def create_subprocess_exec(
    program: StrOrBytesPath,
    *args: StrOrBytesPath,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    limit: float = 65536,
    **kwds: Any,
) -> _Coro[Process]: ...
def create_subprocess_shell(
    cmd: str | bytes,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    limit: float = 65536,
    **kwds: Any,
) -> _Coro[Process]: ...
def open_connection(
    host: str | None = None, port: int | str | None = None, *, limit: float = 65536, **kwds: Any
) -> _Coro[tuple[StreamReader, StreamWriter]]: ...
def start_server(
    client_connected_cb: _ClientConnected,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    limit: float = 65536,
    **kwds: Any,
) -> _Coro[asyncio.Server]: ...
def open_unix_connection(
    path: StrPath | None = None, *, limit: float = 65536, **kwds: Any
) -> _Coro[tuple[StreamReader, StreamWriter]]: ...
def start_unix_server(
    client_connected_cb: _ClientConnected, path: StrPath | None = None, *, limit: float = 65536, **kwds: Any
) -> _Coro[asyncio.Server]: ...

class Loop(AbstractEventLoop):
    """The event loop (asyncio: Event loop). What it lacks of `AbstractEventLoop` raises NotImplementedError."""

    slow_callback_duration: float

    def __del__(self) -> None: ...

    # Running and stopping
    def run_forever(self) -> None: ...
    def run_until_complete(self, future: _Awaitable[_T]) -> _T: ...
    def stop(self) -> None: ...
    def is_running(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def close(self) -> None: ...
    def shutdown_asyncgens(self) -> _Coro[None]: ...
    def shutdown_default_executor(self, timeout: float | None = None) -> _Coro[None]: ...

    # Callbacks and timers; delays and times are seconds
    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle: ...
    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle: ...
    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> TimerHandle: ...
    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> TimerHandle: ...
    def time(self) -> float: ...

    # Futures and tasks
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(
        self,
        coro: _CoroutineLike[_T],
        *,
        name: object = None,
        context: Context | None = None,
        eager_start: bool | None = None,
        **kwargs: Any,
    ) -> asyncio.Task[_T]: ...
    def set_task_factory(self, factory: _TaskFactory | None) -> None: ...
    def get_task_factory(self) -> _TaskFactory | None: ...

    # Threads
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]: ...
    def set_default_executor(self, executor: ThreadPoolExecutor) -> None: ...  # type: ignore[override]

    # Names
    def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> _Coro[_AddressInfo]: ...
    def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int = 0
    ) -> _Coro[tuple[str, str]]: ...

    # Connections and servers
    def create_connection(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        host: str | None = None,
        port: int | str | None = None,
        *,
        ssl: _SSL = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket | None = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> _Coro[tuple[Transport, _ProtocolT]]: ...
    def create_server(
        self,
        protocol_factory: Callable[[], BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | str | None = None,
        *,
        family: int = 0,
        flags: int = 1,
        sock: socket | None = None,
        backlog: int = 100,
        ssl: _SSL = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> _Coro[Server]: ...
    def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        sock: socket,
        *,
        ssl: _SSL = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> _Coro[tuple[Transport, _ProtocolT]]: ...

    # Descriptors and sockets
    def add_reader(self, fd: FileDescriptorLike, callback: Callable[[*_Ts], object], *args: *_Ts) -> None: ...
    def remove_reader(self, fd: FileDescriptorLike) -> bool: ...
    def add_writer(self, fd: FileDescriptorLike, callback: Callable[[*_Ts], object], *args: *_Ts) -> None: ...
    def remove_writer(self, fd: FileDescriptorLike) -> bool: ...
    def sock_recv(self, sock: socket, n: int) -> _Coro[bytes]: ...
    def sock_recv_into(self, sock: socket, buf: WriteableBuffer) -> _Coro[int]: ...
    def sock_sendall(self, sock: socket, data: ReadableBuffer) -> _Coro[None]: ...
    def sock_connect(self, sock: socket, address: _Address) -> _Coro[None]: ...
    def sock_accept(self, sock: socket) -> _Coro[tuple[socket, Any]]: ...

    # Signals
    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None: ...
    def remove_signal_handler(self, sig: int) -> bool: ...

    # Errors and debugging
    def set_exception_handler(self, handler: _ExceptionHandler | None) -> None: ...
    def get_exception_handler(self) -> _ExceptionHandler | None: ...
    def default_exception_handler(self, context: _ErrorContext) -> None: ...
    def call_exception_handler(self, context: _ErrorContext) -> None: ...
    def get_debug(self) -> bool: ...
    def set_debug(self, enabled: bool) -> None: ...
    def start_tls(
        self,
        transport: WriteTransport,
        protocol: BaseProtocol,
        sslcontext: _ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> _Coro[Transport | None]: ...
    def sendfile(
        self,
        transport: WriteTransport,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> _Coro[int]: ...
    def sock_sendfile(
        self,
        sock: socket,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool | None = True,
    ) -> _Coro[int]: ...
    def sock_recvfrom(self, sock: socket, bufsize: int) -> _Coro[tuple[bytes, Any]]: ...
    def sock_recvfrom_into(
        self, sock: socket, buf: WriteableBuffer, nbytes: int = 0
    ) -> _Coro[tuple[int, Any]]: ...
    def sock_sendto(self, sock: socket, data: ReadableBuffer, address: _Address) -> _Coro[int]: ...
    def create_datagram_endpoint(  # type: ignore[override]  # `reuse_address` went with 3.11
        self,
        protocol_factory: Callable[[], _ProtocolT],
        local_addr: tuple[str, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket | None = None,
    ) -> _Coro[tuple[DatagramTransport, _ProtocolT]]: ...
    def create_unix_connection(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        path: str | None = None,
        *,
        ssl: _SSL = None,
        sock: socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> _Coro[tuple[Transport, _ProtocolT]]: ...
    def create_unix_server(
        self,
        protocol_factory: Callable[[], BaseProtocol],
        path: StrPath | None = None,
        *,
        sock: socket | None = None,
        backlog: int = 100,
        ssl: _SSL = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = ...,  # True from 3.13 on, as in asyncio
    ) -> _Coro[Server]: ...
    def connect_read_pipe(
        self, protocol_factory: Callable[[], _ProtocolT], pipe: Any
    ) -> _Coro[tuple[ReadTransport, _ProtocolT]]: ...
    def connect_write_pipe(
        self, protocol_factory: Callable[[], _ProtocolT], pipe: Any
    ) -> _Coro[tuple[WriteTransport, _ProtocolT]]: ...
    def subprocess_shell(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        cmd: bytes | str,
        *,
        stdin: int | IO[Any] | None = -1,
        stdout: int | IO[Any] | None = -1,
        stderr: int | IO[Any] | None = -1,
        universal_newlines: bool = False,
        shell: bool = True,
        bufsize: int = 0,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> _Coro[tuple[SubprocessTransport, _ProtocolT]]: ...
    def subprocess_exec(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        program: Any,
        *args: Any,
        stdin: int | IO[Any] | None = -1,
        stdout: int | IO[Any] | None = -1,
        stderr: int | IO[Any] | None = -1,
        universal_newlines: bool = False,
        shell: bool = False,
        bufsize: int = 0,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> _Coro[tuple[SubprocessTransport, _ProtocolT]]: ...

class Lock(asyncio.Lock): ...
class Event(asyncio.Event): ...
class Condition(asyncio.Condition): ...
class Semaphore(asyncio.Semaphore): ...
class BoundedSemaphore(Semaphore, asyncio.BoundedSemaphore): ...
class Barrier(asyncio.Barrier): ...
