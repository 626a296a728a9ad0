//! The state of a `StreamReader`: what was received, who waits for more, and whether the transport is paused.
//!
//! The Python object and the coroutines that read share it. Python objects that it holds are shown to the garbage
//! collector by the object, which every coroutine keeps alive. No borrow of the buffer is alive while Python code runs.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::{PyAssertionError, PyNotImplementedError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use super::buffer::{Buffer, Bytes};
use super::wait::{Waiter, Woken};
use crate::ffi::{Obj, ObjCell, Outcome, Ref, Visit, call_method, raising};
use crate::names::names;
use crate::transport::{self, Stream};

/// The limit of a reader for which none was given, in bytes (asyncio: Streams, `open_connection`).
pub(crate) const DEFAULT_LIMIT: usize = 64 * 1024;

/// What a reader knows.
#[derive(Default)]
pub(crate) struct Reader {
    buffer: RefCell<Buffer>,
    /// The `bytearray` that stands for the buffer, while somebody else has it.
    exposed: ObjCell,
    /// The longest message of `readuntil`, and half of what makes the transport pause, in bytes.
    pub(super) limit: Cell<usize>,
    pub(super) eof: Cell<bool>,
    /// Whether the reader has paused its transport.
    pub(super) paused: Cell<bool>,
    pub(super) waiter: Waiter,
    pub(super) exception: ObjCell,
    pub(super) transport: ObjCell,
    pub(super) event_loop: ObjCell,
    pub(super) source_traceback: ObjCell,
}

impl Reader {
    /// Lends the buffer to `body`, which runs no Python code.
    ///
    /// # Errors
    /// BufferError while the buffer is in the hands of somebody who has a view of it.
    #[inline]
    pub(super) fn with_buffer<R>(&self, py: Python<'_>, body: impl FnOnce(&mut Buffer) -> R) -> PyResult<R> {
        if self.exposed.is_none() {
            Ok(body(&mut self.buffer.borrow_mut()))
        } else {
            self.with_exposed(py, body)
        }
    }

    /// The same while somebody has `_buffer`, which is what counts then: what is in there comes in, and goes back.
    #[cold]
    fn with_exposed<R>(&self, py: Python<'_>, body: impl FnOnce(&mut Buffer) -> R) -> PyResult<R> {
        let Some(array) = self.exposed.get() else {
            return Ok(body(&mut self.buffer.borrow_mut()));
        };
        let bound = array.bind(py).cast::<PyByteArray>()?;
        let before = bound.to_vec();
        let mut buffer = Buffer::default();
        buffer.extend(Bytes(py), &before)?;
        let result = body(&mut buffer);
        // One reference is the slot's, one is ours.
        if array.refcount() == 2 {
            self.exposed.set(None);
            *self.buffer.borrow_mut() = buffer;
        } else if buffer.as_slice(Bytes(py)) != before {
            bound.call_method0("clear")?;
            bound.call_method1("extend", (PyBytes::new(py, buffer.as_slice(Bytes(py))),))?;
        }
        Ok(result)
    }

    /// `_buffer`: from now on the bytearray counts, for as long as somebody has it.
    pub(super) fn expose(&self, py: Python<'_>) -> Obj {
        if let Some(array) = self.exposed.get() {
            return array;
        }
        let mut buffer = self.buffer.borrow_mut();
        let array = Obj::from(PyByteArray::new(py, buffer.as_slice(Bytes(py))));
        buffer.clear();
        self.exposed.set(Some(array.clone()));
        array
    }

    /// How much is unread, in bytes.
    #[inline]
    pub(super) fn len(&self, py: Python<'_>) -> PyResult<usize> {
        self.with_buffer(py, |buffer| buffer.len(Bytes(py)))
    }

    /// Raises what `set_exception()` has set.
    #[inline]
    pub(super) fn check(&self, py: Python<'_>) -> PyResult<()> {
        match self.exception.get() {
            None => Ok(()),
            Some(exception) => Err(raising(exception.into_bound(py))),
        }
    }

    /// Takes up to `count` bytes out; lets the transport go on if few enough are left.
    #[inline]
    pub(super) fn take(&self, py: Python<'_>, count: usize) -> PyResult<Obj> {
        let taken = self.with_buffer(py, |buffer| buffer.take(Bytes(py), count))??;
        self.maybe_resume(py)?;
        Ok(taken)
    }

    /// Takes everything out, at the end of the stream.
    pub(crate) fn take_all(&self, py: Python<'_>) -> PyResult<Obj> {
        Ok(self.with_buffer(py, |buffer| buffer.take(Bytes(py), usize::MAX))??)
    }

    /// Lets a paused transport go on when no more is unread than the limit.
    #[inline]
    pub(super) fn maybe_resume(&self, py: Python<'_>) -> PyResult<()> {
        if self.paused.get() && self.len(py)? <= self.limit.get() {
            self.resume(py)?;
        }
        Ok(())
    }

    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        self.paused.set(false);
        let Some(transport) = self.transport.get() else {
            return Ok(());
        };
        match Ref::<Stream>::downcast(transport.bind(py)) {
            Some(stream) => transport::resume_reading(stream, py),
            None => {
                call_method(py, &transport, &names(py)?.resume_reading, &[])?;
                Ok(())
            }
        }
    }

    /// Data has come into the buffer: wakes who waits for it, or pauses the transport when it is too much.
    #[inline]
    pub(crate) fn received(&self, py: Python<'_>) -> PyResult<()> {
        let size = self.len(py)?;
        // Who has said how much is needed would only go to sleep again, and nothing must stop in the meantime.
        if size < self.waiter.wanted() {
            return Ok(());
        }
        self.waiter.wake(py, None)?;
        if size > self.limit.get().saturating_mul(2) && !self.paused.get() {
            return self.pause(py);
        }
        Ok(())
    }

    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let Some(transport) = self.transport.get() else {
            return Ok(());
        };
        let paused = match Ref::<Stream>::downcast(transport.bind(py)) {
            Some(stream) => transport::pause_reading(stream, py),
            None => call_method(py, &transport, &names(py)?.pause_reading, &[])
                .map(drop)
                .map_err(PyErr::from),
        };
        match paused {
            Ok(()) => self.paused.set(true),
            // It cannot be paused: everything is kept, and it is not asked again.
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => self.transport.set(None),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether a transport of ours may put data into the buffer without a call.
    #[inline]
    pub(crate) fn can_receive(&self) -> bool {
        !self.eof.get() && self.exposed.is_none()
    }

    /// Puts a `bytes` object into the buffer, which is empty; [`Reader::received`] comes next. Only where
    /// [`Reader::can_receive`].
    #[inline]
    pub(crate) fn push(&self, message: &Bound<'_, PyBytes>) {
        let py = message.py();
        self.buffer.borrow_mut().hold(Bytes(py), Obj::from(message));
    }

    /// As [`Reader::push`], with a copy. MemoryError.
    #[inline]
    pub(crate) fn append(&self, py: Python<'_>, data: &[u8]) -> Outcome<()> {
        self.buffer.borrow_mut().append(Bytes(py), data)
    }

    /// Whether everything was read. Only where [`Reader::can_receive`].
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.borrow().is_empty()
    }

    /// No more data will come.
    pub(super) fn feed_eof(&self, py: Python<'_>) -> PyResult<()> {
        self.eof.set(true);
        self.waiter.wake(py, None)
    }

    /// Every read raises `exception` from now on, and the one that waits.
    pub(super) fn set_exception(&self, py: Python<'_>, exception: &Obj) -> PyResult<()> {
        self.exception.set(Some(exception.clone()));
        self.waiter.wake(py, Some(exception))
    }

    /// Waits until data or its end comes; `wanted` as for [`Waiter::wait`]. A paused transport goes on.
    ///
    /// # Errors
    /// RuntimeError when somebody waits already; the exception of `set_exception()`.
    pub(super) async fn wait_for_data(&self, function: &str, wanted: usize) -> PyResult<()> {
        if !self.waiter.is_free() {
            return Err(PyRuntimeError::new_err(format!(
                "{function}() called while another coroutine is already waiting for incoming data"
            )));
        }
        if self.eof.get() {
            return Err(PyAssertionError::new_err("_wait_for_data after EOF"));
        }
        // A loss of the connection that came after the data which woke this read: no more will come.
        Python::attach(|py| self.check(py))?;
        if self.paused.get() {
            // Otherwise nothing would ever come.
            Python::attach(|py| self.resume(py))?;
        }
        match self.waiter.wait(wanted).await {
            Woken::ByData => Ok(()),
            Woken::ByException => Python::attach(|py| self.check(py)),
        }
    }

    /// Shows what it owns.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        for slot in [
            &self.exposed,
            &self.exception,
            &self.transport,
            &self.event_loop,
            &self.source_traceback,
        ] {
            visit.slot(slot);
        }
        self.waiter.visit(visit);
    }

    /// Lets go of what may be part of a cycle.
    pub(super) fn clear(&self) {
        self.exception.set(None);
        self.transport.set(None);
        self.event_loop.set(None);
        self.waiter.clear();
    }
}
