//! Which functions and methods are coroutine functions in asyncio: ours say so, too, to whoever asks (`inspect`,
//! `unittest.mock`, frameworks).

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::{CoroutineMethods, mark_coroutine_functions};

const FUNCTIONS: [&str; 10] = [
    "create_subprocess_exec",
    "create_subprocess_shell",
    "open_connection",
    "open_unix_connection",
    "sleep",
    "start_server",
    "start_unix_server",
    "to_thread",
    "wait",
    "wait_for",
];

const OF_QUEUES: &[&str] = &["get", "join", "put"];

/// The methods, by their classes. Those that `async with` and `async for` call again and again are left as they are: the
/// interpreter has a way of its own to call what is a plain method in C, without which each of the two calls of a block
/// takes 54 instructions more, and that of a lock 8 percent. Mocks by specification miss them (docs/differences.md).
const METHODS: [(&str, &[&str]); 14] = [
    ("Barrier", &["abort", "reset", "wait"]),
    ("BoundedSemaphore", &["acquire"]),
    ("Condition", &["acquire", "wait", "wait_for"]),
    ("Event", &["wait"]),
    ("LifoQueue", OF_QUEUES),
    ("Lock", &["acquire"]),
    (
        "Loop",
        &[
            "connect_accepted_socket",
            "connect_read_pipe",
            "connect_write_pipe",
            "create_connection",
            "create_datagram_endpoint",
            "create_server",
            "create_unix_connection",
            "create_unix_server",
            "getaddrinfo",
            "getnameinfo",
            "sendfile",
            "shutdown_asyncgens",
            "shutdown_default_executor",
            "sock_accept",
            "sock_connect",
            "sock_recv",
            "sock_recv_into",
            "sock_recvfrom",
            "sock_recvfrom_into",
            "sock_sendall",
            "sock_sendfile",
            "sock_sendto",
            "start_tls",
            "subprocess_exec",
            "subprocess_shell",
        ],
    ),
    ("PriorityQueue", OF_QUEUES),
    ("Process", &["communicate", "wait"]),
    ("Queue", OF_QUEUES),
    ("Semaphore", &["acquire"]),
    (
        "Server",
        &[
            "__aenter__",
            "__aexit__",
            "serve_forever",
            "start_serving",
            "wait_closed",
        ],
    ),
    ("StreamReader", &["read", "readexactly", "readline", "readuntil"]),
    ("StreamWriter", &["drain", "start_tls", "wait_closed"]),
];

/// Marks them all, once every class is made.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    mark_coroutine_functions(module, &FUNCTIONS)?;
    let methods = CoroutineMethods::new(module.py())?;
    for (class, names) in METHODS {
        methods.mark(&module.getattr(class)?.cast_into::<PyType>()?, names)?;
    }
    Ok(())
}
