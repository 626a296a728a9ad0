//! Accepting connections: from a listener that is ready to transports that tell their protocols.
//!
//! No Python socket is made. Where connections come in rows, everything that waits in the listener's queue is taken in one
//! go, up to the backlog. Where they come one by one, one is taken: to look for another, the kernel makes a socket that it
//! throws away, and the poller tells of another in the next turn.
//!
//! A process that is out of descriptors stops listening for a second: what is in the queue stays there meanwhile.

use std::io;
use std::os::fd::OwnedFd;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use sabio_reactor::socket::{self, Address};
use sabio_reactor::{Interest, sys};

use super::server::Server;
use super::{Loop, errors};
use crate::asyncio::asyncio;
use crate::ffi::{
    BaseKind, BoundFunction, FunctionDef, FunctionDefinition, Obj, Ref, base_kind, context_copy,
};
use crate::handle::call_in_context;
use crate::os_error::os_error;
use crate::transport::tls::{Origin, Tls};
use crate::transport::{self, Owner, Parts, address_to_python, transport_socket};

/// How long a process that is out of resources stops accepting, in seconds (asyncio's `ACCEPT_RETRY_DELAY`).
const ACCEPT_RETRY_DELAY: f64 = 1.0;

/// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` of Linux.
const OUT_OF_RESOURCES: [i32; 4] = [24, 23, 105, 12];

/// The listener `index` of a server is ready. SystemExit and KeyboardInterrupt of a protocol factory come back as errors.
pub(crate) fn accept(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    server: &Ref<Server>,
    index: usize,
) -> PyResult<()> {
    let in_rows = event_loop.pace.has_just_started() || server.has_just_accepted(event_loop);
    let most = if in_rows { server.backlog().max(0) } else { 0 };
    if !in_rows {
        event_loop.pace.insist();
    }
    for _ in 0..=most {
        // A protocol factory may have closed the server.
        let Some(fd) = server.listener(index) else {
            return Ok(());
        };
        match sys::borrow(fd).and_then(socket::accept) {
            Ok((socket, peer)) => {
                server.note_accepted(event_loop);
                connected(py, event_loop, server, socket, peer)?;
            }
            // Gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return failed(py, event_loop, server, index, error),
        }
    }
    Ok(())
}

#[cold]
fn failed(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    server: &Ref<Server>,
    index: usize,
    error: io::Error,
) -> PyResult<()> {
    let code = error.raw_os_error();
    let error = os_error(error);
    let socket = match server.socket(py, index)? {
        Some(socket) => transport_socket(py, &socket)?,
        None => return Ok(()),
    };
    let keys = [("socket", &socket)];
    if !code.is_some_and(|code| OUT_OF_RESOURCES.contains(&code)) {
        return errors::exit_or_report(py, event_loop, error, "socket.accept() failed", &keys);
    }
    server.set_interest(index, Interest::NONE)?;
    let resume = BoundFunction::<Resume>::create(py, server.as_obj())?;
    event_loop
        .bind(py)
        .call_method1("call_later", (ACCEPT_RETRY_DELAY, resume.bind(py), py.None()))?;
    let message = "socket.accept() out of system resource";
    errors::report_error(py, event_loop, message, &error, &keys)
}

/// The callback by which a server listens again after it was out of resources.
struct Resume;

static RESUME: FunctionDefinition = FunctionDefinition::new::<Resume>();

impl FunctionDef for Resume {
    const NAME: &'static std::ffi::CStr = c"_resume_accepting";

    fn definition() -> &'static FunctionDefinition {
        &RESUME
    }

    fn call(py: Python<'_>, slf: &Obj, _: &Obj) -> PyResult<Obj> {
        if let Some(server) = Ref::<Server>::downcast(slf.bind(py)) {
            server.resume_accepting()?;
        }
        Ok(Obj::none(py))
    }
}

/// Makes protocol and transport of a new connection. What goes wrong closes the connection and, as in asyncio, is
/// reported in debug mode.
fn connected(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    server: &Ref<Server>,
    socket: OwnedFd,
    peer: Address,
) -> PyResult<()> {
    let Some(factory) = server.protocol_factory() else {
        return Ok(());
    };
    if event_loop.debug() {
        let format = "%r got a new connection from %r";
        let args = (
            format,
            server.bind(py),
            address_to_python(py, &peer)?.into_bound(py),
        );
        asyncio(py)?.logger.bind(py).call_method1("debug", args)?;
    }
    let context = context_copy(py, server.context())?;
    let protocol = match call_in_context(py, &context, &factory, &[]) {
        Ok(protocol) => protocol,
        Err(error) => return not_made(py, event_loop, error, None),
    };
    let tls = match server.tls() {
        Some(options) => {
            let context = context_copy(py, &context)?;
            match Tls::create(py, event_loop, &protocol, options, context, Origin::Accepted) {
                Ok(tls) => Some(tls),
                Err(error) => return not_made(py, event_loop, error, Some(&protocol)),
            }
        }
        None => None,
    };
    let parts = Parts {
        event_loop,
        owner: Owner::Fd(socket),
        peer: Some(peer),
        protocol: tls.map_or_else(|| protocol.clone(), |tls| tls.lower_protocol(py)),
        context,
        server: Some(server),
        waiter: None,
    };
    match transport::open(py, parts) {
        Ok(_) => Ok(()),
        Err(error) => not_made(py, event_loop, error, Some(&protocol)),
    }
}

#[cold]
fn not_made(py: Python<'_>, event_loop: &Ref<Loop>, error: PyErr, protocol: Option<&Obj>) -> PyResult<()> {
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    if !event_loop.debug() {
        return Ok(());
    }
    let context = PyDict::new(py);
    context.set_item("message", "Error on transport creation for incoming connection")?;
    context.set_item("exception", error.value(py))?;
    if let Some(protocol) = protocol {
        context.set_item("protocol", protocol.bind(py))?;
    }
    errors::report(py, event_loop, &context)
}
