//! `create_connection` and `connect_accepted_socket` (asyncio: Opening network connections).
//!
//! A socket that is being connected is owned by the future that connects it: when the coroutine is cancelled, that is
//! dropped, the wait is taken out of the reactor and the descriptor closed, in this order.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use pyo3::exceptions::{PyNotImplementedError, PyOSError, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use sabio_reactor::Nanos;
use sabio_reactor::socket::{self, Address, Connect};
use sabio_sync::{oneshot, staggered_race};

use super::Loop;
use super::resolve::{Hints, Info, Place, STREAM, interleave, resolve};
use crate::asyncio::asyncio;
use crate::coroutine::{Awaiter, create_with};
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, context_copy_current};
use crate::os_error::{os_error, with_message};
use crate::transport::{Owner, Parts, Stream, check_unused, close, tcp};

/// The arguments of `create_connection`.
struct Request {
    protocol_factory: Obj,
    host: Option<Obj>,
    port: Option<Obj>,
    ssl: Option<Obj>,
    hints: Hints,
    sock: Option<Obj>,
    local_addr: Option<Obj>,
    server_hostname: Option<Obj>,
    ssl_handshake_timeout: Option<Obj>,
    ssl_shutdown_timeout: Option<Obj>,
    happy_eyeballs_delay: Option<Obj>,
    interleave: Option<Obj>,
    all_errors: bool,
}

/// Given and not None.
pub(super) fn given(value: Option<&Bound<'_, PyAny>>) -> Option<Obj> {
    value.filter(|value| !value.is_none()).map(Obj::from)
}

/// Given, or this number.
pub(super) fn or_number(py: Python<'_>, value: Option<&Bound<'_, PyAny>>, number: i32) -> PyResult<Obj> {
    match value {
        Some(value) => Ok(Obj::from(value)),
        None => Ok(number.into_pyobject(py)?.into_any().into()),
    }
}

fn parse(args: Args<'_, '_>) -> PyResult<Request> {
    let py = args.py();
    let signature = Signature {
        function: "create_connection",
        parameters: [
            "protocol_factory",
            "host",
            "port",
            "ssl",
            "family",
            "proto",
            "flags",
            "sock",
            "local_addr",
            "server_hostname",
            "ssl_handshake_timeout",
            "ssl_shutdown_timeout",
            "happy_eyeballs_delay",
            "interleave",
            "all_errors",
        ],
        required: 1,
        positional: 3,
    };
    let values = args.parse(&signature)?;
    let [
        factory,
        host,
        port,
        ssl,
        family,
        proto,
        flags,
        sock,
        local_addr,
        hostname,
        handshake,
        shutdown,
        delay,
        interleave,
        all,
    ] = values;
    Ok(Request {
        protocol_factory: factory.map_or_else(|| Obj::none(py), Obj::from),
        host: given(host),
        port: given(port),
        ssl: given(ssl),
        hints: Hints {
            family: or_number(py, family, 0)?,
            proto: or_number(py, proto, 0)?,
            flags: or_number(py, flags, 0)?,
        },
        sock: given(sock),
        local_addr: given(local_addr),
        server_hostname: given(hostname),
        ssl_handshake_timeout: given(handshake),
        ssl_shutdown_timeout: given(shutdown),
        happy_eyeballs_delay: given(delay),
        interleave: given(interleave),
        all_errors: all.map_or(Ok(false), |all| all.is_truthy())?,
    })
}

/// TypeError for a socket that `ssl` has wrapped.
pub(super) fn check_ssl_socket(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    // Whoever has made one has imported the module.
    let modules = sock.py().import("sys")?.getattr("modules")?;
    let ssl = modules.call_method1("get", ("ssl",))?;
    if !ssl.is_none() && sock.is_instance(&ssl.getattr("SSLSocket")?)? {
        return Err(PyTypeError::new_err("Socket cannot be of type SSLSocket"));
    }
    Ok(())
}

/// ValueError for a socket that is no stream socket.
pub(super) fn check_stream_socket(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    if sock.getattr("type")?.eq(STREAM)? {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "A Stream Socket was expected, got {}",
        sock.repr()?
    )))
}

/// ValueError for timeouts of TLS without TLS, NotImplementedError for TLS.
pub(super) fn check_ssl(
    method: &str,
    ssl: bool,
    handshake_timeout: Option<&Obj>,
    shutdown_timeout: Option<&Obj>,
) -> PyResult<()> {
    if ssl {
        return Err(PyNotImplementedError::new_err(format!("{method}(ssl=...)")));
    }
    for (name, value) in [
        ("ssl_handshake_timeout", handshake_timeout),
        ("ssl_shutdown_timeout", shutdown_timeout),
    ] {
        if value.is_some() {
            return Err(PyValueError::new_err(format!(
                "{name} is only meaningful with ssl"
            )));
        }
    }
    Ok(())
}

impl Request {
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let ssl = match &self.ssl {
            Some(ssl) => ssl.bind(py).is_truthy()?,
            None => false,
        };
        if self.server_hostname.is_some() && !ssl {
            return Err(PyValueError::new_err(
                "server_hostname is only meaningful with ssl",
            ));
        }
        if self.server_hostname.is_none() && ssl && self.host.is_none() {
            return Err(PyValueError::new_err(
                "You must set server_hostname when using ssl without a host",
            ));
        }
        check_ssl(
            "create_connection",
            ssl,
            self.ssl_handshake_timeout.as_ref(),
            self.ssl_shutdown_timeout.as_ref(),
        )?;
        if let Some(sock) = &self.sock {
            check_ssl_socket(sock.bind(py))?;
            if self.has_address() {
                return Err(PyValueError::new_err(
                    "host/port and sock can not be specified at the same time",
                ));
            }
            check_stream_socket(sock.bind(py))?;
        } else if !self.has_address() {
            return Err(PyValueError::new_err(
                "host and port was not specified and no sock specified",
            ));
        }
        Ok(())
    }

    fn has_address(&self) -> bool {
        self.host.is_some() || self.port.is_some()
    }

    fn place(&self, py: Python<'_>) -> Place {
        let or_none = |value: &Option<Obj>| value.clone().unwrap_or_else(|| Obj::none(py));
        Place::new(or_none(&self.host), or_none(&self.port))
    }

    /// How many addresses of the first family come first; None when they are tried in the order of the answer.
    fn interleaving(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        match &self.interleave {
            Some(count) => {
                let count: i64 = count.bind(py).extract()?;
                Ok(usize::try_from(count).ok().filter(|count| *count > 0))
            }
            None => Ok(self.happy_eyeballs_delay.as_ref().map(|_| 1)),
        }
    }
}

fn empty_answer() -> PyErr {
    PyOSError::new_err("getaddrinfo() returned empty list")
}

/// Resolves and connects to the first address that answers.
async fn connect(event_loop: &Ref<Loop>, awaiter: &Awaiter, request: &Request) -> PyResult<OwnedFd> {
    let place = Python::attach(|py| request.place(py));
    let mut infos = resolve(event_loop, awaiter, place, &request.hints).await?;
    if infos.is_empty() {
        return Err(empty_answer());
    }
    let local = match &request.local_addr {
        None => None,
        Some(address) => {
            let place = Python::attach(|py| Place::from_address(address.bind(py)))?;
            let local = resolve(event_loop, awaiter, place, &request.hints).await?;
            if local.is_empty() {
                return Err(empty_answer());
            }
            Some(local)
        }
    };
    if let Some(count) = Python::attach(|py| request.interleaving(py))? {
        infos = interleave(infos, count);
    }
    let local = local.as_deref();
    let errors = match &request.happy_eyeballs_delay {
        None => {
            let mut errors = Vec::new();
            for info in &infos {
                match connect_one(event_loop, info, local).await {
                    Ok(fd) => return Ok(fd),
                    Err(failed) => {
                        errors.extend(failed);
                        // Anything but an OSError is not about this address.
                        if errors.last().is_some_and(|error| !is_os_error(error)) {
                            break;
                        }
                    }
                }
            }
            errors
        }
        Some(delay) => {
            let seconds: f64 = Python::attach(|py| delay.bind(py).extract())?;
            let delay = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
            let attempts = infos
                .iter()
                .map(|info| connect_one(event_loop, info, local))
                .collect();
            let head_start = || {
                let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                event_loop
                    .reactor()
                    .sleep_until(Nanos(Nanos::now().0.saturating_add(nanos)))
            };
            match staggered_race(attempts, head_start).await {
                Ok(fd) => return Ok(fd),
                Err(errors) => errors.into_iter().flatten().collect(),
            }
        }
    };
    Err(Python::attach(|py| combined(py, errors, request.all_errors)))
}

fn is_os_error(error: &PyErr) -> bool {
    Python::attach(|py| error.is_instance_of::<PyOSError>(py))
}

/// Makes a socket, binds it if asked to, and connects it. The errors are those of the attempts to bind, then the last
/// one; there is at least one.
async fn connect_one(
    event_loop: &Ref<Loop>,
    info: &Info,
    local: Option<&[Info]>,
) -> Result<OwnedFd, Vec<PyErr>> {
    let fail = |error: PyErr| vec![error];
    let fd = socket::socket(info.family, info.socktype, info.proto).map_err(|error| fail(os_error(error)))?;
    let mut errors = Vec::new();
    if let Some(local) = local {
        bind(&fd, info.family, local, &mut errors)?;
    }
    let connected = match &info.native {
        Some(address) => socket::connect(&fd, address).map_err(os_error),
        None => connect_by_python(&fd, &info.address),
    };
    let result = match connected {
        Ok(Connect::Done) => Ok(()),
        Ok(Connect::InProgress) => finish_connect(event_loop, &fd, &info.address).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok(fd),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

/// Waits for the end of a connect.
async fn finish_connect(event_loop: &Ref<Loop>, fd: &OwnedFd, address: &Obj) -> PyResult<()> {
    let reactor = event_loop.reactor().clone();
    reactor.writable(fd.as_raw_fd()).await.map_err(os_error)?;
    socket::take_error(fd).map_err(|error| match error.raw_os_error() {
        Some(code) => {
            let address = Python::attach(|py| {
                let text = address.bind(py).str();
                text.map_or_else(|_| String::new(), |text| text.to_string())
            });
            with_message(code, format!("Connect call failed {address}"))
        }
        None => os_error(error),
    })
}

/// A call on a Python socket that is lent the descriptor: for addresses that only Python can read.
fn with_python_socket<R>(
    py: Python<'_>,
    fd: &OwnedFd,
    call: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<R>,
) -> PyResult<R> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("fileno", fd.as_raw_fd())?;
    let socket = py.import("socket")?.getattr("socket")?.call((), Some(&kwargs))?;
    let result = socket
        .call_method1("setblocking", (false,))
        .and_then(|_| call(&socket));
    socket.call_method0("detach")?;
    result
}

fn connect_by_python(fd: &OwnedFd, address: &Obj) -> PyResult<Connect> {
    Python::attach(|py| {
        let result = with_python_socket(py, fd, |socket| {
            socket.call_method1("connect", (address.bind(py),)).map(|_| ())
        });
        match result {
            Ok(()) => Ok(Connect::Done),
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyBlockingIOError>(py)
                    || error.is_instance_of::<pyo3::exceptions::PyInterruptedError>(py) =>
            {
                Ok(Connect::InProgress)
            }
            Err(error) => Err(error),
        }
    })
}

/// Binds to the first local address of the same family that can be bound to; adds the errors of those that can not.
/// When none can, the errors come back.
fn bind(fd: &OwnedFd, family: i32, local: &[Info], errors: &mut Vec<PyErr>) -> Result<(), Vec<PyErr>> {
    for info in local.iter().filter(|info| info.family == family) {
        let bound = Python::attach(|py| {
            let result = match &info.native {
                Some(address) => socket::bind(fd, address).map_err(os_error),
                None => with_python_socket(py, fd, |socket| {
                    socket.call_method1("bind", (info.address.bind(py),)).map(|_| ())
                }),
            };
            result.map_err(|error| bind_error(py, &info.address, error))
        });
        match bound {
            Ok(()) => return Ok(()),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        errors.push(PyOSError::new_err(format!(
            "no matching local address with family={} found",
            family_text(family)
        )));
    }
    Err(std::mem::take(errors))
}

/// How Python's enumeration of address families describes this one.
fn family_text(family: i32) -> String {
    Python::attach(|py| {
        let class = py.import("socket")?.getattr("AddressFamily")?;
        PyResult::Ok(class.call1((family,))?.repr()?.to_string())
    })
    .unwrap_or_else(|_| family.to_string())
}

/// The error of a bind, with the address in its message.
pub(super) fn bind_error(py: Python<'_>, address: &Obj, error: PyErr) -> PyErr {
    let reworded = || -> PyResult<PyErr> {
        let value = error.value(py);
        let errno = value.getattr("errno")?;
        if errno.is_none() {
            return Ok(error.clone_ref(py));
        }
        // Which words follow the address differs between versions of asyncio.
        let words = if cfg!(Py_3_13) {
            value.str()?.to_string()
        } else {
            value.getattr("strerror")?.str()?.to_string()
        };
        let message = format!(
            "error while attempting to bind on address {}: {}",
            address.bind(py).repr()?,
            words.to_lowercase()
        );
        Ok(with_message(errno.extract()?, message))
    };
    reworded().unwrap_or_else(|error| error)
}

/// What stands for all the errors together.
fn combined(py: Python<'_>, mut errors: Vec<PyErr>, all_errors: bool) -> PyErr {
    if let Some(index) = errors
        .iter()
        .position(|error| !error.is_instance_of::<PyOSError>(py))
    {
        return errors.swap_remove(index);
    }
    if all_errors {
        let list = PyList::new(py, errors.iter().map(|error| error.value(py)));
        return match list.and_then(|list| {
            py.import("builtins")?
                .getattr("ExceptionGroup")?
                .call1(("create_connection failed", list))
        }) {
            Ok(group) => PyErr::from_value(group),
            Err(error) => error,
        };
    }
    let texts: Vec<String> = errors
        .iter()
        .map(|error| {
            error
                .value(py)
                .str()
                .map_or_else(|_| String::new(), |text| text.to_string())
        })
        .collect();
    match texts.first() {
        None => PyTimeoutError::new_err("create_connection failed"),
        Some(model) if texts.iter().all(|text| text == model) => errors.swap_remove(0),
        Some(_) => PyOSError::new_err(format!("Multiple exceptions: {}", texts.join(", "))),
    }
}

/// Closes a transport whose maker did not come to hand it out.
struct Unclaimed(Option<Ref<Stream>>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            Python::attach(|py| {
                if let Err(error) = close::close(&transport, py) {
                    error.write_unraisable(py, Some(transport.bind(py)));
                }
            });
        }
    }
}

/// Takes over a user's socket.
///
/// # Errors
/// RuntimeError if another transport owns its descriptor, OSError if it is closed.
fn take_socket(py: Python<'_>, event_loop: &Ref<Loop>, sock: &Obj) -> PyResult<Owner> {
    let bound = sock.bind(py);
    bound.call_method1("setblocking", (false,))?;
    let fd: RawFd = bound.call_method0("fileno")?.extract()?;
    check_unused(event_loop, bound, fd)?;
    Ok(Owner::Socket(sock.clone(), fd))
}

/// Makes protocol and transport and waits until `connection_made` was called: `(transport, protocol)`.
async fn make_transport(
    event_loop: &Ref<Loop>,
    owner: Owner,
    peer: Option<Address>,
    protocol_factory: &Obj,
) -> PyResult<(Ref<Stream>, Obj)> {
    let (waiter, made) = oneshot::channel();
    let (transport, protocol) = Python::attach(|py| {
        let protocol = match protocol_factory.bind(py).call0() {
            Ok(protocol) => Obj::from(protocol),
            Err(error) => {
                if let Owner::Socket(socket, _) = &owner {
                    socket.bind(py).call_method0("close")?;
                }
                return Err(error);
            }
        };
        let parts = Parts {
            event_loop,
            owner,
            peer,
            protocol: protocol.clone(),
            context: context_copy_current(py)?,
            server: None,
            waiter: Some(waiter),
        };
        PyResult::Ok((tcp::open(py, parts)?, protocol))
    })?;
    let mut unclaimed = Unclaimed(Some(transport.clone()));
    // The sender can only be dropped unused by a loop that is closed, whose tasks are not stepped any more.
    let _ = made.await;
    unclaimed.0 = None;
    Ok((transport, protocol))
}

fn log_debug(py: Python<'_>, event_loop: &Ref<Loop>, format: &str, args: &[&Obj]) -> PyResult<()> {
    if event_loop.debug() {
        let mut all = vec![format.into_pyobject(py)?.into_any()];
        all.extend(args.iter().map(|arg| arg.bind(py).clone()));
        let all = pyo3::types::PyTuple::new(py, all)?;
        asyncio(py)?.logger.bind(py).call_method1("debug", all)?;
    }
    Ok(())
}

fn create_connection(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = parse(args)?;
    let event_loop = slf.clone();
    create_with(args.py(), "Loop.create_connection", |awaiter| async move {
        Python::attach(|py| request.check(py))?;
        let (owner, peer) = match &request.sock {
            Some(sock) => {
                let owner = Python::attach(|py| take_socket(py, &event_loop, sock))?;
                let peer = owner.borrow().and_then(socket::peer_address).ok();
                (owner, peer)
            }
            None => {
                let fd = connect(&event_loop, &awaiter, &request).await?;
                let peer = socket::peer_address(&fd).ok();
                (Owner::Fd(fd), peer)
            }
        };
        let (transport, protocol) =
            make_transport(&event_loop, owner, peer, &request.protocol_factory).await?;
        Python::attach(|py| {
            if event_loop.debug() {
                let none = Obj::none(py);
                let sock = transport
                    .bind(py)
                    .call_method1("get_extra_info", ("socket",))?
                    .into();
                let host = request.host.as_ref().unwrap_or(&none);
                let port = request.port.as_ref().unwrap_or(&none);
                let args = [&sock, host, port, transport.as_obj(), &protocol];
                log_debug(py, &event_loop, "%r connected to %s:%r: (%r, %r)", &args)?;
            }
            Ok((transport.bind(py), protocol.bind(py)).into_pyobject(py)?.into())
        })
    })
}

fn connect_accepted_socket(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let signature = Signature {
        function: "connect_accepted_socket",
        parameters: [
            "protocol_factory",
            "sock",
            "ssl",
            "ssl_handshake_timeout",
            "ssl_shutdown_timeout",
        ],
        required: 2,
        positional: 2,
    };
    let [factory, sock, ssl, handshake, shutdown] = args.parse(&signature)?;
    let factory = factory.map_or_else(|| Obj::none(py), Obj::from);
    let sock = sock.map_or_else(|| Obj::none(py), Obj::from);
    let ssl = given(ssl);
    let (handshake, shutdown) = (given(handshake), given(shutdown));
    let event_loop = slf.clone();
    create_with(py, "Loop.connect_accepted_socket", |_awaiter| async move {
        let owner = Python::attach(|py| {
            check_stream_socket(sock.bind(py))?;
            let ssl = ssl.map_or(Ok(false), |ssl| ssl.bind(py).is_truthy())?;
            check_ssl(
                "connect_accepted_socket",
                ssl,
                handshake.as_ref(),
                shutdown.as_ref(),
            )?;
            check_ssl_socket(sock.bind(py))?;
            take_socket(py, &event_loop, &sock)
        })?;
        let peer = owner.borrow().and_then(socket::peer_address).ok();
        let (transport, protocol) = make_transport(&event_loop, owner, peer, &factory).await?;
        Python::attach(|py| {
            if event_loop.debug() {
                let sock = transport
                    .bind(py)
                    .call_method1("get_extra_info", ("socket",))?
                    .into();
                let args = [&sock, transport.as_obj(), &protocol];
                log_debug(py, &event_loop, "%r handled: (%r, %r)", &args)?;
            }
            Ok((transport.bind(py), protocol.bind(py)).into_pyobject(py)?.into())
        })
    })
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"create_connection",
            c"create_connection($self, protocol_factory, host=None, port=None, *, ssl=None, family=0, proto=0, flags=0, sock=None, local_addr=None, server_hostname=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, happy_eyeballs_delay=None, interleave=None, all_errors=False)\n--\n\nConnect to a TCP server: (transport, protocol). A coroutine.",
            create_connection,
        )
        .method(
            c"connect_accepted_socket",
            c"connect_accepted_socket($self, protocol_factory, sock, *, ssl=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None)\n--\n\nMake a transport of a connection that was accepted elsewhere: (transport, protocol). A coroutine.",
            connect_accepted_socket,
        );
}
