//! Signals by pidfd, which reach the process that the descriptor was opened for or none (pidfd_send_signal(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Sends the signal with this number; 0 only looks whether it could be sent.
///
/// # Errors
/// `ESRCH` when the process has been waited for, `EPERM` when it may not be sent a signal, `EINVAL` for a number that is
/// no signal, `ENOSYS` before Linux 5.1.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only: without a pointer to a siginfo_t the kernel fills one as kill(2) does.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
