//! What the arguments of the methods that make streams and servers have in common.

use pyo3::exceptions::{PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::resolve::STREAM;
use crate::ffi::Obj;

/// Given and not None.
pub(super) fn given(value: Option<&Bound<'_, PyAny>>) -> Option<Obj> {
    value.filter(|value| !value.is_none()).map(Obj::from)
}

/// Given, or this number.
pub(super) fn or_number(py: Python<'_>, value: Option<&Bound<'_, PyAny>>, number: i32) -> PyResult<Obj> {
    match value {
        Some(value) => Ok(Obj::from(value)),
        None => Ok(number.into_pyobject(py)?.into_any().into()),
    }
}

/// TypeError for a socket that `ssl` has wrapped.
pub(super) fn check_ssl_socket(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    // Whoever has made one has imported the module.
    let modules = sock.py().import("sys")?.getattr("modules")?;
    let ssl = modules.call_method1("get", ("ssl",))?;
    if !ssl.is_none() && sock.is_instance(&ssl.getattr("SSLSocket")?)? {
        return Err(PyTypeError::new_err("Socket cannot be of type SSLSocket"));
    }
    Ok(())
}

/// ValueError for a socket that is no stream socket.
pub(super) fn check_stream_socket(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    if sock.getattr("type")?.eq(STREAM)? {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "A Stream Socket was expected, got {}",
        sock.repr()?
    )))
}

/// ValueError for timeouts of TLS without TLS, NotImplementedError for TLS.
pub(super) fn check_ssl(
    method: &str,
    ssl: bool,
    handshake_timeout: Option<&Obj>,
    shutdown_timeout: Option<&Obj>,
) -> PyResult<()> {
    if ssl {
        return Err(PyNotImplementedError::new_err(format!("{method}(ssl=...)")));
    }
    for (name, value) in [
        ("ssl_handshake_timeout", handshake_timeout),
        ("ssl_shutdown_timeout", shutdown_timeout),
    ] {
        if value.is_some() {
            return Err(PyValueError::new_err(format!(
                "{name} is only meaningful with ssl"
            )));
        }
    }
    Ok(())
}
