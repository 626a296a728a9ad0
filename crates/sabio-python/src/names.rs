//! Interned strings: the one place where names of attributes, methods and keywords become Python objects.

use std::ops::Deref;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::{Global, KeywordName, LastKeyword, Obj};

/// An interned string.
pub(crate) struct Name(Obj);

impl Name {
    /// The string, bound to the interpreter.
    #[inline]
    pub(crate) fn text<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyString> {
        match self.0.bind(py).cast::<PyString>() {
            Ok(text) => text,
            Err(_) => unreachable!("made as a string"),
        }
    }
}

impl Deref for Name {
    type Target = Obj;

    #[inline]
    fn deref(&self) -> &Obj {
        &self.0
    }
}

macro_rules! names {
    ($($field:ident = $text:literal,)*) => {
        /// One interned string a field.
        pub(crate) struct Names {
            $(pub(crate) $field: Name,)*
            /// The keyword `context`, where a function takes no other.
            pub(crate) context_keyword: KeywordName,
            /// The keyword `context` in calls whose last argument it is.
            pub(crate) with_context: LastKeyword,
            /// The keyword `msg`, where a function takes no other.
            pub(crate) msg_keyword: KeywordName,
        }

        impl Names {
            fn new(py: Python<'_>) -> PyResult<Names> {
                Ok(Names {
                    $($field: Name(Obj::from(PyString::intern(py, $text))),)*
                    context_keyword: KeywordName::new(Obj::from(PyString::intern(py, "context"))),
                    with_context: LastKeyword::new(&PyString::intern(py, "context"))?,
                    msg_keyword: KeywordName::new(Obj::from(PyString::intern(py, "msg"))),
                })
            }
        }
    };
}

names! {
    acquire = "acquire",
    add_done_callback = "add_done_callback",
    append = "append",
    blocking = "_asyncio_future_blocking",
    buffer_updated = "buffer_updated",
    call_exception_handler = "call_exception_handler",
    cancel = "cancel",
    cancelled = "cancelled",
    close = "close",
    connect = "connect",
    connection_lost = "connection_lost",
    connection_made = "connection_made",
    context = "context",
    create_future = "create_future",
    create_task = "create_task",
    data_received = "data_received",
    datagram_received = "datagram_received",
    do_handshake = "do_handshake",
    done = "done",
    empty = "",
    empty_method = "empty",
    eof_received = "eof_received",
    error_received = "error_received",
    exception = "exception",
    fileno = "fileno",
    format = "_format",
    full = "full",
    get_buffer = "get_buffer",
    get_loop = "get_loop",
    get_nowait = "get_nowait",
    getaddrinfo = "getaddrinfo",
    getnameinfo = "getnameinfo",
    gettimeout = "gettimeout",
    is_closing = "is_closing",
    locked = "locked",
    log_destroy_pending = "_log_destroy_pending",
    loop_ = "loop",
    name = "name",
    notify = "notify",
    pause_reading = "pause_reading",
    pipe_connection_lost = "pipe_connection_lost",
    pipe_data_received = "pipe_data_received",
    process_exited = "process_exited",
    pause_writing = "pause_writing",
    pending = "pending",
    read = "read",
    recvfrom = "recvfrom",
    recvfrom_into = "recvfrom_into",
    release = "release",
    pop = "pop",
    popleft = "popleft",
    put_nowait = "put_nowait",
    qsize = "qsize",
    queue_get = "_get",
    queue_init = "_init",
    queue_put = "_put",
    result = "result",
    resume_reading = "resume_reading",
    resume_writing = "resume_writing",
    sendto = "sendto",
    socket = "socket",
    submit = "submit",
    set_exception = "set_exception",
    set_result = "set_result",
    set_running_loop = "_set_running_loop",
    future_class = "Future",
    task_class = "Task",
    cr_suspended = "cr_suspended",
    throw = "throw",
    time = "time",
    unwrap = "unwrap",
    wait = "wait",
    write = "write",
}

static NAMES: Global<Names> = Global::new();

/// The interned names. SystemError before the module is initialised.
#[inline]
pub(crate) fn names(py: Python<'_>) -> PyResult<&'static Names> {
    NAMES.get(py)
}

/// Interns the names; called once by the module.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    NAMES.set(py, Names::new(py)?);
    Ok(())
}
