//! The entries of all descriptors, by token and by descriptor number.
//!
//! Invariants: the number of a descriptor leads to at most one entry, the one that holds it now; an
//! entry's token dies with the entry; and what is taken out of here is handed to the caller, to be
//! dropped when the table is no longer borrowed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::fd::RawFd;
use std::task::Waker;

use super::source::Source;
use super::watch::Watch;
use crate::slab::Slab;
use crate::token::Token;

/// What is registered for a descriptor.
pub(super) enum Entry<S, H> {
    Source(Source<S>),
    /// Boxed, so that a table full of idle connections stays small.
    Watch(Box<Watch<H>>),
}

impl<S, H> Entry<S, H> {
    /// The descriptor that it is, or was, registered for.
    pub(super) fn fd(&self) -> RawFd {
        match self {
            Self::Source(source) => source.fd,
            Self::Watch(watch) => watch.fd,
        }
    }
}

pub(super) struct Table<S, H> {
    entries: Slab<Entry<S, H>>,
    tokens: HashMap<RawFd, Token, BuildHasherDefault<DescriptorHasher>>,
}

impl<S, H> Table<S, H> {
    pub(super) fn new() -> Self {
        Self {
            entries: Slab::new(),
            tokens: HashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The token of the entry that holds `fd` now.
    pub(super) fn token(&self, fd: RawFd) -> Option<Token> {
        self.tokens.get(&fd).copied()
    }

    pub(super) fn get(&self, token: Token) -> Option<&Entry<S, H>> {
        self.entries.get(token)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Entry<S, H>> {
        self.entries.get_mut(token)
    }

    pub(super) fn source_mut(&mut self, token: Token) -> Option<&mut Source<S>> {
        match self.entries.get_mut(token) {
            Some(Entry::Source(source)) => Some(source),
            _ => None,
        }
    }

    pub(super) fn watch(&self, token: Token) -> Option<&Watch<H>> {
        match self.entries.get(token) {
            Some(Entry::Watch(watch)) => Some(watch),
            _ => None,
        }
    }

    pub(super) fn watch_mut(&mut self, token: Token) -> Option<&mut Watch<H>> {
        match self.entries.get_mut(token) {
            Some(Entry::Watch(watch)) => Some(watch),
            _ => None,
        }
    }

    /// The watch on `fd`, if it is watched.
    pub(super) fn watch_of(&mut self, fd: RawFd) -> Option<(Token, &mut Watch<H>)> {
        let token = self.token(fd)?;
        self.watch_mut(token).map(|watch| (token, watch))
    }

    /// Puts in an entry that does not hold a descriptor yet.
    ///
    /// # Errors
    /// `ENOMEM` when no token is left; the entry comes back with it.
    pub(super) fn insert(&mut self, entry: Entry<S, H>) -> Result<Token, (io::Error, Entry<S, H>)> {
        self.entries
            .insert(entry)
            .map_err(|entry| (io::Error::from_raw_os_error(libc::ENOMEM), entry))
    }

    /// Makes `token` the entry that holds `fd`.
    pub(super) fn hold(&mut self, fd: RawFd, token: Token) {
        self.tokens.insert(fd, token);
    }

    /// Takes an entry out, and off its descriptor if it still holds it.
    pub(super) fn remove(&mut self, token: Token) -> Option<Entry<S, H>> {
        let entry = self.entries.remove(token)?;
        let fd = entry.fd();
        if self.token(fd) == Some(token) {
            self.tokens.remove(&fd);
        }
        Some(entry)
    }

    /// Shows every source, every handle and every waker.
    pub(super) fn visit(
        &self,
        source: &mut impl FnMut(&S),
        handle: &mut impl FnMut(&H),
        waker: &mut impl FnMut(&Waker),
    ) {
        for (_, entry) in self.entries.iter() {
            match entry {
                Entry::Source(entry) => source(&entry.source),
                Entry::Watch(watch) => {
                    for side in [&watch.read, &watch.write] {
                        side.handle.iter().for_each(&mut *handle);
                        side.waiting.iter().for_each(|waiting| waker(&waiting.waker));
                    }
                }
            }
        }
    }

    /// Takes every entry out; all tokens are stale from here on.
    pub(super) fn drain(&mut self) -> Vec<Entry<S, H>> {
        let tokens: Vec<Token> = self.entries.iter().map(|(token, _)| token).collect();
        tokens
            .into_iter()
            .filter_map(|token| self.remove(token))
            .collect()
    }
}

/// Descriptor numbers are small, dense and no attacker's choice: one multiplication spreads them.
#[derive(Default)]
struct DescriptorHasher(u64);

impl Hasher for DescriptorHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_i32(&mut self, fd: i32) {
        // The table takes its bucket from the low bits and a check from the high ones.
        let spread = u64::from(fd as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}
