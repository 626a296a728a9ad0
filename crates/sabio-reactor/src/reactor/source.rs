//! Sources: descriptors with an owner, known by their token.
//!
//! The owner registers its descriptor, changes its interest as it goes, and deregisters it in the
//! same breath in which it closes it. The kernel knows no descriptor whose interest is `NONE`: one that is
//! registered for nothing would still report hangups, over and over. The exception is what rests after
//! reporting once, when a future has waited for it: that is silent, and is woken in the place of being added.

use std::io;
use std::os::fd::RawFd;

use super::Reactor;
use super::table::{Entry, Table};
use crate::interest::Interest;
use crate::sys::Poller;
use crate::token::Token;

pub(super) struct Source<S> {
    /// The descriptor, or [`ORPHAN`].
    pub(super) fd: RawFd,
    pub(super) interest: Interest,
    /// Whether the kernel knows the descriptor: while there is an interest, or while it rests.
    known: bool,
    pub(super) source: S,
}

/// In place of a descriptor that was closed without the owner's knowledge and belongs to another
/// source by now: the former owner's calls must not reach it any more.
pub(super) const ORPHAN: RawFd = -1;

impl<S: Clone, H: Clone> Reactor<S, H> {
    /// Registers `fd` for its owner, which must keep it open until it has called
    /// [`deregister`](Self::deregister).
    ///
    /// Whatever else was registered under this number is stale, or is taken over: handles of watches on
    /// it are dropped, and futures that waited for it fail with `EBADF`.
    ///
    /// # Errors
    /// `EPERM` for a file that is always ready (a regular file), `EBADF` for a closed descriptor or a closed
    /// reactor, `ENOMEM`, `ENOSPC`. The source is dropped then.
    pub fn register(&self, fd: RawFd, interest: Interest, source: S) -> io::Result<Token> {
        let mut table = self.table.borrow_mut();
        let result = self.register_in(&mut table, fd, interest, source);
        drop(table);
        let (token, displaced) = match result {
            Ok(registered) => registered,
            Err((error, entry)) => {
                drop(entry);
                return Err(error);
            }
        };
        if let Some(displaced) = displaced {
            displaced.release();
        }
        Ok(token)
    }

    /// The new token, and the entry that held the descriptor before; or the error and what was not
    /// registered.
    #[expect(
        clippy::type_complexity,
        reason = "both halves carry what must be dropped later"
    )]
    fn register_in(
        &self,
        table: &mut Table<S, H>,
        fd: RawFd,
        interest: Interest,
        source: S,
    ) -> Result<(Token, Option<Entry<S, H>>), (io::Error, Option<Entry<S, H>>)> {
        let rests = table.watch_of(fd).is_some_and(|(_, watch)| watch.rests());
        let entry = Entry::Source(Source {
            fd,
            interest,
            known: rests || !interest.is_none(),
            source,
        });
        if self.closed.get() || fd < 0 {
            return Err((io::Error::from_raw_os_error(libc::EBADF), Some(entry)));
        }
        let token = table
            .insert(entry)
            .map_err(|(error, entry)| (error, Some(entry)))?;
        let registered = if !interest.is_none() {
            add_or_take_over(&self.poller, fd, token, interest)
        } else if table.token(fd).is_some() && !rests {
            // What is taken over must not go on reporting under its own token.
            self.poller.remove(fd).map(drop)
        } else {
            Ok(())
        };
        if let Err(error) = registered {
            return Err((error, table.remove(token)));
        }
        let displaced = match table.token(fd) {
            Some(before) => match table.source_mut(before) {
                Some(orphan) => {
                    orphan.fd = ORPHAN;
                    orphan.interest = Interest::NONE;
                    orphan.known = false;
                    None
                }
                None => table.remove(before),
            },
            None => None,
        };
        table.hold(fd, token);
        Ok((token, displaced))
    }

    /// Changes what a source wants to hear of. No system call when nothing changes.
    ///
    /// # Errors
    /// `EBADF` when `token` names no source (any more); otherwise those of [`register`](Self::register).
    pub fn set_interest(&self, token: Token, interest: Interest) -> io::Result<()> {
        let mut table = self.table.borrow_mut();
        let source = table
            .source_mut(token)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        if source.interest == interest {
            return Ok(());
        }
        if interest.is_none() {
            self.poller.remove(source.fd)?;
        } else if !source.known {
            self.poller.add(source.fd, token, interest)?;
        } else if source.interest.is_none() {
            modify_or_add(&self.poller, source.fd, token, interest)?;
        } else {
            self.poller.modify(source.fd, token, interest)?;
        }
        source.interest = interest;
        source.known = !interest.is_none();
        Ok(())
    }

    /// What a source wants to hear of; `None` when `token` names no source (any more).
    #[must_use]
    pub fn interest(&self, token: Token) -> Option<Interest> {
        match self.table.borrow().get(token) {
            Some(Entry::Source(source)) => Some(source.interest),
            _ => None,
        }
    }

    /// Forgets a source and gives it back. Must be called before the descriptor is closed; events that
    /// were fetched before reach nobody.
    pub fn deregister(&self, token: Token) -> Option<S> {
        let mut table = self.table.borrow_mut();
        table.source_mut(token)?;
        let Some(Entry::Source(source)) = table.remove(token) else {
            return None;
        };
        if source.known {
            // What the kernel no longer knows is gone already.
            let _ = self.poller.remove(source.fd);
        }
        Some(source.source)
    }

    /// The source that owns the descriptor `fd`, if one does.
    #[must_use]
    pub fn owner_of(&self, fd: RawFd) -> Option<S> {
        let table = self.table.borrow();
        match table.get(table.token(fd)?) {
            Some(Entry::Source(source)) => Some(source.source.clone()),
            _ => None,
        }
    }
}

/// Adds `fd`, or points the registration that it has already at `token`.
pub(super) fn add_or_take_over(
    poller: &Poller,
    fd: RawFd,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    match poller.add(fd, token, interest) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => poller.modify(fd, token, interest),
        result => result,
    }
}

/// Points the registration of `fd` at `token`, or adds it: the user may have closed the file that the kernel knew.
fn modify_or_add(poller: &Poller, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
    match poller.modify(fd, token, interest) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => poller.add(fd, token, interest),
        result => result,
    }
}
