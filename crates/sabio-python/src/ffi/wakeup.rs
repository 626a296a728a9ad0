//! The interpreter's wakeup descriptor (`signal.set_wakeup_fd`), where Python's own function refuses to serve.

use std::ffi::c_int;
use std::os::fd::RawFd;

use pyo3::prelude::*;

unsafe extern "C" {
    fn PySignal_SetWakeupFd(fd: c_int) -> c_int;
}

/// Sees to it that the interpreter does not write to `fd` any more: from any thread, and whatever was set before.
pub(crate) fn forget_wakeup_fd(_py: Python<'_>, fd: RawFd) {
    // SAFETY: attached. The function swaps a number; the one that is put back was set by somebody else, on whom it is
    // to keep it open.
    unsafe {
        let current = PySignal_SetWakeupFd(-1);
        if current != fd {
            PySignal_SetWakeupFd(current);
        }
    }
}
