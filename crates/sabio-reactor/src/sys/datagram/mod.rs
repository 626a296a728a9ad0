//! Many datagrams in one system call: recvmmsg(2), sendmmsg(2), and UDP's segments (udp(7)).
//!
//! Datagrams of one size to one address go through the kernel's network code as one, which is divided again as late as
//! can be (`UDP_SEGMENT`), and such a row is received as one if the socket allows it (`UDP_GRO`). What is sent and
//! received are the same datagrams with the same borders; it only costs a fraction.
//!
//! Invariant: the structures that the kernel is given point into memory of the same object or of the same call, and
//! are filled anew before each call, so none of them outlives what it points to.

mod receive;
mod send;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

pub use receive::{Datagram, ReceiveBatch};
pub use send::send_batch;

/// So many datagrams are sent at most in one call, and so many, or rows of them, received.
pub const MOST_DATAGRAMS: usize = 64;

/// Whether this socket can send rows of datagrams as one: one of UDP, on Linux 4.18 or newer.
#[must_use]
pub fn can_send_rows(fd: BorrowedFd<'_>) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    // An older kernel would not refuse to send a row but make one datagram of it. One that does not know the option
    // says so here.
    // SAFETY: the value and its length are valid for writing, and the length is that of the value.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    answer == 0
}

/// Lets a socket of UDP receive rows of datagrams as one. From then on only [`ReceiveBatch`] can tell the datagrams
/// apart, so whoever else reads from the socket gets the row as a whole.
///
/// # Errors
/// `ENOPROTOOPT` for other sockets and before Linux 5.0.
pub fn receive_rows(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is valid for reading, and the length is its own.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Memory for one control message with a number, aligned for its header.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_SIZE]);

/// `CMSG_SPACE(sizeof(int))`: a header of a length and two numbers, and the number.
const CONTROL_SIZE: usize = 24;

impl Control {
    const EMPTY: Control = Control([0; CONTROL_SIZE]);
}

/// A call's count, made again when a signal has interrupted it.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
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
