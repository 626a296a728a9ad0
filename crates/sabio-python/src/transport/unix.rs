//! Transports on Unix stream sockets (unix(7)): nothing but the name differs from other streams.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::stream::{Parts, Stream, public_class};
use crate::ffi::{Global, Obj, Ref};

static CLASS: Global<Obj> = Global::new();

/// A new Unix transport: see [`Stream`].
///
/// # Errors
/// What is wrong with the protocol or the descriptor, which is closed then; RuntimeError when the loop is closed.
pub(super) fn open(py: Python<'_>, parts: Parts<'_>) -> PyResult<Ref<Stream>> {
    let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
    Stream::open(py, class, parts)
}

/// Builds the class.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let doc =
        "A connection over a Unix socket (asyncio: Transports), written in Rust. Made by the event loop.";
    let class = public_class(module, "UnixTransport", doc)?;
    CLASS.set(module.py(), Obj::from(&class));
    Ok(())
}
