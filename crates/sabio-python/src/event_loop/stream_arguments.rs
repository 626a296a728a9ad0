//! What the arguments of the methods that make streams and servers have in common.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::resolve::STREAM;
use crate::ffi::{Obj, Visit};
use crate::held::Shown;
use crate::transport::tls::Options;

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

/// The arguments about TLS that all methods have.
pub(super) struct TlsArguments {
    /// An `ssl.SSLContext`, or True.
    pub(super) ssl: Option<Obj>,
    /// In seconds.
    pub(super) handshake_timeout: Option<Obj>,
    pub(super) shutdown_timeout: Option<Obj>,
}

impl Shown for TlsArguments {
    fn show(&self, visit: &mut Visit<'_>) {
        self.ssl.show(visit);
    }
}

impl TlsArguments {
    /// Whether the connection is to be encrypted.
    pub(super) fn is_wanted(&self, py: Python<'_>) -> PyResult<bool> {
        self.ssl
            .as_ref()
            .map_or(Ok(false), |ssl| ssl.bind(py).is_truthy())
    }

    /// TypeError for True, which leaves open what a server shows.
    pub(super) fn check_server(&self, py: Python<'_>) -> PyResult<()> {
        match &self.ssl {
            Some(ssl) if ssl.bind(py).is_instance_of::<PyBool>() => {
                Err(PyTypeError::new_err("ssl argument must be an SSLContext or None"))
            }
            _ => Ok(()),
        }
    }

    /// How the connection is to be made; None for one without TLS.
    pub(super) fn options(
        &self,
        py: Python<'_>,
        server_side: bool,
        server_hostname: Option<Obj>,
    ) -> PyResult<Option<Options>> {
        if !self.is_wanted(py)? {
            return Ok(None);
        }
        let context = self
            .ssl
            .clone()
            .filter(|ssl| !ssl.bind(py).is_instance_of::<PyBool>());
        Ok(Some(Options {
            context,
            server_side,
            server_hostname,
            handshake_timeout: self.handshake_timeout.clone(),
            shutdown_timeout: self.shutdown_timeout.clone(),
        }))
    }

    /// ValueError for timeouts of TLS without TLS.
    pub(super) fn check_timeouts(&self, ssl: bool) -> PyResult<()> {
        check_timeouts(
            ssl,
            self.handshake_timeout.as_ref(),
            self.shutdown_timeout.as_ref(),
        )
    }
}

fn check_timeouts(
    ssl: bool,
    handshake_timeout: Option<&Obj>,
    shutdown_timeout: Option<&Obj>,
) -> PyResult<()> {
    if ssl {
        return Ok(());
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
