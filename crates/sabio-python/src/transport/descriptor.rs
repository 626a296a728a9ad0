//! The one owner of a transport's descriptor.
//!
//! Either the transport owns the descriptor itself, or a Python socket object does: the user's own (`sock=`), or one
//! that was made because somebody asked for it. Whoever owns it, the descriptor is closed in [`Descriptor::close`],
//! which takes it out of the reactor first. Addresses are looked up when they are asked for, and once more before the
//! descriptor goes, so that they can still be told afterwards.

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use sabio_reactor::socket::{self, Address};
use sabio_reactor::{Interest, Token, sys};

use super::Source;
use crate::event_loop::Loop;
use crate::ffi::{Obj, ObjCell, Ref, Visit};

/// `AF_INET`.
const INTERNET: i32 = 2;

/// Who closes a descriptor.
pub(crate) enum Owner {
    /// The transport.
    Fd(OwnedFd),
    /// A Python socket object, or the file object of a pipe, with the number of its descriptor.
    Socket(Obj, RawFd),
    /// The same where another transport has that descriptor already: with one of our own for the same open file.
    Shared(Obj, RawFd, OwnedFd),
}

impl Owner {
    /// The descriptor for a system call.
    ///
    /// # Errors
    /// `EBADF` for a Python socket that is closed.
    pub(crate) fn borrow(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Owner::Fd(fd) => Ok(fd.as_fd()),
            Owner::Socket(_, fd) => sys::borrow(*fd),
            Owner::Shared(_, _, fd) => Ok(fd.as_fd()),
        }
    }
}

/// A transport's descriptor, registered with the reactor while it is open.
pub(super) struct Descriptor {
    fd: Cell<RawFd>,
    /// The number that it had, for descriptions of a closed transport.
    number: RawFd,
    owned: Cell<Option<OwnedFd>>,
    socket: ObjCell,
    token: Cell<Option<Token>>,
    interest: Cell<Interest>,
    held: Cell<bool>,
    local: OnceCell<Option<Address>>,
    peer: OnceCell<Option<Address>>,
}

impl Descriptor {
    /// Takes the descriptor over. `peer` is the address of the other end, where it is known.
    pub(super) fn new(owner: Owner, peer: Option<Address>) -> Descriptor {
        let (fd, number, owned, socket) = match owner {
            Owner::Fd(fd) => (fd.as_raw_fd(), fd.as_raw_fd(), Some(fd), None),
            Owner::Socket(socket, fd) => (fd, fd, None, Some(socket)),
            Owner::Shared(socket, number, fd) => (fd.as_raw_fd(), number, Some(fd), Some(socket)),
        };
        Descriptor {
            fd: Cell::new(fd),
            number,
            owned: Cell::new(owned),
            socket: ObjCell::new(socket),
            token: Cell::new(None),
            interest: Cell::new(Interest::NONE),
            held: Cell::new(false),
            local: OnceCell::new(),
            peer: peer.map_or_else(OnceCell::new, |peer| OnceCell::from(Some(peer))),
        }
    }

    /// The number that it has or had.
    pub(super) fn number(&self) -> RawFd {
        self.number
    }

    /// Whether it is open.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.fd.get() >= 0
    }

    /// The descriptor for a system call. `EBADF` once it is closed.
    #[inline]
    pub(super) fn borrow(&self) -> io::Result<BorrowedFd<'_>> {
        sys::borrow(self.fd.get())
    }

    /// Makes the transport known to the reactor, in the place of what it was known as before. `held` says whether
    /// the source keeps the transport alive. Nothing once the loop is closed.
    ///
    /// # Errors
    /// Those of [`sabio_reactor::Reactor::register`]; the reactor does not know the descriptor then.
    pub(super) fn register(
        &self,
        event_loop: &Loop,
        source: Source,
        interest: Interest,
        held: bool,
    ) -> io::Result<()> {
        self.interest.set(interest);
        self.held.set(held);
        if event_loop.is_closed() {
            return Ok(());
        }
        let before = self
            .token
            .take()
            .and_then(|token| event_loop.reactor().deregister(token));
        event_loop.expect_events();
        let token = event_loop.reactor().register(self.fd.get(), interest, source)?;
        self.token.set(Some(token));
        drop(before);
        Ok(())
    }

    /// What the reactor reports to the transport.
    pub(super) fn interest(&self) -> Interest {
        self.interest.get()
    }

    /// Whether the reactor keeps the transport alive.
    pub(super) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Whether the reactor knows it all already.
    #[inline]
    pub(super) fn has(&self, interest: Interest, held: bool) -> bool {
        self.interest.get() == interest && self.held.get() == held
    }

    /// Changes what the reactor reports. Nothing once the loop is closed.
    ///
    /// # Errors
    /// Those of [`sabio_reactor::Reactor::set_interest`].
    pub(super) fn set_interest(&self, event_loop: &Loop, interest: Interest) -> io::Result<()> {
        let before = self.interest.replace(interest);
        match self.token.get() {
            Some(token) if !event_loop.is_closed() => {
                if !before.contains(interest) {
                    event_loop.expect_events();
                }
                event_loop.reactor().set_interest(token, interest)
            }
            _ => Ok(()),
        }
    }

    /// Deregisters and closes. Later calls do nothing.
    pub(super) fn close(&self, py: Python<'_>, event_loop: Option<&Ref<Loop>>) -> PyResult<()> {
        if !self.is_open() {
            return Ok(());
        }
        self.local();
        self.peer();
        let source = self.deregister(event_loop);
        drop(self.owned.take());
        let closed = match self.socket.get() {
            Some(socket) => socket.bind(py).call_method0("close").map(|_| ()),
            None => Ok(()),
        };
        drop(source);
        closed
    }

    /// Out of the reactor: what it was known as there, to be dropped when everything is done.
    fn deregister(&self, event_loop: Option<&Ref<Loop>>) -> Option<Source> {
        self.fd.set(-1);
        self.interest.set(Interest::NONE);
        let token = self.token.take()?;
        let event_loop = event_loop.filter(|event_loop| !event_loop.is_inherited())?;
        event_loop.reactor().deregister(token)
    }

    /// Deregisters, and lets go of a user's file without closing it: nothing has come of the transport.
    pub(super) fn abandon(&self, event_loop: Option<&Ref<Loop>>) {
        let source = self.deregister(event_loop);
        drop(self.owned.take());
        self.socket.set(None);
        drop(source);
    }

    /// The Python object that owns the descriptor, while it is open.
    pub(super) fn file(&self) -> Option<Obj> {
        self.socket.get().filter(|_| self.is_open())
    }

    /// The socket's own address.
    pub(super) fn local(&self) -> Option<&Address> {
        self.local
            .get_or_init(|| socket::local_address(self.borrow().ok()?).ok())
            .as_ref()
    }

    /// The address of the other end.
    pub(super) fn peer(&self) -> Option<&Address> {
        self.peer
            .get_or_init(|| socket::peer_address(self.borrow().ok()?).ok())
            .as_ref()
    }

    /// The Python socket. It is made when it is first asked for and owns the descriptor from then on; after the
    /// descriptor was closed it is a closed one.
    pub(super) fn python_socket(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(socket) = self.socket.get() {
            return Ok(socket);
        }
        let class = py.import("socket")?.getattr("socket")?;
        let socket = match self.owned.take() {
            Some(fd) => {
                let kwargs = PyDict::new(py);
                kwargs.set_item("fileno", fd.as_raw_fd())?;
                match class.call((), Some(&kwargs)) {
                    Ok(socket) => {
                        let _ = fd.into_raw_fd();
                        socket
                    }
                    Err(error) => {
                        self.owned.set(Some(fd));
                        return Err(error);
                    }
                }
            }
            None => {
                let family = self.local().map_or(INTERNET, Address::family);
                let socket = class.call1((family,))?;
                socket.call_method0("close")?;
                socket
            }
        };
        self.socket.set(Some(Obj::from(&socket)));
        if self.is_open() {
            // Python's default timeout does not matter to a transport.
            socket.call_method1("setblocking", (false,))?;
        }
        Ok(socket.into())
    }

    /// Shows what it owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.socket);
    }
}
