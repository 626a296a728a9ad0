//! Telling a forked child from its parent without a system call per question.
//!
//! The kernel's epoll object is shared with a forked child: a child that removed a descriptor from
//! its copy would remove it from the parent's. A hook that fork(2) runs in the child counts up, and
//! whoever made a [`ForkMark`] before can tell that it is now in another process.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the process that installed the hook and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);
static HOOK: Once = Once::new();

extern "C" fn count_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Remembers the process in which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkMark {
    forks: u32,
}

impl ForkMark {
    /// A mark of this process.
    #[must_use]
    pub fn new() -> Self {
        HOOK.call_once(|| {
            // SAFETY: the handler is a function of this library, which is never unloaded, and it only
            // adds to an atomic, which is allowed in the child of a process with threads. A failure
            // (no memory) leaves the hook out: forks then go unnoticed, which no memory safety rests on.
            unsafe { libc::pthread_atfork(None, None, Some(count_in_child)) };
        });
        Self {
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    /// Whether this is a child, by fork(2), of the process that made the mark.
    #[inline]
    #[must_use]
    pub fn is_inherited(self) -> bool {
        self.forks != FORKS.load(Ordering::Relaxed)
    }

    /// # Errors
    /// An error that says so, in a child of the process that made the mark.
    pub fn check(self) -> io::Result<()> {
        if self.is_inherited() {
            return Err(io::Error::other("this belongs to the process before fork()"));
        }
        Ok(())
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}
