//! What is taken from the interpreter's `ssl` module. Looked up when the first TLS connection is made: an interpreter
//! may have been built without it.

use pyo3::exceptions::{PyImportError, PyRuntimeError};
use pyo3::prelude::*;

use crate::ffi::{Global, Obj};

/// The interpreter's `ssl`.
pub(crate) struct SslModule {
    pub(crate) memory_bio: Obj,
    pub(crate) ssl_context: Obj,
    pub(crate) certificate_error: Obj,
    pub(crate) ssl_error: Obj,
    zero_return_error: Obj,
    want_read_error: Obj,
    syscall_error: Obj,
}

impl SslModule {
    fn new(py: Python<'_>) -> PyResult<SslModule> {
        let module = py.import("ssl")?;
        let get = |name: &str| PyResult::Ok(Obj::from(module.getattr(name)?));
        Ok(SslModule {
            memory_bio: get("MemoryBIO")?,
            ssl_context: get("SSLContext")?,
            certificate_error: get("CertificateError")?,
            ssl_error: get("SSLError")?,
            zero_return_error: get("SSLZeroReturnError")?,
            want_read_error: get("SSLWantReadError")?,
            syscall_error: get("SSLSyscallError")?,
        })
    }

    /// Whether the exception only says that more is needed from the peer.
    pub(crate) fn is_blocked(&self, py: Python<'_>, error: &PyErr) -> bool {
        [&self.want_read_error, &self.syscall_error]
            .iter()
            .any(|class| error.is_instance(py, class.bind(py)))
    }

    /// Whether the exception says that both sides have said that they send no more.
    pub(crate) fn is_end(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance(py, self.zero_return_error.bind(py))
    }
}

static SSL: Global<SslModule> = Global::new();

/// The module.
///
/// # Errors
/// RuntimeError for an interpreter without it.
pub(crate) fn ssl_module(py: Python<'_>) -> PyResult<&'static SslModule> {
    if let Some(module) = SSL.try_get(py) {
        return Ok(module);
    }
    let module = SslModule::new(py).map_err(|error| {
        if error.is_instance_of::<PyImportError>(py) {
            PyRuntimeError::new_err("stdlib ssl module not available")
        } else {
            error
        }
    })?;
    SSL.set(py, module);
    SSL.get(py)
}
