//! One read from a descriptor, into the object that the protocol or the reader gets.
//!
//! Small reads go through the loop's buffer into an object of the right size, large ones straight into an object that is
//! cut afterwards. Which of the two the next one is depends on what came last: see [`LARGE`].

use std::io;

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

/// Receives a new `bytes` object, and says in `size` how long it is: 0 at the end of the stream. `large` says whether
/// much is to be expected.
#[inline]
pub(super) fn receive_bytes<C: Channel>(
    descriptor: &Descriptor,
    py: Python<'_>,
    event_loop: &Loop,
    large: bool,
    size: &mut usize,
) -> PyResult<io::Result<Obj>> {
    if large {
        return receive_large::<C>(descriptor, py, size);
    }
    let mut scratch = event_loop.scratch().borrow_mut();
    match descriptor.borrow().and_then(|fd| C::receive(fd, &mut scratch)) {
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
    size: &mut usize,
) -> PyResult<io::Result<Obj>> {
    recv_into_new_bytes(py, MAX_SIZE, |memory| {
        let count = C::receive_uninit(descriptor.borrow()?, memory)?.len();
        *size = count;
        Ok(count)
    })
}

/// Receives into a reader: how much; 0 at the end of the stream. [`Reader::received`] comes next.
pub(super) fn receive_for_reader<C: Channel>(
    descriptor: &Descriptor,
    py: Python<'_>,
    event_loop: &Loop,
    large: bool,
    reader: &Reader,
) -> PyResult<io::Result<usize>> {
    if large && reader.is_empty() {
        // Straight into the object that who reads next gets.
        let mut size = 0;
        return Ok(receive_large::<C>(descriptor, py, &mut size)?.map(|data| {
            if let Ok(message) = data.bind(py).cast::<PyBytes>() {
                reader.push(message);
            }
            size
        }));
    }
    let mut scratch = event_loop.scratch().borrow_mut();
    match descriptor.borrow().and_then(|fd| C::receive(fd, &mut scratch)) {
        // Neither making bytes nor copying them runs Python code, so the borrow may last.
        Ok(size) => {
            reader.append(py, &scratch[..size])?;
            Ok(Ok(size))
        }
        Err(error) => Ok(Err(error)),
    }
}
