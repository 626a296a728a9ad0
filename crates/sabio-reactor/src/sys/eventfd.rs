//! The counter that wakes a blocked wait, an eventfd(2); under the model checker a model of one.
//!
//! The descriptor sits behind a lock because a waker may outlive the loop: after `close`, a wake-up
//! from another thread must find nothing rather than a number that means another file by now.

#[cfg(not(loom))]
pub(crate) use real::EventFd;

#[cfg(loom)]
pub(crate) use model::EventFd;

#[cfg(not(loom))]
mod real {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::sync::{PoisonError, RwLock};

    use rustix::event::{EventfdFlags, eventfd};

    use crate::sys::ForkMark;

    /// A nonblocking eventfd.
    #[derive(Debug)]
    pub(crate) struct EventFd {
        fd: RwLock<Option<OwnedFd>>,
        process: ForkMark,
    }

    impl EventFd {
        /// # Errors
        /// Those of eventfd(2): `EMFILE`, `ENFILE`, `ENOMEM`.
        pub(crate) fn new() -> io::Result<Self> {
            let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Self {
                fd: RwLock::new(Some(fd)),
                process: ForkMark::new(),
            })
        }

        /// The number to register, while it is open.
        pub(crate) fn descriptor(&self) -> Option<RawFd> {
            self.fd
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(AsRawFd::as_raw_fd)
        }

        /// Makes the descriptor readable.
        ///
        /// There is nothing that a caller could do about a failure, and none is possible but one that
        /// means success: `EAGAIN`, the counter is full, so the descriptor is readable.
        pub(crate) fn signal(&self) {
            // A forked child shares the counter and would wake its parent.
            if self.process.is_inherited() {
                return;
            }
            let fd = self.fd.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(fd) = fd.as_ref() {
                let _ = rustix::io::retry_on_intr(|| rustix::io::write(fd, &1_u64.to_ne_bytes()));
            }
        }

        /// Makes the descriptor unreadable until the next [`signal`](Self::signal).
        pub(crate) fn drain(&self) {
            let fd = self.fd.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(fd) = fd.as_ref() {
                let mut count = [0_u8; 8];
                // EAGAIN says that it was not readable in the first place.
                let _ = rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut count[..]));
            }
        }

        /// Closes the descriptor; later signals are dropped.
        pub(crate) fn close(&self) {
            let guard = if self.process.is_inherited() {
                // Another thread of the parent may have held the lock when it forked.
                self.fd.try_write().ok()
            } else {
                Some(self.fd.write().unwrap_or_else(PoisonError::into_inner))
            };
            let fd = guard.and_then(|mut guard| guard.take());
            drop(fd);
        }
    }
}

#[cfg(loom)]
mod model {
    use std::io;
    use std::os::fd::RawFd;

    use loom::sync::{Condvar, Mutex};

    use crate::primitive::lock;

    /// An eventfd as the model checker sees it: a counter, and a thread that blocks until it is not 0.
    #[derive(Debug)]
    pub(crate) struct EventFd {
        count: Mutex<u64>,
        changed: Condvar,
    }

    impl EventFd {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self {
                count: Mutex::new(0),
                changed: Condvar::new(),
            })
        }

        pub(crate) fn descriptor(&self) -> Option<RawFd> {
            None
        }

        pub(crate) fn signal(&self) {
            *lock(&self.count) += 1;
            self.changed.notify_all();
        }

        pub(crate) fn drain(&self) {
            *lock(&self.count) = 0;
        }

        pub(crate) fn close(&self) {}

        /// Blocks as a poller does that watches nothing but this descriptor.
        pub(crate) fn wait_readable(&self) {
            let mut count = lock(&self.count);
            while *count == 0 {
                count = self
                    .changed
                    .wait(count)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }

        /// The counter: how many signals came since the last drain.
        pub(crate) fn count(&self) -> u64 {
            *lock(&self.count)
        }
    }
}
