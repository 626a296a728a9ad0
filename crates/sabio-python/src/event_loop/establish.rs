//! From a connected descriptor to a transport whose protocol knows of it. Until then a cancelled caller leaves nothing
//! open.

use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sabio_reactor::socket;
use sabio_sync::oneshot;

use super::Loop;
use crate::asyncio::asyncio;
use crate::awaiter::{Awaiter, cleared};
use crate::ffi::{Obj, Ref, Slot, Visit, call_method, context_copy_current};
use crate::held::Shown;
use crate::names::names;
use crate::transport::tls::{self, Options, Origin, Tls};
use crate::transport::{self, Owner, Parts, Transport, check_unused, close};

/// Closes a transport whose maker did not come to hand it out.
struct Unclaimed<T: Transport>(Slot<Ref<T>>);

impl<T: Transport> Unclaimed<T> {
    /// What was made is taken by who has asked for it.
    fn claim(&self) -> PyResult<Ref<T>> {
        self.0.take().ok_or_else(cleared)
    }
}

impl<T: Transport> Shown for Unclaimed<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        self.0.show(visit);
    }
}

impl<T: Transport> Drop for Unclaimed<T> {
    fn drop(&mut self) {
        // With a closed loop there is nothing left to tell: the transport is as good as collected.
        if let Some(transport) = self
            .0
            .take()
            .filter(|transport| transport.shared().has_open_loop())
        {
            Python::attach(|py| {
                if let Err(error) = close::close(&transport, py) {
                    error.write_unraisable(py, Some(transport.bind(py)));
                }
            });
        }
    }
}

/// Closes a Python socket of which nothing came.
pub(super) struct CloseUnlessKept(pub(super) Option<Obj>);

impl Drop for CloseUnlessKept {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            Python::attach(|py| {
                if let Err(error) = socket.bind(py).call_method0("close") {
                    error.write_unraisable(py, Some(socket.bind(py)));
                }
            });
        }
    }
}

/// Takes over a user's socket.
///
/// # Errors
/// RuntimeError if another transport owns its descriptor, OSError if it is closed.
pub(super) fn take_socket(py: Python<'_>, event_loop: &Ref<Loop>, sock: &Obj) -> PyResult<Owner> {
    let bound = sock.bind(py);
    bound.call_method1("setblocking", (false,))?;
    let fd: RawFd = bound.call_method0("fileno")?.extract()?;
    check_unused(event_loop, bound, fd)?;
    Ok(Owner::Socket(sock.clone(), fd))
}

/// Makes protocol and transport and waits until `connection_made` was called: `(transport, protocol)`. `open` gets what
/// every kind of transport is made of.
pub(super) async fn make<T: Transport>(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    owner: Owner,
    protocol_factory: &Obj,
    open: impl FnOnce(Python<'_>, Parts<'_>) -> PyResult<Ref<T>>,
) -> PyResult<(Ref<T>, Obj)> {
    let (waiter, made) = oneshot::channel();
    let (transport, protocol) = Python::attach(|py| {
        let protocol = match protocol_factory.bind(py).call0() {
            Ok(protocol) => Obj::from(protocol),
            Err(error) => {
                give_back(py, &owner)?;
                return Err(error);
            }
        };
        let parts = Parts {
            event_loop,
            peer: owner.borrow().and_then(socket::peer_address).ok(),
            owner,
            protocol: protocol.clone(),
            context: context_copy_current(py)?,
            server: None,
            waiter: Some(waiter),
        };
        PyResult::Ok((open(py, parts)?, protocol))
    })?;
    let protocol = awaiter.hold(protocol);
    let transport = until_made(awaiter, transport, made).await?;
    Ok((transport, protocol.clone()))
}

/// Waits until `connection_made` was called, and gives the transport back. Whoever is cancelled meanwhile closes it.
pub(super) async fn until_made<T: Transport>(
    awaiter: &Awaiter,
    transport: Ref<T>,
    made: oneshot::Receiver<()>,
) -> PyResult<Ref<T>> {
    let unclaimed = awaiter.hold(Unclaimed(Slot::new(Some(transport))));
    // The sender can only be dropped unused by a loop that is closed, whose tasks are not stepped any more.
    let _ = made.await;
    unclaimed.claim()
}

/// As [`make`], for streams: `(transport, protocol)`, with TLS if `tls` says how.
pub(super) async fn make_connection(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    owner: Owner,
    protocol_factory: &Obj,
    tls: Option<Options>,
) -> PyResult<(Obj, Obj)> {
    match tls {
        None => {
            let (transport, protocol) =
                make(event_loop, awaiter, owner, protocol_factory, transport::open).await?;
            Ok((transport.into_obj(), protocol))
        }
        Some(options) => make_tls(event_loop, awaiter, owner, protocol_factory, options).await,
    }
}

async fn make_tls(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    owner: Owner,
    protocol_factory: &Obj,
    options: Options,
) -> PyResult<(Obj, Obj)> {
    let (transport, protocol, waiter) = Python::attach(|py| {
        let (protocol, tls, waiter) = match prepare_tls(py, event_loop, protocol_factory, options) {
            Ok(prepared) => prepared,
            Err(error) => {
                give_back(py, &owner)?;
                return Err(error);
            }
        };
        let parts = Parts {
            event_loop,
            peer: owner.borrow().and_then(socket::peer_address).ok(),
            owner,
            protocol: tls.lower_protocol(py),
            context: context_copy_current(py)?,
            server: None,
            waiter: None,
        };
        tls.set_lower(transport::open(py, parts)?.bind(py));
        PyResult::Ok((tls, protocol, waiter))
    })?;
    let protocol = awaiter.hold(protocol);
    let transport = until_secure(awaiter, transport, waiter).await?;
    Ok((transport.into_obj(), protocol.clone()))
}

/// The protocol, a TLS transport for it, and the future of its handshake.
fn prepare_tls(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    protocol_factory: &Obj,
    options: Options,
) -> PyResult<(Obj, Ref<Tls>, Obj)> {
    let protocol = Obj::from(protocol_factory.bind(py).call0()?);
    let waiter = call_method(py, event_loop.as_obj(), &names(py)?.create_future, &[])?;
    let context = context_copy_current(py)?;
    let origin = Origin::Opened(waiter.clone());
    let tls = Tls::create(py, event_loop, &protocol, options, context, origin)?;
    Ok((protocol, tls, waiter))
}

/// Waits for the end of the handshake, and gives the transport back. Whoever is cancelled meanwhile ends the connection.
pub(super) async fn until_secure(awaiter: &Awaiter, transport: Ref<Tls>, waiter: Obj) -> PyResult<Ref<Tls>> {
    let unsecured = awaiter.hold(Unsecured(Slot::new(Some(transport))));
    awaiter.wait(waiter).await?;
    unsecured.0.take().ok_or_else(cleared)
}

/// Ends a connection whose handshake nobody waits for any more.
struct Unsecured(Slot<Ref<Tls>>);

impl Shown for Unsecured {
    fn show(&self, visit: &mut Visit<'_>) {
        self.0.show(visit);
    }
}

impl Drop for Unsecured {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take().filter(|transport| transport.has_open_loop()) {
            Python::attach(|py| {
                if let Err(error) = tls::give_up(&transport, py) {
                    error.write_unraisable(py, Some(transport.bind(py)));
                }
            });
        }
    }
}

/// Closes the socket of which no transport was made.
fn give_back(py: Python<'_>, owner: &Owner) -> PyResult<()> {
    if let Owner::Socket(socket, _) = owner {
        socket.bind(py).call_method0("close")?;
    }
    Ok(())
}

pub(super) fn log_debug(py: Python<'_>, event_loop: &Ref<Loop>, format: &str, args: &[&Obj]) -> PyResult<()> {
    if event_loop.debug() {
        let mut all = vec![format.into_pyobject(py)?.into_any()];
        all.extend(args.iter().map(|arg| arg.bind(py).clone()));
        let all = PyTuple::new(py, all)?;
        asyncio(py)?.logger.bind(py).call_method1("debug", all)?;
    }
    Ok(())
}

/// Logs a new datagram endpoint, for debug mode.
pub(super) fn log_datagrams(
    py: Python<'_>,
    local: Option<&Obj>,
    remote: Option<&Obj>,
    transport: &Obj,
    protocol: &Obj,
) -> PyResult<()> {
    let logger = asyncio(py)?.logger.bind(py);
    let remote = remote.map(|remote| remote.bind(py));
    let (transport, protocol) = (transport.bind(py), protocol.bind(py));
    match local {
        Some(local) => {
            let format = "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)";
            logger.call_method1("info", (format, local.bind(py), remote, transport, protocol))?;
        }
        None => {
            let format = "Datagram endpoint remote_addr=%r created: (%r, %r)";
            logger.call_method1("debug", (format, remote, transport, protocol))?;
        }
    }
    Ok(())
}

/// The socket of a transport, as messages name it.
pub(super) fn socket_of(py: Python<'_>, transport: &Obj) -> PyResult<Obj> {
    let socket = transport.bind(py).call_method1("get_extra_info", ("socket",))?;
    Ok(socket.into())
}

/// `(transport, protocol)`.
pub(super) fn pair(py: Python<'_>, transport: &Obj, protocol: &Obj) -> PyResult<Obj> {
    let pair = (transport.bind(py), protocol.bind(py)).into_pyobject(py)?;
    Ok(pair.into())
}
