//! What a thread of ours does first: leave signals to the threads of the program.

use std::mem::MaybeUninit;
use std::ptr;

/// Blocks every signal in the calling thread, so that the kernel delivers the process's signals to
/// a thread that expects them and its `epoll_wait` is the one that they interrupt.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset(3) fills the set that it is given, which is ours, and cannot fail with a valid
    // pointer; pthread_sigmask(3) then reads it and changes nothing but this thread's own mask.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}
