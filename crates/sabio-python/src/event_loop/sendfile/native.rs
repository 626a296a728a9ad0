//! How far a file has come that goes out by sendfile(2), and its position afterwards.
//!
//! Invariant: however the sending ends, cancelled or failed included, the file's position is behind what was sent. The
//! file is the user's: its number is asked for again before each call, so that nothing of another file is sent when it
//! was closed meanwhile.

use std::io;
use std::os::fd::RawFd;

use pyo3::exceptions::{PyAttributeError, PyConnectionError, PyOverflowError};
use pyo3::prelude::*;
use sabio_reactor::{socket, sys};

use super::not_available;
use crate::ffi::{Obj, call_method};
use crate::names::names;
use crate::os_error::{from_errno, os_error};

/// The most that one call sends, in bytes: what the loop's other work has to wait for.
const MOST: u64 = 1024 * 1024;

/// `ENOTCONN` and `EBADF` of Linux.
const NOT_CONNECTED: i32 = 107;
const BAD_DESCRIPTOR: i32 = 9;

/// What one call came to.
pub(super) enum Attempt {
    /// The end of the file or of what was to be sent is reached.
    Done,
    /// The target takes no more for now.
    Blocked,
    /// There is more to send, and the target takes it; others should have their turn.
    Sent,
}

/// A file that is being sent.
pub(super) struct Sending {
    file: Obj,
    fd: RawFd,
    /// Where to go on, and how much has been sent, in bytes.
    offset: u64,
    sent: u64,
    /// How much is to be sent; to the end of the file where nobody says.
    count: Option<u64>,
    /// How large the file was at first.
    size: u64,
    settled: bool,
}

impl Sending {
    /// A file from `offset` on; None if there is nothing in it.
    ///
    /// # Errors
    /// SendfileNotAvailableError for what is no file of the operating system, OverflowError for numbers beyond all files.
    pub(super) fn open(
        py: Python<'_>,
        file: &Obj,
        offset: &Obj,
        count: Option<&Obj>,
    ) -> PyResult<Option<Sending>> {
        let fd = match number(py, file) {
            Ok(fd) => fd,
            Err(error) if is_no_file(py, &error)? => return Err(not_available(py, "not a regular file")),
            Err(error) => return Err(error),
        };
        let Ok(size) = sys::borrow(fd).and_then(socket::file_size) else {
            return Err(not_available(py, "not a regular file"));
        };
        let count = count.map(|count| clamped(count.bind(py))).transpose()?;
        let count = count.filter(|count| *count > 0);
        if size == 0 && count.is_none() {
            return Ok(None);
        }
        Ok(Some(Sending {
            file: file.clone(),
            fd,
            offset: offset.bind(py).extract::<i64>()?.unsigned_abs(),
            sent: 0,
            count,
            size,
            settled: false,
        }))
    }

    /// Sends what `target` takes.
    ///
    /// # Errors
    /// SendfileNotAvailableError if it fails before anything was sent; OSError afterwards.
    pub(super) fn attempt(&mut self, py: Python<'_>, target: RawFd) -> PyResult<Attempt> {
        if number(py, &self.file)? != self.fd {
            return Err(from_errno(BAD_DESCRIPTOR));
        }
        let left = self.count.map_or(MOST, |count| count - self.sent);
        let (fd, offset, most) = (self.fd, self.offset, left.min(MOST) as usize);
        // Pages that are not in memory are read from the disk within this call. The loop waits for it, but no other
        // thread has to; beside what even a small file costs, letting them in costs nothing.
        let sent = py.detach(|| socket::send_file(sys::borrow(target)?, sys::borrow(fd)?, offset, most));
        let sent = match sent {
            Ok(sent) => sent as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Attempt::Blocked),
            Err(error) => return Err(self.failure(py, error)),
        };
        self.offset += sent;
        self.sent += sent;
        Ok(if sent == 0 || self.count == Some(self.sent) {
            Attempt::Done
        } else if sent < most as u64 && self.offset < self.size {
            // Not the file has ended, so the target is full.
            Attempt::Blocked
        } else {
            Attempt::Sent
        })
    }

    fn failure(&self, py: Python<'_>, error: io::Error) -> PyErr {
        if self.sent == 0 {
            return not_available(py, "os.sendfile call failed");
        }
        if error.raw_os_error() == Some(NOT_CONNECTED) {
            let lost = PyConnectionError::new_err(("socket is not connected", NOT_CONNECTED));
            lost.set_cause(py, Some(os_error(error)));
            return lost;
        }
        os_error(error)
    }

    /// Sets the file's position: how many bytes were sent.
    ///
    /// # Errors
    /// OSError if it has none any more.
    pub(super) fn finish(mut self, py: Python<'_>) -> PyResult<Obj> {
        self.set_position(py)?;
        self.sent
            .into_pyobject(py)
            .map(|sent| sent.into_any().into())
            .map_err(PyErr::from)
    }

    fn set_position(&mut self, py: Python<'_>) -> PyResult<()> {
        if std::mem::replace(&mut self.settled, true) || number(py, &self.file)? != self.fd {
            return Ok(());
        }
        sys::borrow(self.fd)
            .and_then(|fd| socket::seek(fd, self.offset))
            .map_err(os_error)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.settled {
            // Somebody is told of another failure already.
            let _ = Python::attach(|py| self.set_position(py));
        }
    }
}

/// The file's number now.
fn number(py: Python<'_>, file: &Obj) -> PyResult<RawFd> {
    call_method(py, file, &names(py)?.fileno, &[])?.bind(py).extract()
}

/// Whether this is what an object without a descriptor raises.
fn is_no_file(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let unsupported = py.import("io")?.getattr("UnsupportedOperation")?;
    Ok(error.is_instance_of::<PyAttributeError>(py) || error.value(py).is_instance(&unsupported)?)
}

/// A number that is not negative; those beyond all sizes are as good as the largest.
pub(super) fn clamped(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    match value.extract::<i64>() {
        Ok(number) => Ok(number.unsigned_abs()),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(i64::MAX.unsigned_abs()),
        Err(error) => Err(error),
    }
}
