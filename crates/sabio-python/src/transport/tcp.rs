//! TCP transports: what differs from other streams is only that small packets leave at once.

use pyo3::prelude::*;
use pyo3::types::PyType;
use sabio_reactor::socket;

use super::stream::{Parts, Stream, public_class};
use crate::ffi::{Global, Obj, Ref};

static CLASS: Global<Obj> = Global::new();

/// A new TCP transport, or one on a socket of whatever other kind that a user has connected: see [`Stream`].
///
/// # Errors
/// What is wrong with the protocol or the descriptor, which is closed then; RuntimeError when the loop is closed.
pub(super) fn open(py: Python<'_>, parts: Parts<'_>) -> PyResult<Ref<Stream>> {
    // As asyncio does; other kinds of sockets know no such option, and a connection that is gone is noticed later.
    let _ = parts.owner.borrow().and_then(|fd| socket::set_nodelay(fd, true));
    let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
    Stream::open(py, class, parts)
}

/// Builds the class.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let doc = "A TCP connection (asyncio: Transports), written in Rust. Made by the event loop.";
    let class = public_class(module, "TCPTransport", doc)?;
    CLASS.set(module.py(), Obj::from(&class));
    Ok(())
}
