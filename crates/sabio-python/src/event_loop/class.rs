//! The class of loops: what it has, how its instances are made, and its public face `sabio.Loop`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::{
    Loop, PUBLIC, asyncgens, connect, create_datagram, debug, errors, executor, pipes, readers, replaced,
    resolver, run, schedule, sendfile, serve, server, signals, sock, sock_connect, sock_datagram, start_tls,
    subprocess, tasks, unix,
};
use crate::asyncio::asyncio;
use crate::ffi::{Base, ClassBuilder, MethodTable, Obj, Ref, public_class};

fn repr(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<Obj> {
    let class = slf.bind(py).get_type().name()?;
    let text = format!(
        "<{class} running={} closed={} debug={}>",
        python_bool(slf.is_running()),
        python_bool(slf.is_closed()),
        python_bool(slf.debug()),
    );
    Ok(Obj::from(pyo3::types::PyString::new(py, &text)))
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn define(table: &mut MethodTable<Loop>) {
    run::define(table);
    schedule::define(table);
    tasks::define(table);
    errors::define(table);
    debug::define(table);
    asyncgens::define(table);
    connect::define(table);
    serve::define(table);
    unix::define(table);
    create_datagram::define(table);
    pipes::define(table);
    subprocess::define(table);
    readers::define(table);
    sock::define(table);
    sock_connect::define(table);
    sock_datagram::define(table);
    sendfile::define(table);
    start_tls::define(table);
    resolver::define(table);
    executor::define(table);
    signals::define(table);
}

/// Whether a class derived from `sabio.Loop` has an initialiser of its own, which takes what it likes.
fn own_initializer(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let public = PUBLIC.get(class.py())?.bind(class.py());
    Ok(!class.is(public) && !class.getattr("__init__")?.is(&public.getattr("__init__")?))
}

fn refuse_arguments(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    if args.is_empty() && kwargs.is_none_or(|kwargs| kwargs.is_empty()) {
        return Ok(());
    }
    Err(PyTypeError::new_err("Loop() takes no arguments"))
}

/// Builds the class: our core first, `asyncio.AbstractEventLoop` behind it.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    server::init(module)?;
    sendfile::init(py)?;
    let core = ClassBuilder::<Loop>::new(c"The native part of sabio.Loop.")
        .members(define)
        .constructor(|class, args, kwargs| {
            if !own_initializer(class)? {
                refuse_arguments(args, kwargs)?;
            }
            Loop::new(class)
        })
        .initializer(|_slf, args, kwargs| refuse_arguments(args, kwargs))
        .attribute_listener(replaced::attribute_changed)
        .finalizer(run::finalize)
        .repr(repr)
        .build(py, &Base::Object)?;
    let abstract_loop = asyncio(py)?.events.bind(py).getattr("AbstractEventLoop")?;
    let doc = "Loop()\n--\n\nAn event loop (asyncio: Event Loop), written in Rust.";
    let class = public_class(py, "Loop", &[&core, &abstract_loop], doc)?;
    PUBLIC.set(py, Obj::from(&class));
    module.add("Loop", class)
}
