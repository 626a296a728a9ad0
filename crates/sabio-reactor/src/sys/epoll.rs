//! The epoll(7) backend; `sys/mod.rs` says what it must keep.
//!
//! Timeouts go to the kernel in nanoseconds through epoll_pwait2(2), which rustix calls only when told
//! that the kernel has it for certain. So the first refusal is remembered and milliseconds, rounded up,
//! serve from then on.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::{ForkMark, borrow};
use crate::event::{CAPACITY, Event, Events};
use crate::interest::Interest;
use crate::token::Token;

/// An epoll instance.
#[derive(Debug)]
pub struct Poller {
    /// Locked for reading by every call, for writing by `close` alone: nobody waits for it.
    epoll: RwLock<Option<OwnedFd>>,
    /// Cleared when epoll_pwait2(2) turns out to be missing or forbidden.
    nanosecond_waits: AtomicBool,
    process: ForkMark,
}

type RawEvents = [MaybeUninit<epoll::Event>; CAPACITY];

impl Poller {
    /// A new epoll instance, closed on exec.
    ///
    /// # Errors
    /// Those of epoll_create1(2): `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: RwLock::new(Some(epoll)),
            nanosecond_waits: AtomicBool::new(cfg!(target_pointer_width = "64")),
            process: ForkMark::new(),
        })
    }

    /// Starts to watch `fd`, reporting it as `token`.
    ///
    /// # Errors
    /// `EEXIST` when the file is registered under this number already, `EBADF` when it is closed, `EPERM`
    /// when it cannot be watched (a regular file), `ENOMEM`, `ENOSPC`.
    pub fn add(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.control(fd, |epoll, fd| {
            epoll::add(
                epoll,
                fd,
                epoll::EventData::new_u64(token.to_u64()),
                flags(interest),
            )
        })
    }

    /// Changes the token and the interest of a registered `fd`, and looks whether it is ready now.
    ///
    /// # Errors
    /// `ENOENT` when this number's file is not registered, `EBADF` when it is closed.
    pub fn modify(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.control(fd, |epoll, fd| {
            epoll::modify(
                epoll,
                fd,
                epoll::EventData::new_u64(token.to_u64()),
                flags(interest),
            )
        })
    }

    /// Stops watching `fd`, and says whether the kernel knew it. It is no error that it is closed or was never
    /// registered, nor to call this after [`close`](Self::close) or in a forked child, where it changes nothing
    /// and seems to have been known.
    ///
    /// What the kernel did not know under this number it may go on reporting under its token: the file that was
    /// closed, if it is still open elsewhere.
    ///
    /// # Errors
    /// None that epoll_ctl(2) documents is left; what else the kernel may say is passed on.
    pub fn remove(&self, fd: RawFd) -> io::Result<bool> {
        if self.process.is_inherited() {
            return Ok(true);
        }
        match self.control(fd, |epoll, fd| epoll::delete(epoll, fd)) {
            // EPERM: the number belongs to a file by now that epoll does not take.
            Err(error) if is_gone(&error) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Waits until something is ready, `timeout` has passed or a signal arrived, and puts what is ready
    /// into `events` in place of what was there. `None` waits without end. Blocks the calling thread.
    ///
    /// # Errors
    /// `EBADF` after [`close`](Self::close); an error that says so in a forked child.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.process.check()?;
        let guard = self.epoll.read().unwrap_or_else(PoisonError::into_inner);
        let epoll = guard.as_ref().ok_or(Errno::BADF)?;
        let mut buffer: RawEvents = [const { MaybeUninit::uninit() }; CAPACITY];
        let ready = match self.wait_raw(epoll, &mut buffer, timeout) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for raw in ready {
            events.push(decode(raw));
        }
        Ok(())
    }

    /// Closes the epoll instance; every registration is gone with it. Blocks while another thread waits.
    ///
    /// In a forked child the descriptor stays open if the parent was waiting when it forked: the lock of
    /// that wait is held for good here.
    pub fn close(&self) {
        let guard = if self.process.is_inherited() {
            self.epoll.try_write().ok()
        } else {
            Some(self.epoll.write().unwrap_or_else(PoisonError::into_inner))
        };
        let epoll = guard.and_then(|mut guard| guard.take());
        drop(epoll);
    }

    fn control(
        &self,
        fd: RawFd,
        call: impl FnOnce(BorrowedFd<'_>, BorrowedFd<'_>) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        self.process.check()?;
        let fd = borrow(fd)?;
        let guard = self.epoll.read().unwrap_or_else(PoisonError::into_inner);
        let epoll = guard.as_ref().ok_or(Errno::BADF)?;
        Ok(call(epoll.as_fd(), fd)?)
    }

    fn wait_raw<'b>(
        &self,
        epoll: &OwnedFd,
        buffer: &'b mut RawEvents,
        timeout: Option<Duration>,
    ) -> rustix::io::Result<&'b [epoll::Event]> {
        let timeout = match timeout {
            Some(timeout) if timeout.is_zero() => Some(Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
            Some(timeout) => {
                if self.nanosecond_waits.load(Ordering::Relaxed) {
                    match pwait2(epoll, buffer, timeout) {
                        // Old kernels do not have the call; the sandboxes of some container engines
                        // forbid what they do not know.
                        Err(Errno::NOSYS | Errno::PERM) => {
                            self.nanosecond_waits.store(false, Ordering::Relaxed);
                        }
                        Ok(count) => return Ok(filled(buffer, count)),
                        Err(error) => return Err(error),
                    }
                }
                Some(milliseconds(timeout))
            }
            None => None,
        };
        let (ready, _) = epoll::wait(epoll, &mut buffer[..], timeout.as_ref())?;
        Ok(ready)
    }
}

/// The most that epoll_wait(2) takes, 24 days; a caller with more to wait comes back for the rest.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// `timeout` in whole milliseconds, rounded up so that the wait is not early.
fn milliseconds(timeout: Duration) -> Timespec {
    let millis = timeout
        .min(LONGEST)
        .as_nanos()
        .div_ceil(1_000_000)
        .min(i32::MAX as u128) as i64;
    Timespec {
        tv_sec: millis / 1000,
        tv_nsec: millis % 1000 * 1_000_000,
    }
}

/// epoll_pwait2(2) without a signal mask: how many events were put at the start of `buffer`.
#[cfg(target_pointer_width = "64")]
fn pwait2(epoll: &OwnedFd, buffer: &mut RawEvents, timeout: Duration) -> rustix::io::Result<usize> {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: the kernel writes at most CAPACITY events into `buffer`, which has room for as many:
    // rustix's event has the layout of the kernel's, as it passes such buffers to epoll_wait(2) itself.
    // `timeout` is alive during the call and, on 64-bit targets, laid out as the kernel's. The signal
    // mask is null, so its size (the kernel's, 8) is not used. No pointer is kept.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            buffer.as_mut_ptr(),
            CAPACITY as libc::c_int,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            8_usize,
        )
    };
    usize::try_from(count).map_err(|_| {
        let code = io::Error::last_os_error().raw_os_error();
        Errno::from_raw_os_error(code.unwrap_or(libc::EINVAL))
    })
}

#[cfg(not(target_pointer_width = "64"))]
fn pwait2(_: &OwnedFd, _: &mut RawEvents, _: Duration) -> rustix::io::Result<usize> {
    Err(Errno::NOSYS)
}

/// The events that a wait wrote.
fn filled(buffer: &RawEvents, count: usize) -> &[epoll::Event] {
    let start = &buffer[..count.min(CAPACITY)];
    // SAFETY: the kernel reported that it wrote `count` events to the start of the buffer, and
    // MaybeUninit<T> has the layout of T.
    unsafe { &*(std::ptr::from_ref(start) as *const [epoll::Event]) }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    if interest.is_readable() {
        flags |= epoll::EventFlags::IN;
    }
    if interest.is_writable() {
        flags |= epoll::EventFlags::OUT;
    }
    if interest.contains(Interest::ONCE) {
        flags |= epoll::EventFlags::ONESHOT;
    }
    flags
}

fn decode(raw: &epoll::Event) -> Event {
    // Copied out first: the kernel's structure is packed on x86-64.
    let (flags, data) = (raw.flags, raw.data);
    let hangup = flags.contains(epoll::EventFlags::HUP);
    let error = flags.contains(epoll::EventFlags::ERR);
    Event {
        token: Token::from_u64(data.u64()),
        readable: hangup || error || flags.contains(epoll::EventFlags::IN),
        writable: hangup || error || flags.contains(epoll::EventFlags::OUT),
        hangup,
        error,
    }
}

/// Whether the error says that the descriptor is closed or not registered.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::EBADF | libc::EPERM)
    )
}

// Miri knows none of these system calls, or not all of what is asked of them.
#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up_and_bounded() {
        let cases = [
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(999), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_millis(5), 5),
            (Duration::MAX, i64::from(i32::MAX)),
        ];
        for (timeout, expected) in cases {
            let spec = milliseconds(timeout);
            assert_eq!(spec.tv_sec * 1000 + spec.tv_nsec / 1_000_000, expected);
        }
    }

    #[test]
    fn the_millisecond_way_is_never_early_either() {
        let poller = Poller::new().unwrap();
        poller.nanosecond_waits.store(false, Ordering::Relaxed);
        let mut events = Events::new();
        for micros in [1, 300, 1500, 4999] {
            let timeout = Duration::from_micros(micros);
            let start = std::time::Instant::now();
            poller.wait(&mut events, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout);
        }
    }
}
