//! Streams: reading and writing connections with `await` (asyncio: Streams).
//!
//! `reader` is the state of a `StreamReader`, over `buffer` (what is unread) and `wait` (who waits for it); `read` holds
//! the operations, `reading` the methods around them and `stream_reader` the rest of the class. `flow` is what pauses
//! writers, `protocol` the `StreamReaderProtocol` between a transport and a reader, `connected` what happens when a
//! server gets a connection, `writer` the `StreamWriter`, and `open` makes pairs of them. `subprocess` is the protocol whose
//! streams are those of a process, and `process` the `Process` around them.
//!
//! A transport of ours puts what it receives straight into the reader of a `StreamReaderProtocol`
//! (`StreamReaderProtocol::receiver`); any other transport calls `data_received()`, and everything else is the same.
//!
//! Invariant: the futures of the coroutines hold no reference to a Python object that could lead back to them, only the
//! state behind it; the coroutine itself owns the object and shows it to the garbage collector.

mod buffer;
mod closing;
mod connected;
mod errors;
mod flow;
mod kept_state;
mod open;
mod parameters;
mod process;
mod protocol;
mod read;
mod reader;
mod reading;
mod stream_reader;
mod subprocess;
mod wait;
mod writer;

use pyo3::prelude::*;
use pyo3::types::{PyType, PyWeakrefReference};

use crate::ffi::{self, Global, Obj};

pub(crate) use protocol::StreamReaderProtocol;
pub(crate) use reader::Reader;
pub(crate) use subprocess::SubprocessStreamProtocol;

/// Whether the class of `object` is that very class, so that nobody has overridden anything.
#[inline]
fn is_exactly(class: &Global<Obj>, object: &Bound<'_, PyAny>) -> bool {
    class
        .try_get(object.py())
        .is_some_and(|class| std::ptr::eq(class.as_ptr(), object.get_type_ptr().cast()))
}

/// The class `name` of asyncio's streams with `core` before it, which overrides all of it.
fn public_class(
    module: &Bound<'_, PyModule>,
    cell: &Global<Obj>,
    name: &str,
    core: &Bound<'_, PyType>,
    doc: &str,
) -> PyResult<()> {
    public_class_of(module, cell, ("asyncio.streams", name), core, doc)
}

/// The class of a module of asyncio, `place`, with `core` before it.
fn public_class_of(
    module: &Bound<'_, PyModule>,
    cell: &Global<Obj>,
    place: (&str, &str),
    core: &Bound<'_, PyType>,
    doc: &str,
) -> PyResult<()> {
    let (original, name) = place;
    let py = module.py();
    let base = py.import(original)?.getattr(name)?;
    let class = ffi::public_class(py, name, &[core, &base], doc)?;
    cell.set(py, Obj::from(&class));
    module.add(name, class)
}

/// The object whose method a coroutine is, for its future: a reference that does not keep it alive, since the
/// coroutine does.
struct This(Obj);

impl This {
    fn new(object: &Bound<'_, PyAny>) -> PyResult<This> {
        Ok(This(PyWeakrefReference::new(object)?.into()))
    }

    /// The object. RuntimeError if it is gone, which only a coroutine that was cleared can see.
    fn upgrade<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0
            .bind(py)
            .cast::<PyWeakrefReference>()?
            .upgrade()
            .ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the stream is gone"))
    }
}

/// Builds the classes and adds the functions.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::init(module.py())?;
    stream_reader::init(module)?;
    protocol::init(module)?;
    writer::init(module)?;
    subprocess::init(module)?;
    process::init(module)?;
    open::init(module)
}
