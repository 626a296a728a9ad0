//! Bytes that wait to be read: put in at the back, taken from the front.
//!
//! What is inside lies in one piece, so that it can be searched and copied at once. Each byte is
//! moved within the queue a bounded number of times, however small the pieces are in which it is
//! taken out, and a queue that has been emptied keeps next to no memory.

use std::collections::TryReserveError;
use std::fmt;

/// An empty queue gives memory back that is larger than this, in bytes.
const KEPT_CAPACITY: usize = 1024;

/// A first-in, first-out queue of bytes in one piece.
#[derive(Default)]
pub struct ByteQueue {
    bytes: Vec<u8>,
    /// How many bytes at the front have been taken.
    start: usize,
}

impl ByteQueue {
    /// An empty queue, without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
        }
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Puts `more` behind what waits.
    ///
    /// # Errors
    /// When there is no memory for it; nothing was put in then.
    pub fn extend(&mut self, more: &[u8]) -> Result<(), TryReserveError> {
        let room = self.bytes.capacity() - self.bytes.len();
        // Moving what waits costs no more than what was taken since the last time it was moved.
        if room < more.len() && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.try_reserve(more.len())?;
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// Takes the `count` oldest bytes out; all of them, if there are fewer.
    pub fn consume(&mut self, count: usize) {
        if count < self.len() {
            self.start += count;
        } else {
            self.clear();
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.start = 0;
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// How much memory the queue holds, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl fmt::Debug for ByteQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ByteQueue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}
