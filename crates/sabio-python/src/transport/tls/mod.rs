//! TLS: the transport that stands between an application's protocol and a transport that carries bytes.
//!
//! `engine` is TLS without a socket, behind one interface for all engines: `direct` calls libssl itself, `portable` drives
//! the `ssl` module by what it documents. `module` is what is taken from that module.
#![allow(dead_code, unused_imports)]

mod direct;
mod engine;
mod module;
mod portable;

use pyo3::prelude::*;

/// Adds what the module has of TLS.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    engine::init(module)
}
