//! What a reader has received and nobody has read yet.
//!
//! Most messages are read whole and before the next one comes: such a one stays the `bytes` object that it was received
//! into, and is what the reader gets. Only when more comes before it was read are bytes copied together, into a
//! [`ByteQueue`].
//!
//! Only exact `bytes` get in, so dropping them runs no Python code and may happen while the buffer is borrowed.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sabio_sync::ByteQueue;

use crate::ffi::{Obj, bytes_from_slice, try_to_grow};

/// A message that is mostly read does not keep more memory than this alive, in bytes.
const KEPT_WHOLE: usize = 4096;

/// Unread bytes, oldest first.
#[derive(Default)]
pub(super) struct Buffer {
    /// A `bytes` object, of which the first `taken` bytes are read. While there is one, nothing is in the queue.
    whole: Option<Obj>,
    taken: usize,
    queue: ByteQueue,
}

fn contents<'a, 'py: 'a>(py: Python<'py>, whole: &'a Obj) -> &'a [u8] {
    match whole.bind(py).cast::<PyBytes>() {
        Ok(bytes) => bytes.as_bytes(),
        Err(_) => unreachable!("only bytes are kept"),
    }
}

impl Buffer {
    /// What is unread, in one piece.
    #[inline]
    pub(super) fn as_slice<'a, 'py: 'a>(&'a self, py: Python<'py>) -> &'a [u8] {
        match &self.whole {
            Some(whole) => &contents(py, whole)[self.taken..],
            None => self.queue.as_slice(),
        }
    }

    /// How much is unread, in bytes.
    #[inline]
    pub(super) fn len(&self, py: Python<'_>) -> usize {
        self.as_slice(py).len()
    }

    /// Whether everything was read.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // A whole message that is read to its end is let go.
        self.whole.is_none() && self.queue.is_empty()
    }

    /// Puts a `bytes` object behind what is unread: the object itself, where nothing is. MemoryError.
    #[inline]
    pub(super) fn push(&mut self, message: &Bound<'_, PyBytes>) -> PyResult<()> {
        if self.is_empty() {
            self.hold(message);
            Ok(())
        } else {
            self.extend(message.py(), message.as_bytes())
        }
    }

    /// Puts a `bytes` object itself into the buffer, which is empty.
    #[inline]
    pub(super) fn hold(&mut self, message: &Bound<'_, PyBytes>) {
        if !message.as_bytes().is_empty() {
            self.whole = Some(Obj::from(message));
            self.taken = 0;
        }
    }

    /// Puts a copy behind what is unread: as an object that can be read whole, where nothing is. MemoryError.
    #[inline]
    pub(super) fn append(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        if self.is_empty() {
            if !data.is_empty() {
                self.whole = Some(bytes_from_slice(py, data)?);
                self.taken = 0;
            }
            Ok(())
        } else {
            self.extend(py, data)
        }
    }

    /// Puts a copy behind what is unread. MemoryError, and nothing is put in then.
    pub(super) fn extend(&mut self, py: Python<'_>, more: &[u8]) -> PyResult<()> {
        self.loosen(py)?;
        try_to_grow(|| self.queue.extend(more))
    }

    /// Takes the `count` oldest bytes out; all of them, if there are fewer. MemoryError, and nothing is taken then.
    #[inline]
    pub(super) fn take(&mut self, py: Python<'_>, count: usize) -> PyResult<Obj> {
        if let Some(whole) = &self.whole
            && self.taken == 0
            && count >= contents(py, whole).len()
            && let Some(whole) = self.whole.take()
        {
            return Ok(whole);
        }
        let unread = self.as_slice(py);
        let count = count.min(unread.len());
        let taken = bytes_from_slice(py, &unread[..count])?;
        self.consume(py, count);
        Ok(taken)
    }

    /// Drops the `count` oldest bytes; all of them, if there are fewer.
    pub(super) fn consume(&mut self, py: Python<'_>, count: usize) {
        let Some(whole) = &self.whole else {
            self.queue.consume(count);
            return;
        };
        let size = contents(py, whole).len();
        self.taken = self.taken.saturating_add(count);
        if self.taken >= size {
            self.whole = None;
        } else if size > KEPT_WHOLE && (size - self.taken) * 4 < size {
            // Without memory for the copy, the whole message stays alive.
            let _ = self.loosen(py);
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.whole = None;
        self.queue.clear();
    }

    /// Copies what is unread of a whole message into the queue. MemoryError, and nothing is changed then.
    fn loosen(&mut self, py: Python<'_>) -> PyResult<()> {
        if let Some(whole) = &self.whole {
            let unread = &contents(py, whole)[self.taken..];
            try_to_grow(|| self.queue.extend(unread))?;
            self.whole = None;
        }
        Ok(())
    }
}
