//! The file that a listening Unix socket leaves in the file system (unix(7)), and when it may be removed.
//!
//! Invariant: only a file that is still the one which this socket's bind made is removed after the socket is closed;
//! who has put something else there meanwhile, another server perhaps, keeps it.

use pyo3::exceptions::{PyFileNotFoundError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::asyncio::asyncio;
use crate::ffi::{Obj, Visit};

/// The file of one socket.
pub(super) struct SocketFile {
    path: Obj,
    inode: u64,
}

/// Whether a path or name of a Unix socket stands for a file: not an abstract name, not nothing.
fn is_file(path: &Bound<'_, PyAny>) -> PyResult<bool> {
    // A path need not be text: what could not be decoded is.
    let encoded = path.py().import("os")?.call_method1("fsencode", (path,))?;
    let bytes = encoded.cast::<PyBytes>()?.as_bytes();
    Ok(!matches!(bytes.first(), None | Some(0)))
}

fn log_error(py: Python<'_>, message: &str, path: &Bound<'_, PyAny>, error: &PyErr) -> PyResult<()> {
    let logger = asyncio(py)?.logger.bind(py);
    logger.call_method1("error", (message, path, error.value(py)))?;
    Ok(())
}

/// Removes the file of a socket that nobody listens on any more from the place where one is to be bound. What cannot
/// be looked at or removed is logged: binding will say what is wrong.
pub(super) fn remove_stale(path: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = path.py();
    if !is_file(path)? {
        return Ok(());
    }
    let os = py.import("os")?;
    let removed = os
        .call_method1("stat", (path,))
        .and_then(|status| {
            let mode = status.getattr("st_mode")?;
            py.import("stat")?.call_method1("S_ISSOCK", (mode,))?.is_truthy()
        })
        .and_then(|is_socket| {
            if is_socket {
                os.call_method1("remove", (path,))?;
            }
            Ok(())
        });
    match removed {
        Err(error) if error.is_instance_of::<PyFileNotFoundError>(py) => Ok(()),
        Err(error) if error.is_instance_of::<PyOSError>(py) => {
            let message = "Unable to check or remove stale UNIX socket %r: %r";
            log_error(py, message, path, &error)
        }
        result => result,
    }
}

impl SocketFile {
    /// The file that a bound socket has; None if it has none.
    ///
    /// # Errors
    /// OSError when the file cannot be looked at.
    pub(super) fn of(socket: &Bound<'_, PyAny>) -> PyResult<Option<SocketFile>> {
        let py = socket.py();
        let path = socket.call_method0("getsockname")?;
        if !is_file(&path)? {
            return Ok(None);
        }
        match py.import("os")?.call_method1("stat", (&path,)) {
            Ok(status) => Ok(Some(SocketFile {
                inode: status.getattr("st_ino")?.extract()?,
                path: path.into(),
            })),
            Err(error) if error.is_instance_of::<PyFileNotFoundError>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the file, if it is still this one; logs what is in the way.
    pub(super) fn remove(&self, py: Python<'_>) -> PyResult<()> {
        let os = py.import("os")?;
        let path = self.path.bind(py);
        let removed = os
            .call_method1("stat", (path,))
            .and_then(|status| status.getattr("st_ino")?.extract::<u64>())
            .and_then(|inode| {
                if inode == self.inode {
                    os.call_method1("unlink", (path,))?;
                }
                Ok(())
            });
        match removed {
            Err(error) if error.is_instance_of::<PyFileNotFoundError>(py) => Ok(()),
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                let message = "Unable to clean up listening UNIX socket %r: %r";
                log_error(py, message, path, &error)
            }
            result => result,
        }
    }

    /// Shows what it owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.obj(&self.path);
    }
}
