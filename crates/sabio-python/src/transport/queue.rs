//! What a transport still has to send: `bytes` objects in order, the first of them partly sent.
//!
//! Only exact `bytes` get in, so dropping them runs no Python code and may happen while the queue is borrowed. The
//! queue keeps its memory while it is small: a connection that answers one message after the other allocates nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::channel::Channel;
use crate::ffi::{Obj, Visit};

/// The most pieces that one sendmsg(2) takes (`IOV_MAX`).
const MOST_PIECES: usize = 1024;

/// So many pieces are listed without an allocation.
const FEW_PIECES: usize = 16;

/// A queue that grew beyond this many pieces gives its memory back once it is empty.
const KEPT_CAPACITY: usize = 64;

/// How far a send came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Everything is sent.
    Empty,
    /// The kernel takes no more for now.
    Blocked,
}

/// The first piece stands apart: most often it is the only one.
#[derive(Default)]
struct Pieces {
    first: Option<Obj>,
    rest: VecDeque<Obj>,
    /// How much of the first piece is sent.
    offset: usize,
}

/// The data of a transport that is not sent yet.
#[derive(Default)]
pub(super) struct Queue {
    pieces: RefCell<Pieces>,
    size: Cell<usize>,
}

fn data<'a, 'py: 'a>(py: Python<'py>, piece: &'a Obj) -> &'a [u8] {
    match piece.bind(py).cast::<PyBytes>() {
        Ok(bytes) => bytes.as_bytes(),
        Err(_) => unreachable!("only bytes are queued"),
    }
}

impl Queue {
    /// How many bytes wait.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size.get()
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.size.get() == 0
    }

    /// Appends a non-empty piece, of which the first `sent` bytes are sent already. Anything sent means that the
    /// queue was empty.
    #[inline]
    pub(super) fn push(&self, piece: &Bound<'_, PyBytes>, sent: usize) {
        let mut queue = self.pieces.borrow_mut();
        let left = piece.as_bytes().len() - sent;
        if queue.first.is_none() {
            queue.first = Some(Obj::from(piece));
            queue.offset = sent;
        } else {
            queue.rest.push_back(Obj::from(piece));
        }
        self.size.set(self.size.get() + left);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.size.set(0);
        let pieces = self.pieces.take();
        drop(pieces);
    }

    /// Sends from the front until nothing is left or the kernel takes no more.
    ///
    /// # Errors
    /// Those of send(2), other than `WouldBlock`; what was not sent stays.
    pub(super) fn send<C: Channel>(&self, py: Python<'_>, fd: BorrowedFd<'_>) -> io::Result<Progress> {
        let mut queue = self.pieces.borrow_mut();
        while self.size.get() > 0 {
            let (offered, sent) = match queue.send_some::<C>(py, fd) {
                Ok(counts) => counts,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                Err(error) => return Err(error),
            };
            queue.advance(py, sent);
            self.size.set(self.size.get().saturating_sub(sent));
            if sent < offered {
                return Ok(Progress::Blocked);
            }
        }
        Ok(Progress::Empty)
    }

    /// The first piece, how much of it is gone, and whether it is the only one.
    pub(super) fn front(&self) -> Option<(Obj, usize, bool)> {
        let queue = self.pieces.borrow();
        let first = queue.first.clone()?;
        Some((first, queue.offset, queue.rest.is_empty()))
    }

    /// Copies as much as there is room for, and gives how much that is.
    pub(super) fn copy_front(&self, py: Python<'_>, into: &mut [u8]) -> usize {
        let queue = self.pieces.borrow();
        let mut skip = queue.offset;
        let mut filled = 0;
        for piece in queue.first.iter().chain(&queue.rest) {
            let piece = &data(py, piece)[skip..];
            let count = piece.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&piece[..count]);
            filled += count;
            skip = 0;
            if filled == into.len() {
                break;
            }
        }
        filled
    }

    /// Lets go of the first `count` bytes.
    pub(super) fn advance(&self, py: Python<'_>, count: usize) {
        self.pieces.borrow_mut().advance(py, count);
        self.size.set(self.size.get().saturating_sub(count));
    }

    /// The pieces, for those who look at `transport._buffer`.
    pub(super) fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let queue = self.pieces.borrow();
        let list = pyo3::types::PyList::empty(py);
        for (index, piece) in queue.first.iter().chain(&queue.rest).enumerate() {
            let skip = if index == 0 { queue.offset } else { 0 };
            list.append(PyBytes::new(py, &data(py, piece)[skip..]))?;
        }
        Ok(list.into_any())
    }

    /// Shows the pieces to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        if let Ok(queue) = self.pieces.try_borrow() {
            queue
                .first
                .iter()
                .chain(&queue.rest)
                .for_each(|piece| visit.obj(piece));
        }
    }
}

impl Pieces {
    /// One system call: how many bytes were offered and how many of them were taken.
    #[inline]
    fn send_some<C: Channel>(&self, py: Python<'_>, fd: BorrowedFd<'_>) -> io::Result<(usize, usize)> {
        let Some(first) = &self.first else {
            return Ok((0, 0));
        };
        let first = &data(py, first)[self.offset..];
        if self.rest.is_empty() {
            return Ok((first.len(), C::send(fd, first)?));
        }
        self.send_several::<C>(py, fd, first)
    }

    fn send_several<C: Channel>(
        &self,
        py: Python<'_>,
        fd: BorrowedFd<'_>,
        first: &[u8],
    ) -> io::Result<(usize, usize)> {
        let pieces = std::iter::once(first).chain(self.rest.iter().map(|piece| data(py, piece)));
        let count = self.rest.len() + 1;
        if count <= FEW_PIECES {
            let mut list = [IoSlice::new(&[]); FEW_PIECES];
            let mut offered = 0;
            for (place, piece) in list.iter_mut().zip(pieces) {
                *place = IoSlice::new(piece);
                offered += piece.len();
            }
            Ok((offered, C::send_vectored(fd, &list[..count])?))
        } else {
            let list: Vec<_> = pieces.take(MOST_PIECES).map(IoSlice::new).collect();
            let offered = list.iter().map(|piece| piece.len()).sum();
            Ok((offered, C::send_vectored(fd, &list)?))
        }
    }

    /// Lets go of the first `sent` bytes.
    #[inline]
    fn advance(&mut self, py: Python<'_>, sent: usize) {
        let mut left = sent + self.offset;
        self.offset = 0;
        while let Some(first) = &self.first {
            let size = data(py, first).len();
            if left < size {
                self.offset = left;
                return;
            }
            left -= size;
            self.first = self.rest.pop_front();
        }
        if self.rest.capacity() > KEPT_CAPACITY {
            self.rest = VecDeque::new();
        }
    }
}
