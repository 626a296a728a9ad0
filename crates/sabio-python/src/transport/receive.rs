//! One read from a descriptor, into the object that the protocol or the reader gets.
//!
//! Small reads go through the loop's buffer into an object of the right size, large ones straight into an object that is
//! cut afterwards. Which of the two the next one is depends on what came last: see [`Amount`].

use std::io;
use std::num::NonZeroU32;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::channel::Channel;
use super::descriptor::Descriptor;
use crate::event_loop::Loop;
use crate::ffi::{Obj, bytes_from_slice, recv_into_new_bytes};
use crate::stream::Reader;

/// The most that one read gives, in bytes: `Transport.max_size` of asyncio.
pub(crate) const MAX_SIZE: usize = 256 * 1024;

/// After a read of this many bytes the next one goes straight into the object that the protocol gets; smaller ones are
/// copied from the loop's buffer, so that no connection holds memory while it is idle.
pub(super) const LARGE: usize = 32 * 1024;

/// The room for messages of a medium size, in bytes. The allocator of the C library has the kernel map and unmap objects of
/// 128 KiB or more, page by page, until it has learnt that they come and go; and it never learns of those that are cut.
const MEDIUM: usize = 120 * 1024;

/// How much is expected of a read, by what the last one gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Amount {
    /// It goes through the loop's buffer.
    #[default]
    Small,
    /// It goes into an object of [`MEDIUM`] bytes.
    Medium,
    /// It goes into an object of [`MAX_SIZE`] bytes.
    Large,
    /// A program has set how much it gives at most, in bytes.
    Set(NonZeroU32),
}

impl Amount {
    /// What to expect after a read of `size` bytes.
    #[inline]
    pub(super) fn after(self, size: usize) -> Amount {
        if let Amount::Set(_) = self {
            self
        } else if size < LARGE {
            Amount::Small
        } else if size < MEDIUM {
            Amount::Medium
        } else {
            Amount::Large
        }
    }

    /// The most that such a read gives, in bytes.
    #[inline]
    pub(super) fn most(self) -> usize {
        match self {
            Amount::Small | Amount::Large => MAX_SIZE,
            Amount::Medium => MEDIUM,
            Amount::Set(most) => most.get() as usize,
        }
    }

    /// Whether it goes straight into an object of its own.
    #[inline]
    fn is_large(self) -> bool {
        match self {
            Amount::Small => false,
            Amount::Medium | Amount::Large => true,
            Amount::Set(most) => most.get() as usize >= LARGE,
        }
    }

    /// What `max_size` says, in bytes.
    pub(super) fn max_size(self) -> usize {
        match self {
            Amount::Set(most) => most.get() as usize,
            _ => MAX_SIZE,
        }
    }

    /// No read gives more than `max_size` from here on. ValueError unless that is a positive number of 32 bits.
    pub(super) fn limited(max_size: &Bound<'_, PyAny>) -> PyResult<Amount> {
        let size: i64 = max_size.extract()?;
        let most = u32::try_from(size).ok().and_then(NonZeroU32::new);
        most.map(Amount::Set).ok_or_else(|| {
            PyValueError::new_err(format!(
                "max_size is the number of bytes that one read gives at most, at least 1 and at most {} (got {size})",
                u32::MAX
            ))
        })
    }
}

/// Receives a new `bytes` object, and says in `size` how long it is: 0 at the end of the stream.
#[inline]
pub(super) fn receive_bytes<C: Channel>(
    descriptor: &Descriptor,
    py: Python<'_>,
    event_loop: &Loop,
    expected: Amount,
    size: &mut usize,
) -> PyResult<io::Result<Obj>> {
    if expected.is_large() {
        return receive_large::<C>(descriptor, py, expected, size);
    }
    let mut scratch = event_loop.scratch().borrow_mut();
    let memory = &mut scratch[..expected.most()];
    match descriptor.borrow().and_then(|fd| C::receive(fd, memory)) {
        Ok(count) => {
            *size = count;
            // Making bytes runs no Python code, so the borrow may last.
            Ok(Ok(bytes_from_slice(py, &scratch[..count])?))
        }
        Err(error) => Ok(Err(error)),
    }
}

fn receive_large<C: Channel>(
    descriptor: &Descriptor,
    py: Python<'_>,
    expected: Amount,
    size: &mut usize,
) -> PyResult<io::Result<Obj>> {
    recv_into_new_bytes(py, expected.most(), |memory| {
        let count = C::receive_uninit(descriptor.borrow()?, memory)?.len();
        *size = count;
        Ok(count)
    })
}

/// There was no memory for what a reader was to receive.
pub(super) enum NoMemory {
    /// To receive into: nothing was read.
    ToReceive(PyErr),
    /// To keep what was received behind what is unread: it is lost.
    ToKeep(PyErr),
}

/// Receives into a reader: how much; 0 at the end of the stream. [`Reader::received`] comes next.
pub(super) fn receive_for_reader<C: Channel>(
    descriptor: &Descriptor,
    py: Python<'_>,
    event_loop: &Loop,
    expected: Amount,
    reader: &Reader,
) -> Result<io::Result<usize>, NoMemory> {
    if expected.is_large() && reader.is_empty() {
        // Straight into the object that who reads next gets.
        let mut size = 0;
        let received =
            receive_large::<C>(descriptor, py, expected, &mut size).map_err(NoMemory::ToReceive)?;
        return Ok(received.map(|data| {
            if let Ok(message) = data.bind(py).cast::<PyBytes>() {
                reader.push(message);
            }
            size
        }));
    }
    let mut scratch = event_loop.scratch().borrow_mut();
    let memory = &mut scratch[..expected.most().min(MAX_SIZE)];
    match descriptor.borrow().and_then(|fd| C::receive(fd, memory)) {
        // Neither making bytes nor copying them runs Python code, so the borrow may last.
        Ok(size) => {
            let kept = reader.append(py, &scratch[..size]);
            kept.map_err(|raised| NoMemory::ToKeep(raised.into()))?;
            Ok(Ok(size))
        }
        Err(error) => Ok(Err(error)),
    }
}
