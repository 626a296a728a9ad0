//! Many datagrams in one system call: recvmmsg(2) and sendmmsg(2).
//!
//! Invariant: the structures that the kernel is given point into memory of the same object or of the same call, and
//! are filled anew before each call, so none of them outlives what it points to.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::address::{read_address, write_address};
use crate::socket::Address;

/// So many datagrams are received or sent at most in one call.
pub const MOST_DATAGRAMS: usize = 32;

/// What one call received.
pub struct ReceiveBatch {
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    memory: Box<[u8]>,
    /// The bytes that one datagram may have.
    size: usize,
    received: usize,
}

/// One datagram of a [`ReceiveBatch`].
#[derive(Debug)]
pub struct Datagram<'a> {
    /// What was sent, or the beginning of it where it was longer than the memory for it.
    pub data: &'a [u8],
    /// Who sent it; `None` for a Unix socket without a name.
    pub from: Option<Address>,
}

impl ReceiveBatch {
    /// Memory for `count` datagrams of up to `size` bytes. It is not touched before something is received.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Self {
        let count = count.clamp(1, MOST_DATAGRAMS);
        // SAFETY: all three consist of numbers and of pointers that may be null, for which zeroes are valid.
        let (header, part, name) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            headers: vec![header; count].into_boxed_slice(),
            parts: vec![part; count].into_boxed_slice(),
            names: vec![name; count].into_boxed_slice(),
            memory: vec![0; count * size].into_boxed_slice(),
            size,
            received: 0,
        }
    }

    /// Receives what waits in the socket, and says how many datagrams that were. Does not block, whatever the descriptor
    /// would have it do.
    ///
    /// # Errors
    /// `WouldBlock` if none waits, and what an earlier datagram has come to (`ECONNREFUSED`), which is told once.
    pub fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.received = 0;
        let pieces = self.memory.chunks_exact_mut(self.size.max(1));
        let places = self
            .headers
            .iter_mut()
            .zip(self.parts.iter_mut())
            .zip(self.names.iter_mut());
        for (piece, ((header, part), name)) in pieces.zip(places) {
            part.iov_base = piece.as_mut_ptr().cast();
            part.iov_len = piece.len();
            header.msg_len = 0;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let count = self.headers.len() as libc::c_uint;
        // SAFETY: there are `count` headers, and what they point to belongs to `self`, which is borrowed exclusively.
        let received = retry(|| unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })?;
        self.received = received.min(self.headers.len());
        Ok(self.received)
    }

    /// The datagram `index` of those that the last call received.
    #[must_use]
    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        if index >= self.received {
            return None;
        }
        let header = self.headers.get(index)?;
        let length = (header.msg_len as usize).min(self.size);
        let data = self.memory.get(index * self.size..)?.get(..length)?;
        let name = self.names.get(index)?;
        let length = (header.msg_hdr.msg_namelen as usize).min(size_of_val(name));
        // SAFETY: the name has at least `length` bytes.
        let from = unsafe { read_address(ptr::from_ref(name).cast(), length) };
        let from = match from {
            Address::Unnamed => None,
            Address::Other(0) => None,
            from => Some(from),
        };
        Some(Datagram { data, from })
    }
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ReceiveBatch")
            .field("size", &self.size)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// Sends up to [`MOST_DATAGRAMS`] datagrams, each to its address or, without one, to where the socket is connected; says
/// how many were sent. Does not block.
///
/// # Errors
/// What became of the first one: `WouldBlock` when the socket's buffer is full, `EMSGSIZE` when it is too long,
/// `ECONNREFUSED` for an earlier one. What became of a later one is told when it is the first.
pub fn send_batch(fd: BorrowedFd<'_>, datagrams: &[(&[u8], Option<&Address>)]) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; MOST_DATAGRAMS];
    let mut parts = [const { MaybeUninit::<libc::iovec>::zeroed() }; MOST_DATAGRAMS];
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; MOST_DATAGRAMS];
    let mut count = 0;
    let places = headers.iter_mut().zip(parts.iter_mut()).zip(names.iter_mut());
    for (((header, part), name), (data, address)) in places.zip(datagrams) {
        let part = part.write(libc::iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        });
        // SAFETY: a header consists of numbers and of pointers that may be null: zeroes are valid.
        let header = unsafe { header.assume_init_mut() };
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        if let Some(address) = address {
            let Some((storage, length)) = write_address(address) else {
                break;
            };
            header.msg_hdr.msg_name = ptr::from_mut(name.write(storage)).cast();
            header.msg_hdr.msg_namelen = length;
        }
        count += 1;
    }
    if count == 0 && !datagrams.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
    }
    // SAFETY: the first `count` headers are valid, and what they point to lives until the end of this function; the kernel
    // only reads the data.
    retry(|| unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    })
}

/// A call's count, made again when a signal has interrupted it.
fn retry(mut call: impl FnMut() -> libc::c_int) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
