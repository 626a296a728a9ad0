//! TLS: the transport that stands between an application's protocol and a transport that carries bytes.
//!
//! `engine` is TLS without a socket, behind one interface for all engines: `direct` calls libssl itself, `portable` drives
//! the `ssl` module by what it documents. `module` is what is taken from that module. `transport` is the state of a
//! connection and the class that applications see, split by behaviour: `handshake`, `read`, `write`, `shutdown` (how it
//! ends), `extra` (what can be asked about it). Below it is `lower`, the transport that carries the bytes, and `protocol`,
//! what that transport takes for its protocol. `options` is how a connection is to be made, `buffer` the loop's memory for
//! data on its way.
//!
//! A transport of ours below hands what it receives over without a call of Python's, and takes what is to be sent straight
//! from the engine: one recv(2), one pass through the engine and one send(2) serve a request. Any other transport gets a
//! `BufferedProtocol`.
//!
//! Invariants: the protocol hears of the connection only after the handshake; it gets no data after `close()`; no borrow is
//! alive while Python code runs, which the engine's callbacks are, too.

pub(super) mod buffer;
mod direct;
mod engine;
mod extra;
mod handshake;
mod lower;
mod module;
mod options;
mod portable;
mod protocol;
mod read;
mod shutdown;
mod transport;
mod write;

use pyo3::prelude::*;

pub(crate) use buffer::Buffers;
pub(super) use engine::Outgoing;
pub(crate) use module::ssl_module;
pub(crate) use options::Options;
pub(super) use protocol::TlsProtocol;
pub(super) use read::receive;
pub(crate) use shutdown::give_up;
pub(crate) use transport::{Origin, Tls};
pub(crate) use write::flush;

/// Builds the classes.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    engine::init(module)?;
    protocol::init(module.py())?;
    transport::init(module)
}
