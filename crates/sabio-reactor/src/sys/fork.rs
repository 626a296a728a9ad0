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

// Miri knows none of these system calls, or not all of what is asked of them.
#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::{Events, Interest, Poller, Token};

    /// Runs `child` in a forked process and says whether it returned true.
    fn in_child(child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child makes system calls, reads atomics and allocates, which the C library keeps possible
        // in the child of a process with threads, and leaves by _exit, so that nothing of the parent's is run
        // or flushed twice.
        unsafe {
            let pid = libc::fork();
            assert!(pid >= 0);
            if pid == 0 {
                libc::_exit(i32::from(!child()));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }

    #[test]
    fn a_mark_is_inherited_by_the_child_alone() {
        let mark = ForkMark::new();
        assert!(in_child(|| mark.is_inherited() && !ForkMark::new().is_inherited()));
        assert!(!mark.is_inherited());
        assert!(mark.check().is_ok());
    }

    #[test]
    fn a_child_cannot_wake_its_parent() {
        let waker = crate::Waker::new().unwrap();
        let poller = Poller::new().unwrap();
        poller
            .add(waker.descriptor().unwrap(), Token::WAKER, Interest::READABLE)
            .unwrap();
        assert!(in_child(|| {
            waker.wake();
            true
        }));
        let mut events = Events::new();
        poller.wait(&mut events, Some(Duration::from_millis(5))).unwrap();
        assert!(events.is_empty());
    }

    #[test]
    fn a_child_cannot_change_what_its_parent_watches() {
        let poller = Poller::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        poller
            .add(near.as_raw_fd(), Token::new(1, 1), Interest::READABLE)
            .unwrap();
        let mut events = Events::new();
        assert!(in_child(|| {
            let fd = near.as_raw_fd();
            poller.remove(fd).is_ok() && poller.modify(fd, Token::new(2, 2), Interest::NONE).is_err()
        }));
        far.write_all(b"x").unwrap();
        poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
        assert_eq!(events.get(0).map(|event| event.token), Some(Token::new(1, 1)));
    }
}
