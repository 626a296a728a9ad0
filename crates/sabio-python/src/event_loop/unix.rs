//! `create_unix_connection` and `create_unix_server` (asyncio: Opening network connections, Creating network servers):
//! stream sockets with a path or an abstract name instead of a host and a port (unix(7)).

use std::os::fd::AsRawFd;

use pyo3::exceptions::{PyAssertionError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use sabio_reactor::socket::{self, Address, Connect};

use super::Loop;
use super::establish::{CloseUnlessKept, log_debug, make_connection, pair, socket_of, take_socket};
use super::python_socket::{Connected, PythonSocket, is_watched};
use super::resolve::STREAM;
use super::serve::serve;
use super::server::Server;
use super::socket_file::{SocketFile, remove_stale};
use super::stream_arguments::{TlsArguments, given};
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, Visit};
use crate::held::Shown;
use crate::os_error::{os_error, with_message};
use crate::transport::{Owner, unix_address_from_python};

/// `AF_UNIX` and `EADDRINUSE` of Linux.
const UNIX: i32 = 1;
const ADDRESS_IN_USE: i32 = 98;

/// What `create_unix_server` says if nobody says where.
const NO_PLACE: &str = "path was not specified, and no sock specified";

/// Whether the server removes its socket's file when it is closed, if nobody says: asyncio does from 3.13.
const CLEANUP_BY_DEFAULT: bool = cfg!(Py_3_13);

/// The arguments of `create_unix_connection`.
struct Connection {
    protocol_factory: Obj,
    path: Option<Obj>,
    tls: TlsArguments,
    sock: Option<Obj>,
    server_hostname: Option<Obj>,
}

impl Shown for Connection {
    fn show(&self, visit: &mut Visit<'_>) {
        self.protocol_factory.show(visit);
        self.sock.show(visit);
        self.tls.show(visit);
    }
}

impl Connection {
    fn parse(args: Args<'_, '_>) -> PyResult<Connection> {
        let py = args.py();
        let signature = Signature {
            function: "create_unix_connection",
            parameters: [
                "protocol_factory",
                "path",
                "ssl",
                "sock",
                "server_hostname",
                "ssl_handshake_timeout",
                "ssl_shutdown_timeout",
            ],
            required: 1,
            positional: 2,
        };
        let [factory, path, ssl, sock, hostname, handshake, shutdown] = args.parse(&signature)?;
        Ok(Connection {
            protocol_factory: factory.map_or_else(|| Obj::none(py), Obj::from),
            path: given(path),
            tls: TlsArguments {
                ssl: given(ssl),
                handshake_timeout: given(handshake),
                shutdown_timeout: given(shutdown),
            },
            sock: given(sock),
            server_hostname: given(hostname),
        })
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let ssl = self.tls.is_wanted(py)?;
        if let Some(hostname) = &self.server_hostname {
            if !hostname.bind(py).is_instance_of::<PyString>() {
                return Err(PyAssertionError::new_err("server_hostname must be a str or None"));
            }
            if !ssl {
                return Err(PyValueError::new_err(
                    "server_hostname is only meaningful with ssl",
                ));
            }
        } else if ssl {
            return Err(PyValueError::new_err(
                "you have to pass server_hostname when using ssl",
            ));
        }
        self.tls.check_timeouts(ssl)?;
        let (path, sock) = (self.path.as_ref(), self.sock.as_ref());
        check_place(py, path, sock, "no path and sock were specified")
    }

    /// The address that the path or the abstract name stands for.
    fn address(&self, py: Python<'_>) -> PyResult<Address> {
        match &self.path {
            Some(path) => unix_address_from_python(path.bind(py)),
            None => Ok(Address::Unnamed),
        }
    }
}

/// ValueError unless there is either a path or a stream socket of the family; `missing` is what is said if there is
/// neither.
fn check_place(
    py: Python<'_>,
    path: Option<&Obj>,
    sock: Option<&Obj>,
    missing: &'static str,
) -> PyResult<()> {
    match (path, sock) {
        (Some(_), Some(_)) => Err(PyValueError::new_err(
            "path and sock can not be specified at the same time",
        )),
        (Some(_), None) => Ok(()),
        (None, Some(sock)) => check_unix_socket(sock.bind(py)),
        (None, None) => Err(PyValueError::new_err(missing)),
    }
}

/// ValueError for anything else than a stream socket of the family.
fn check_unix_socket(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    if sock.getattr("family")?.eq(UNIX)? && sock.getattr("type")?.eq(STREAM)? {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "A UNIX Domain Stream Socket was expected, got {}",
        sock.repr()?
    )))
}

/// A connected socket.
///
/// # Errors
/// OSError of socket(2) and connect(2), `EAGAIN` among them: the server's queue is full, and nothing would tell when
/// it no longer is.
async fn connect(event_loop: &Ref<Loop>, request: &Connection) -> PyResult<Connected> {
    let (address, watched) = Python::attach(|py| PyResult::Ok((request.address(py)?, is_watched(py)?)))?;
    if let Some(path) = request.path.as_ref().filter(|_| watched) {
        return connect_by_object(event_loop, path).await;
    }
    let fd = socket::socket(UNIX, STREAM, 0).map_err(os_error)?;
    let connecting = socket::connect(&fd, &address).map_err(os_error)?;
    // A signal may have interrupted the call.
    if connecting == Connect::InProgress {
        let writable = event_loop.reactor().writable(fd.as_raw_fd()).await;
        writable
            .and_then(|()| socket::take_error(&fd))
            .map_err(os_error)?;
    }
    Ok((Owner::Fd(fd), CloseUnlessKept(None)))
}

/// The same by a Python socket, which whoever watches is told of.
async fn connect_by_object(event_loop: &Ref<Loop>, path: &Obj) -> PyResult<Connected> {
    let (socket, path) = Python::attach(|py| {
        let path = py.import("os")?.call_method1("fspath", (path.bind(py),))?;
        PyResult::Ok((PythonSocket::new(py, UNIX, STREAM, 0)?, Obj::from(path)))
    })?;
    socket.connect(event_loop, &path).await?;
    Ok(socket.into_connected())
}

fn create_unix_connection(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Connection::parse(args)?;
    create_with_held(
        args.py(),
        "Loop.create_unix_connection",
        slf,
        |event_loop, awaiter| {
            let request = awaiter.hold(request);
            async move {
                Python::attach(|py| request.check(py))?;
                event_loop.check_closed()?;
                let (owner, mut closing) = match &request.sock {
                    Some(sock) => {
                        let owner = Python::attach(|py| take_socket(py, &event_loop, sock))?;
                        (owner, CloseUnlessKept(None))
                    }
                    None => connect(&event_loop, &request).await?,
                };
                let tls =
                    Python::attach(|py| request.tls.options(py, false, request.server_hostname.clone()))?;
                closing.0 = None;
                let (transport, protocol) =
                    make_connection(&event_loop, &awaiter, owner, &request.protocol_factory, tls).await?;
                Python::attach(|py| {
                    if event_loop.debug() {
                        let none = Obj::none(py);
                        let sock = socket_of(py, &transport)?;
                        let path = request.path.as_ref().unwrap_or(&none);
                        let args = [&sock, path, &transport, &protocol];
                        log_debug(py, &event_loop, "%r connected to %r: (%r, %r)", &args)?;
                    }
                    pair(py, &transport, &protocol)
                })
            }
        },
    )
}

/// The arguments of `create_unix_server`.
struct Listening {
    protocol_factory: Obj,
    path: Option<Obj>,
    sock: Option<Obj>,
    backlog: i32,
    tls: TlsArguments,
    start_serving: bool,
    cleanup_socket: bool,
}

impl Listening {
    fn parse(args: Args<'_, '_>) -> PyResult<Listening> {
        let py = args.py();
        let signature = Signature {
            function: "create_unix_server",
            parameters: [
                "protocol_factory",
                "path",
                "sock",
                "backlog",
                "ssl",
                "ssl_handshake_timeout",
                "ssl_shutdown_timeout",
                "start_serving",
                "cleanup_socket",
            ],
            required: 1,
            positional: 2,
        };
        let [
            factory,
            path,
            sock,
            backlog,
            ssl,
            handshake,
            shutdown,
            start,
            cleanup,
        ] = args.parse(&signature)?;
        let truth = |value: Option<&Bound<'_, PyAny>>, default: bool| match value {
            Some(value) => value.is_truthy(),
            None => Ok(default),
        };
        Ok(Listening {
            protocol_factory: factory.map_or_else(|| Obj::none(py), Obj::from),
            path: given(path),
            sock: given(sock),
            backlog: backlog.map_or(Ok(100), |backlog| backlog.extract())?,
            tls: TlsArguments {
                ssl: given(ssl),
                handshake_timeout: given(handshake),
                shutdown_timeout: given(shutdown),
            },
            start_serving: truth(start, true)?,
            cleanup_socket: truth(cleanup, CLEANUP_BY_DEFAULT)?,
        })
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.tls.check_server(py)?;
        self.tls.check_timeouts(self.tls.is_wanted(py)?)?;
        check_place(py, self.path.as_ref(), self.sock.as_ref(), NO_PLACE)
    }

    /// The bound socket.
    fn socket<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(path) = &self.path else {
            return match &self.sock {
                Some(sock) => Ok(sock.bind(py).clone()),
                None => Err(PyValueError::new_err(NO_PLACE)),
            };
        };
        let path = py.import("os")?.call_method1("fspath", (path.bind(py),))?;
        if path.len()? == 0 {
            // Linux would choose an abstract name of its own, which nobody could know.
            return Err(PyValueError::new_err("the path of a Unix socket is empty"));
        }
        let socket = py.import("socket")?.call_method1("socket", (UNIX, STREAM))?;
        let bound = remove_stale(&path).and_then(|()| socket.call_method1("bind", (&path,)));
        match bound {
            Ok(_) => Ok(socket),
            Err(error) => {
                socket.call_method0("close")?;
                Err(bind_error(&path, error)?)
            }
        }
    }
}

/// As bind(2) failed, with the path in the message for `EADDRINUSE`.
fn bind_error(path: &Bound<'_, PyAny>, error: PyErr) -> PyResult<PyErr> {
    let py = path.py();
    if error.is_instance_of::<PyOSError>(py) && error.value(py).getattr("errno")?.eq(ADDRESS_IN_USE)? {
        let message = format!("Address {} is already in use", path.repr()?);
        return Ok(with_message(ADDRESS_IN_USE, message));
    }
    Ok(error)
}

fn create_unix_server(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Listening::parse(args)?;
    create_with_held(
        args.py(),
        "Loop.create_unix_server",
        slf,
        |event_loop, _| async move {
            Python::attach(|py| request.check(py))?;
            event_loop.check_closed()?;
            let make = |py: Python<'_>| {
                let socket = request.socket(py)?;
                let file = if request.cleanup_socket {
                    SocketFile::of(&socket)?
                } else {
                    None
                };
                socket.call_method1("setblocking", (false,))?;
                let sockets = PyList::new(py, [socket])?;
                let factory = request.protocol_factory.clone();
                let tls = request.tls.options(py, true, None)?;
                let server = Server::open(py, &event_loop, sockets, factory, request.backlog, tls)?;
                server.set_file(file);
                Ok(server)
            };
            serve(&event_loop, request.start_serving, make).await
        },
    )
}

#[cfg(Py_3_13)]
macro_rules! unix_server_signature {
    () => {
        c"create_unix_server($self, protocol_factory, path=None, *, sock=None, backlog=100, ssl=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, start_serving=True, cleanup_socket=True)\n--\n\nListen on a Unix socket: a Server. A coroutine."
    };
}
#[cfg(not(Py_3_13))]
macro_rules! unix_server_signature {
    () => {
        c"create_unix_server($self, protocol_factory, path=None, *, sock=None, backlog=100, ssl=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, start_serving=True, cleanup_socket=False)\n--\n\nListen on a Unix socket: a Server. A coroutine."
    };
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"create_unix_connection",
            c"create_unix_connection($self, protocol_factory, path=None, *, ssl=None, sock=None, server_hostname=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None)\n--\n\nConnect to a Unix socket: (transport, protocol). A coroutine.",
            create_unix_connection,
        )
        .method(c"create_unix_server", unix_server_signature!(), create_unix_server);
}
