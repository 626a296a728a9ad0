//! Watches: descriptors of the user, with handles and futures that wait for them.
//!
//! Users close such descriptors without telling anyone, and the number soon means another file. So
//! each change of a watch asks the kernel (`modify` fails with `ENOENT` on a number that was reused), and
//! a watch that turns out to be stale is taken out whole: its futures fail with `EBADF` instead of
//! reading another connection's bytes, and its handles are gone.
//!
//! While only futures wait, the kernel is told to report once: the registration then falls silent by
//! itself and stays known, and a loop of waits costs one system call for each.

use std::io;
use std::os::fd::RawFd;
use std::task::Waker as TaskWaker;

use super::Reactor;
use super::source::add_or_take_over;
use super::table::{Entry, Table};
use crate::interest::Interest;
use crate::sys::Poller;
use crate::token::Token;

/// Which way the bytes go.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(super) fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READABLE,
            Self::Write => Interest::WRITABLE,
        }
    }
}

/// How long those who come want to be told.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Futures: the first event is all they want.
    Once,
    /// Handles.
    UntilRemoved,
}

/// A future that waits: its number and its task.
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) waker: TaskWaker,
}

/// Those who wait for one direction of a descriptor.
pub(super) struct Side<H> {
    pub(super) handle: Option<H>,
    /// In the order in which they came.
    pub(super) waiting: Vec<Waiting>,
}

impl<H> Side<H> {
    const fn new() -> Self {
        Self {
            handle: None,
            waiting: Vec::new(),
        }
    }

    fn is_wanted(&self) -> bool {
        self.handle.is_some() || !self.waiting.is_empty()
    }
}

pub(super) struct Watch<H> {
    pub(super) fd: RawFd,
    /// What the kernel reports now; `NONE` also while it rests after reporting once.
    pub(super) armed: Interest,
    /// Whether the kernel knows the descriptor, if the user has not closed it.
    known: bool,
    pub(super) read: Side<H>,
    pub(super) write: Side<H>,
}

impl<H> Watch<H> {
    fn new(fd: RawFd) -> Self {
        Self {
            fd,
            armed: Interest::NONE,
            known: false,
            read: Side::new(),
            write: Side::new(),
        }
    }

    pub(super) fn side(&mut self, direction: Direction) -> &mut Side<H> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether the kernel has reported once and is silent since.
    pub(super) fn rests(&self) -> bool {
        self.known && self.armed.is_none()
    }

    /// Whether the future `number` has not been told yet.
    pub(super) fn waits(&self, direction: Direction, number: u64) -> bool {
        let side = match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        };
        side.waiting.iter().any(|waiting| waiting.number == number)
    }

    /// What the kernel should report for those who wait.
    fn wanted(&self) -> Interest {
        let mut wanted = Interest::NONE;
        if self.read.is_wanted() {
            wanted |= Interest::READABLE;
        }
        if self.write.is_wanted() {
            wanted |= Interest::WRITABLE;
        }
        if self.read.handle.is_none() && self.write.handle.is_none() {
            wanted |= Interest::ONCE;
        }
        wanted
    }

    /// Tells the kernel to report `extra` too.
    ///
    /// Asks even if it does so already: the answer shows whether the number still means the same file.
    fn extend(&mut self, poller: &Poller, token: Token, extra: Interest, mode: Mode) -> io::Result<()> {
        let mut wanted = self.wanted() | extra;
        if mode == Mode::UntilRemoved {
            wanted = wanted.without(Interest::ONCE);
        }
        if self.known {
            poller.modify(self.fd, token, wanted)?;
        } else {
            add_or_take_over(poller, self.fd, token, wanted)?;
            self.known = true;
        }
        self.armed = wanted;
        Ok(())
    }

    /// Tells the kernel what is wanted, if that is less or other than what it reports.
    ///
    /// # Errors
    /// What the kernel says when the descriptor is closed or reused: the watch is stale. So it is with nobody left
    /// who waits: the kernel may go on reporting the closed file, under a token that must not become that of the
    /// next file with this number.
    pub(super) fn reduce(&mut self, poller: &Poller, token: Token) -> io::Result<()> {
        let wanted = self.wanted();
        if wanted.is_none() {
            if !self.armed.is_none() {
                self.armed = Interest::NONE;
                self.known = false;
                if !poller.remove(self.fd)? {
                    return Err(io::Error::from_raw_os_error(libc::ENOENT));
                }
            }
        } else if wanted != self.armed {
            poller.modify(self.fd, token, wanted)?;
            self.armed = wanted;
        }
        Ok(())
    }

    /// Everything of the user's that is in here.
    pub(super) fn scatter(self, handles: &mut Vec<H>, wakers: &mut Vec<TaskWaker>) {
        for side in [self.read, self.write] {
            handles.extend(side.handle);
            wakers.extend(side.waiting.into_iter().map(|waiting| waiting.waker));
        }
    }
}

impl<S, H> Entry<S, H> {
    /// Wakes those who waited for an entry that was taken out, and drops it. Not while anything is borrowed.
    pub(super) fn release(self) {
        if let Self::Watch(watch) = self {
            let (mut handles, mut wakers) = (Vec::new(), Vec::new());
            watch.scatter(&mut handles, &mut wakers);
            wakers.into_iter().for_each(TaskWaker::wake);
        }
    }
}

impl<S: Clone, H: Clone> Reactor<S, H> {
    /// Calls `handle` whenever `fd` is readable (asyncio, "Watching file descriptors": `add_reader`); gives
    /// back the handle that was there before.
    ///
    /// # Errors
    /// `EPERM` for a file that is always ready (a regular file), `EBADF` for a closed descriptor or a
    /// closed reactor, `EEXIST` for one that a source owns, `ENOMEM`, `ENOSPC`.
    pub fn add_reader(&self, fd: RawFd, handle: H) -> io::Result<Option<H>> {
        self.add_handle(fd, Direction::Read, handle)
    }

    /// The same for writing (`add_writer`).
    ///
    /// # Errors
    /// Those of [`add_reader`](Self::add_reader).
    pub fn add_writer(&self, fd: RawFd, handle: H) -> io::Result<Option<H>> {
        self.add_handle(fd, Direction::Write, handle)
    }

    /// Stops calling the reader of `fd` and gives it back. The descriptor may be closed already.
    pub fn remove_reader(&self, fd: RawFd) -> Option<H> {
        self.remove_handle(fd, Direction::Read)
    }

    /// Stops calling the writer of `fd` and gives it back. The descriptor may be closed already.
    pub fn remove_writer(&self, fd: RawFd) -> Option<H> {
        self.remove_handle(fd, Direction::Write)
    }

    /// The descriptor that `token` stands for, while something is registered under it.
    #[must_use]
    pub fn descriptor(&self, token: Token) -> Option<RawFd> {
        self.table.borrow().get(token).map(Entry::fd)
    }

    fn add_handle(&self, fd: RawFd, direction: Direction, handle: H) -> io::Result<Option<H>> {
        let mut handle = Some(handle);
        let mut table = self.table.borrow_mut();
        let (armed, mut stale) = self.arm(&mut table, fd, direction.interest(), Mode::UntilRemoved);
        if let Ok(token) = armed
            && let Some(watch) = table.watch_mut(token)
        {
            std::mem::swap(&mut watch.side(direction).handle, &mut handle);
        }
        drop(table);
        if let Some(Entry::Watch(watch)) = &mut stale
            && armed.is_ok()
        {
            // The user's number was reused: the handle to give back is the one of the closed file.
            handle = watch.side(direction).handle.take();
        }
        if let Some(stale) = stale {
            stale.release();
        }
        armed.map(|_| handle)
    }

    fn remove_handle(&self, fd: RawFd, direction: Direction) -> Option<H> {
        let mut table = self.table.borrow_mut();
        let (token, watch) = table.watch_of(fd)?;
        let handle = watch.side(direction).handle.take()?;
        let stale = match watch.reduce(&self.poller, token) {
            Ok(()) => None,
            Err(_) => table.remove(token),
        };
        drop(table);
        if let Some(stale) = stale {
            stale.release();
        }
        Some(handle)
    }

    /// Makes the kernel report `extra` on `fd`, beside what is wanted already, and says under which watch.
    ///
    /// Also gives out the watch that turned out to be stale, to be released when the table is free.
    pub(super) fn arm(
        &self,
        table: &mut Table<S, H>,
        fd: RawFd,
        extra: Interest,
        mode: Mode,
    ) -> (io::Result<Token>, Option<Entry<S, H>>) {
        if self.closed.get() || fd < 0 {
            return (Err(io::Error::from_raw_os_error(libc::EBADF)), None);
        }
        let token = match table.token(fd) {
            Some(token) => token,
            None => match table.insert(Entry::Watch(Box::new(Watch::new(fd)))) {
                Ok(token) => {
                    table.hold(fd, token);
                    token
                }
                Err((error, entry)) => return (Err(error), Some(entry)),
            },
        };
        let Some(watch) = table.watch_mut(token) else {
            return (Err(io::Error::from_raw_os_error(libc::EEXIST)), None);
        };
        match watch.extend(&self.poller, token, extra, mode) {
            Ok(()) => (Ok(token), None),
            Err(error) => {
                let reused = watch.known && error.raw_os_error() == Some(libc::ENOENT);
                let stale = table.remove(token);
                if !reused {
                    return (Err(error), stale);
                }
                // A fresh watch, which the kernel is not thought to know: this happens once.
                let (armed, _) = self.arm(table, fd, extra, mode);
                (armed, stale)
            }
        }
    }
}
