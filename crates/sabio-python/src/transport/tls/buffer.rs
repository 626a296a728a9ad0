//! The loop's memory for data on its way through an engine: no connection has any of its own.
//!
//! A buffer is taken out while it is used, because callbacks of the `ssl` module may run Python code meanwhile; who needs
//! one just then gets a new one.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use crate::transport::MAX_READ;

/// What is received, and what is decrypted.
#[derive(Default)]
pub(crate) struct Buffers {
    wire: Cell<Option<Box<[u8]>>>,
    plain: Cell<Option<Box<[u8]>>>,
}

impl Buffers {
    /// Memory of `MAX_READ` bytes for what the peer has sent.
    pub(crate) fn wire(&self) -> Taken<'_> {
        Taken::new(&self.wire)
    }

    /// Memory of `MAX_READ` bytes for what is decrypted, or to be encrypted.
    pub(crate) fn plain(&self) -> Taken<'_> {
        Taken::new(&self.plain)
    }
}

/// A buffer that is given back when this is dropped.
pub(crate) struct Taken<'a> {
    home: &'a Cell<Option<Box<[u8]>>>,
    memory: Box<[u8]>,
}

impl<'a> Taken<'a> {
    fn new(home: &'a Cell<Option<Box<[u8]>>>) -> Taken<'a> {
        // Zeroed memory of this size is not touched before it is used.
        let memory = home
            .take()
            .unwrap_or_else(|| vec![0; MAX_READ].into_boxed_slice());
        Taken { home, memory }
    }
}

impl Deref for Taken<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for Taken<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        self.home.set(Some(std::mem::take(&mut self.memory)));
    }
}
