//! The Python face of sabio: the extension module `sabio._sabio`.
//!
//! Layers, bottom up: `ffi` (the only unsafe code), `names` and `asyncio` (what is taken from the interpreter),
//! `handle`, `future`, `task`, `step` and `coroutine` (what runs), `event_loop` (what runs it), `transport` (what
//! talks to the world).

mod asyncio;
mod coroutine;
mod event_loop;
mod ffi;
mod future;
mod handle;
mod interpreter;
mod names;
mod os_error;
mod sleep;
mod socket_module;
mod step;
mod task;
mod transport;

/// The native part of sabio. Import `sabio` instead.
#[pyo3::pymodule]
mod _sabio {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::names::init(module.py())?;
        crate::asyncio::init(module.py())?;
        crate::interpreter::init(module.py())?;
        crate::ffi::probe(module.py())?;
        crate::socket_module::init(module.py())?;
        crate::handle::init(module)?;
        crate::future::init(module)?;
        crate::task::init(module)?;
        crate::coroutine::init(module)?;
        crate::transport::init(module)?;
        crate::event_loop::init(module)?;
        crate::sleep::init(module)?;
        module.setattr("_shares_contexts", crate::ffi::is_sharing())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
