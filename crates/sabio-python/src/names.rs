//! Interned strings: the one place where names of attributes, methods and keywords become Python objects.

use std::ops::Deref;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::ffi::{Global, KeywordName, Obj};

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

/// The names of the keywords of a call.
pub(crate) struct KeywordNames(Obj);

impl KeywordNames {
    /// The tuple, bound to the interpreter.
    #[inline]
    pub(crate) fn tuple<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyTuple> {
        match self.0.bind(py).cast::<PyTuple>() {
            Ok(tuple) => tuple,
            Err(_) => unreachable!("made as a tuple"),
        }
    }
}

macro_rules! names {
    ($($field:ident = $text:literal,)*) => {
        /// One interned string a field.
        pub(crate) struct Names {
            $(pub(crate) $field: Name,)*
            /// The keyword `context`, where a function takes no other.
            pub(crate) context_keyword: KeywordName,
            /// The keyword `msg`, where a function takes no other.
            pub(crate) msg_keyword: KeywordName,
            /// The keyword `context` alone, as the names of a call.
            pub(crate) only_context: KeywordNames,
        }

        impl Names {
            fn new(py: Python<'_>) -> PyResult<Names> {
                let context = PyString::intern(py, "context");
                Ok(Names {
                    $($field: Name(Obj::from(PyString::intern(py, $text))),)*
                    context_keyword: KeywordName::new(Obj::from(&context)),
                    msg_keyword: KeywordName::new(Obj::from(PyString::intern(py, "msg"))),
                    only_context: KeywordNames(Obj::from(PyTuple::new(py, [context])?)),
                })
            }
        }
    };
}

names! {
    acquire = "acquire",
    add_done_callback = "add_done_callback",
    blocking = "_asyncio_future_blocking",
    buffer_updated = "buffer_updated",
    call_exception_handler = "call_exception_handler",
    call_soon = "call_soon",
    cancel = "cancel",
    cancelled = "cancelled",
    close = "close",
    connection_lost = "connection_lost",
    connection_made = "connection_made",
    context = "context",
    create_future = "create_future",
    data_received = "data_received",
    done = "done",
    eager_start = "eager_start",
    empty = "",
    eof_received = "eof_received",
    exception = "exception",
    fileno = "fileno",
    get_buffer = "get_buffer",
    get_loop = "get_loop",
    getaddrinfo = "getaddrinfo",
    getnameinfo = "getnameinfo",
    gettimeout = "gettimeout",
    loop_ = "loop",
    msg = "msg",
    name = "name",
    pause_writing = "pause_writing",
    result = "result",
    resume_writing = "resume_writing",
    send = "send",
    socket = "socket",
    submit = "submit",
    set_result = "set_result",
    set_running_loop = "_set_running_loop",
    future_class = "Future",
    task_class = "Task",
    throw = "throw",
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
