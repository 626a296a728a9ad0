//! What a reader has received and nobody has read yet: a [`MessageBuffer`] whose messages are `bytes`.
//!
//! Only exact `bytes` get in, so dropping them runs no Python code and may happen while the buffer is borrowed.

use std::collections::TryReserveError;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sabio_sync::{MessageBuffer, Messages};

use crate::ffi::{Obj, Outcome, Raised, bytes_from_slice, try_to_grow};

/// Unread bytes, oldest first.
pub(super) type Buffer = MessageBuffer<Obj>;

/// Messages are `bytes` of the interpreter's.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'py>(pub(super) Python<'py>);

impl<'py> Messages for Bytes<'py> {
    type Message = Obj;
    type Error = Raised;

    #[inline]
    fn contents<'a>(self, message: &'a Obj) -> &'a [u8]
    where
        'py: 'a,
    {
        match message.bind(self.0).cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes(),
            Err(_) => unreachable!("only bytes are kept"),
        }
    }

    #[inline]
    fn copied(self, contents: &[u8]) -> Outcome<Obj> {
        bytes_from_slice(self.0, contents)
    }

    #[inline]
    fn grow(self, grow: impl FnOnce() -> Result<(), TryReserveError>) -> Outcome<()> {
        Ok(try_to_grow(grow)?)
    }
}
