//! How a TLS connection is to be made: what `ssl=` and the arguments beside it say.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::module::ssl_module;
use crate::ffi::{IntoObj, Obj, Visit};

/// How long a handshake may take when nothing else was said, in seconds (asyncio's `SSL_HANDSHAKE_TIMEOUT`).
const HANDSHAKE_TIMEOUT: f64 = 60.0;

/// How long the peer may take to say that it is done, in seconds (asyncio's `SSL_SHUTDOWN_TIMEOUT`).
const SHUTDOWN_TIMEOUT: f64 = 30.0;

/// See the module's notes.
#[derive(Clone)]
pub(crate) struct Options {
    /// An `ssl.SSLContext`; None for the default one of a client.
    pub(crate) context: Option<Obj>,
    pub(crate) server_side: bool,
    /// Whose certificate a client expects; None or empty for anybody's.
    pub(crate) server_hostname: Option<Obj>,
    /// In seconds; None for the usual.
    pub(crate) handshake_timeout: Option<Obj>,
    pub(crate) shutdown_timeout: Option<Obj>,
}

/// Options that were checked, with everything in its place.
pub(super) struct Checked {
    pub(super) context: Obj,
    pub(super) server_side: bool,
    pub(super) server_hostname: Option<Obj>,
    pub(super) handshake_timeout: Obj,
    pub(super) shutdown_timeout: Obj,
}

impl Options {
    /// Shows what it owns to the garbage collector.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        for object in [
            &self.context,
            &self.server_hostname,
            &self.handshake_timeout,
            &self.shutdown_timeout,
        ] {
            visit.option(object.as_ref());
        }
    }

    /// Fills in what is left out.
    ///
    /// # Errors
    /// ValueError for a timeout that is not positive, and for a server without a context; those of
    /// `ssl.create_default_context()`.
    pub(super) fn check(self, py: Python<'_>) -> PyResult<Checked> {
        // Says so if the interpreter has none.
        ssl_module(py)?;
        let handshake_timeout = timeout(
            py,
            "ssl_handshake_timeout",
            self.handshake_timeout,
            HANDSHAKE_TIMEOUT,
        )?;
        let shutdown_timeout = timeout(
            py,
            "ssl_shutdown_timeout",
            self.shutdown_timeout,
            SHUTDOWN_TIMEOUT,
        )?;
        let server_hostname = match self.server_hostname {
            Some(name) if !self.server_side && name.bind(py).is_truthy()? => Some(name),
            _ => None,
        };
        let context = match self.context {
            Some(context) => context,
            None if self.server_side => {
                return Err(PyValueError::new_err("Server side SSL needs a valid SSLContext"));
            }
            None => {
                // Whatever stands there now: programs replace it.
                let context = py.import("ssl")?.call_method0("create_default_context")?;
                if server_hostname.is_none() {
                    context.setattr("check_hostname", false)?;
                }
                context.into()
            }
        };
        Ok(Checked {
            context,
            server_side: self.server_side,
            server_hostname,
            handshake_timeout,
            shutdown_timeout,
        })
    }
}

fn timeout(py: Python<'_>, name: &str, given: Option<Obj>, default: f64) -> PyResult<Obj> {
    let Some(seconds) = given else {
        return default.into_obj(py);
    };
    if seconds.bind(py).le(0)? {
        return Err(PyValueError::new_err(format!(
            "{name} should be a positive number, got {}",
            seconds.bind(py).str()?
        )));
    }
    Ok(seconds)
}
