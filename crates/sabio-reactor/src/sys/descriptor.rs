//! A descriptor number as something that system calls can be made with.
//!
//! Users hand the loop plain numbers (`add_reader(7, ...)`, `sock.fileno()`), and nothing ties
//! such a number to an open file. The functions of this crate that take a [`RawFd`] come through here.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// Borrows the descriptor number `fd` for system calls.
///
/// The number need not be open: a system call on a closed one fails with `EBADF`, which is the
/// answer that its caller is owed. What the caller must see to is that the number *means* what it
/// thinks: whoever owns the descriptor keeps it open while the result is in use, or bears that the
/// call reaches the file that got the number since.
///
/// # Errors
/// `EBADF` for a negative number.
pub fn borrow<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not -1, which is all that the type's own representation needs. Nothing is
    // read, mapped or freed through it: it is passed to the kernel, which checks it at each call. That
    // the number means the intended file is the caller's part, as documented above.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

// Miri knows none of these system calls, or not all of what is asked of them.
#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_number_is_a_bad_descriptor() {
        assert_eq!(borrow(-1).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(borrow(i32::MIN).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
