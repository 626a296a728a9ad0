//! Connecting by a Python socket in the place of a bare descriptor: for who watches what sockets do.
//!
//! A hook for auditing events (PEP 578) may refuse a connection, and is told of the socket object; and a program may have
//! put a class of its own in the place of `socket.socket`, or replaced its `connect()`. Then sockets are made, bound and
//! connected by their own methods, as asyncio does it. The object owns the descriptor, and is closed unless a transport
//! gets it. Called by `attempt` and `unix`.

use std::os::fd::RawFd;

use pyo3::prelude::*;
use sabio_reactor::{socket, sys};

use super::Loop;
use super::establish::CloseUnlessKept;
use super::sock_connect::{connect_error, start_connect};
use crate::ffi::{Obj, Ref, is_audited};
use crate::os_error::os_error;
use crate::socket_module::socket_module;
use crate::transport::Owner;

/// Whether somebody watches what sockets do.
#[inline]
pub(super) fn is_watched(py: Python<'_>) -> PyResult<bool> {
    Ok(is_audited(py) || socket_module(py)?.is_connecting_replaced(py)?)
}

/// A connected socket, and what closes it if it is a Python object and no transport is made of it.
pub(super) type Connected = (Owner, CloseUnlessKept);

/// A socket that Python has made.
pub(super) struct PythonSocket {
    socket: Obj,
    fd: RawFd,
    closing: CloseUnlessKept,
}

impl PythonSocket {
    /// A new one, which does not block.
    ///
    /// # Errors
    /// OSError of socket(2), and what whoever watches raises.
    pub(super) fn new(py: Python<'_>, family: i32, socktype: i32, proto: i32) -> PyResult<PythonSocket> {
        let class = py.import("socket")?.getattr("socket")?;
        let socket = Obj::from(class.call1((family, socktype, proto))?);
        let closing = CloseUnlessKept(Some(socket.clone()));
        let bound = socket.bind(py);
        bound.call_method1("setblocking", (false,))?;
        let fd = bound.call_method0("fileno")?.extract()?;
        Ok(PythonSocket { socket, fd, closing })
    }

    /// Binds it.
    pub(super) fn bind(&self, py: Python<'_>, address: &Obj) -> PyResult<()> {
        let bound = self.socket.bind(py);
        bound.call_method1("bind", (address.bind(py),)).map(|_| ())
    }

    /// Connects it.
    ///
    /// # Errors
    /// OSError of connect(2), and what whoever watches raises.
    pub(super) async fn connect(&self, event_loop: &Ref<Loop>, address: &Obj) -> PyResult<()> {
        if Python::attach(|py| start_connect(py, &self.socket, address))? {
            let reactor = event_loop.reactor().clone();
            reactor.writable(self.fd).await.map_err(os_error)?;
            let outcome = sys::borrow(self.fd).and_then(socket::take_error);
            outcome.map_err(|error| Python::attach(|py| connect_error(py, error, address)))?;
        }
        Ok(())
    }

    /// The socket for a transport.
    pub(super) fn into_connected(self) -> Connected {
        (Owner::Socket(self.socket, self.fd), self.closing)
    }
}
