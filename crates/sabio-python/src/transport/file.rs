//! A stream while a file goes out through it by sendfile(2): nothing else may be written, nothing is read.
//!
//! The transport waits for its descriptor as it does for its own data, and whoever sends the file
//! (`event_loop::sendfile`) is told when it takes more, or when there is no connection any more. Invariant: one file at a
//! time, and only while a [`FileSender`] lives; its drop puts everything back.

use std::cell::Cell;
use std::os::fd::RawFd;

use pyo3::exceptions::{PyConnectionError, PyRuntimeError};
use pyo3::prelude::*;
use sabio_sync::oneshot::{Sender, channel};

use super::stream::Stream;
use super::{reading, write};
use crate::ffi::{Ref, Visit};
use crate::held::Shown;
use crate::waker::visit_sender;

/// Whether a file is on its way, and who is to be told when the descriptor takes more.
#[derive(Default)]
pub(super) struct FileState {
    active: Cell<bool>,
    waiter: Cell<Option<Sender<()>>>,
}

impl FileState {
    /// Whether a file is on its way.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.active.get()
    }

    /// Shows who is to be told.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit_sender(&self.waiter, visit);
    }

    /// The descriptor takes more, or is closed.
    #[inline]
    pub(super) fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.send(());
        }
    }
}

/// The right to send a file through a transport.
pub(crate) struct FileSender {
    stream: Ref<Stream>,
    resume_reading: bool,
}

impl Shown for FileSender {
    fn show(&self, visit: &mut Visit<'_>) {
        self.stream.show(visit);
    }
}

impl FileSender {
    /// Stops reading and writing. What was written before is still sent first: see [`FileSender::drained`].
    ///
    /// # Errors
    /// RuntimeError if a file is on its way already; OSError of the poller.
    pub(crate) fn begin(stream: &Ref<Stream>, py: Python<'_>) -> PyResult<FileSender> {
        if stream.file.active.replace(true) {
            return Err(PyRuntimeError::new_err("sendfile is in progress already"));
        }
        let sender = FileSender {
            resume_reading: !stream.is_closing() && !stream.reading_paused.get(),
            stream: stream.clone(),
        };
        reading::pause(stream, py)?;
        write::flush_now(stream, py)?;
        Ok(sender)
    }

    /// Waits until everything that was written before is sent.
    ///
    /// # Errors
    /// ConnectionError if the connection is lost before.
    pub(crate) async fn drained(&self) -> PyResult<()> {
        self.check()?;
        while !self.stream.queue.is_empty() {
            self.writable().await?;
        }
        Ok(())
    }

    /// Waits until the descriptor takes more.
    ///
    /// # Errors
    /// ConnectionError if the connection is lost; OSError of the poller.
    pub(crate) async fn writable(&self) -> PyResult<()> {
        self.check()?;
        let (waiter, woken) = channel();
        Python::attach(|py| {
            self.stream.file.waiter.set(Some(waiter));
            self.stream.blocked.set(true);
            self.stream.update_interest(py)
        })?;
        // Only a transport that is gone drops the waiter.
        let _ = woken.await;
        self.check()
    }

    /// The descriptor's number now; negative once it is closed.
    pub(crate) fn number(&self) -> RawFd {
        if self.stream.descriptor.is_open() {
            self.stream.descriptor.number()
        } else {
            -1
        }
    }

    fn check(&self) -> PyResult<()> {
        if self.stream.is_lost() || !self.stream.descriptor.is_open() {
            return Err(PyConnectionError::new_err("Connection is closed by peer"));
        }
        Ok(())
    }
}

impl Drop for FileSender {
    fn drop(&mut self) {
        let stream = &self.stream;
        stream.file.active.set(false);
        drop(stream.file.waiter.take());
        if stream.queue.is_empty() {
            stream.blocked.set(false);
        }
        Python::attach(|py| {
            let mut settled = stream.update_interest(py);
            if self.resume_reading {
                settled = settled.and(reading::resume(stream, py));
            }
            if let Err(error) = settled {
                error.write_unraisable(py, Some(stream.bind(py)));
            }
        });
    }
}
