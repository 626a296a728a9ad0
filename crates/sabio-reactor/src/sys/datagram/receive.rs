//! Receiving: recvmmsg(2) where several datagrams are expected, recvmsg(2) where it is one.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::{CONTROL_SIZE, Control, MOST_DATAGRAMS, retry};
use crate::socket::Address;
use crate::sys::address::read_address;

/// What one call received.
pub struct ReceiveBatch {
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    memory: Box<[u8]>,
    /// The bytes that one datagram, or one row of them, may have.
    size: usize,
    received: usize,
}

/// One datagram of a [`ReceiveBatch`], or a row of datagrams of one sender.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// What was sent, or the beginning of it where it was longer than the memory for it.
    pub data: &'a [u8],
    /// Who sent it; `None` for a Unix socket without a name.
    pub from: Option<Address>,
    /// In a row, how many bytes each datagram has but for the last, which may be shorter.
    pub row: Option<usize>,
}

impl<'a> Datagram<'a> {
    /// The datagrams of the row, or the only one.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let data = self.data;
        let size = self.row.unwrap_or(data.len()).max(1);
        // An empty datagram is one, too.
        let empty = data.is_empty().then_some(data);
        empty.into_iter().chain(data.chunks(size))
    }
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
            controls: vec![Control::EMPTY; count].into_boxed_slice(),
            memory: vec![0; count * size].into_boxed_slice(),
            size,
            received: 0,
        }
    }

    /// Receives up to `most` of what waits in the socket, and says how many datagrams, or rows of them, that were. Does
    /// not block, whatever the descriptor would have it do.
    ///
    /// # Errors
    /// `WouldBlock` if none waits, and what an earlier datagram has come to (`ECONNREFUSED`), which is told once.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.received = 0;
        let most = most.clamp(1, self.headers.len());
        self.prepare(most);
        let received = if most == 1 {
            self.receive_one(fd)?
        } else {
            // SAFETY: there are `most` headers, and what they point to belongs to `self`, which is borrowed exclusively.
            retry(|| unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    most as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                ) as isize
            })?
        };
        self.received = received.min(most);
        Ok(self.received)
    }

    /// Makes the first `count` headers point to their memory.
    fn prepare(&mut self, count: usize) {
        let pieces = self.memory.chunks_exact_mut(self.size.max(1));
        let places = self
            .headers
            .iter_mut()
            .zip(self.parts.iter_mut())
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut());
        for (piece, (((header, part), name), control)) in pieces.zip(places).take(count) {
            part.iov_base = piece.as_mut_ptr().cast();
            part.iov_len = piece.len();
            header.msg_len = 0;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_SIZE;
        }
    }

    /// Cheaper than a batch of one: the kernel need not look for a second datagram.
    fn receive_one(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(header) = self.headers.first_mut() else {
            return Ok(0);
        };
        // SAFETY: what the header points to belongs to `self`, which is borrowed exclusively.
        let length =
            retry(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header.msg_hdr, libc::MSG_DONTWAIT) })?;
        header.msg_len = length as libc::c_uint;
        Ok(1)
    }

    /// The datagram, or row, `index` of those that the last call received.
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
        let row = row_size(&header.msg_hdr);
        Some(Datagram { data, from, row })
    }
}

/// The size that the kernel gives for the datagrams of a row; `None` for a single one.
fn row_size(header: &libc::msghdr) -> Option<usize> {
    // Nearly always there is no control message at all.
    if header.msg_controllen == 0 {
        return None;
    }
    // SAFETY: the header's control memory is that of the batch, and the kernel has written `msg_controllen` bytes of
    // messages to it, whose headers say how long they are.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            if found.cmsg_level == libc::SOL_UDP && found.cmsg_type == libc::UDP_GRO {
                let size: libc::c_int = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                return usize::try_from(size).ok().filter(|size| *size > 0);
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
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
