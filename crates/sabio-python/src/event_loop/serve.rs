//! `create_server` (asyncio: Creating network servers): from hosts to bound sockets.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use sabio_sync::yield_now;

use super::Loop;
use super::attempt::bind_error;
use super::resolve::{Hints, INTERNET, INTERNET_6, Info, Place, STREAM, resolve};
use super::server::{Server, stop_serving};
use super::stream_arguments::{TlsArguments, check_ssl_socket, check_stream_socket, given};
use crate::asyncio::asyncio;
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, Visit};
use crate::held::Shown;

/// `AI_PASSIVE` of Linux.
const PASSIVE: i32 = 1;

/// `EADDRNOTAVAIL` of Linux.
const ADDRESS_NOT_AVAILABLE: i32 = 99;

/// The arguments of `create_server`.
struct Request {
    protocol_factory: Obj,
    host: Option<Obj>,
    port: Option<Obj>,
    hints: Hints,
    sock: Option<Obj>,
    backlog: i32,
    tls: TlsArguments,
    reuse_address: bool,
    reuse_port: bool,
    keep_alive: bool,
    start_serving: bool,
}

impl Shown for Request {
    fn show(&self, visit: &mut Visit<'_>) {
        self.protocol_factory.show(visit);
        self.sock.show(visit);
        self.tls.show(visit);
    }
}

fn parse(args: Args<'_, '_>) -> PyResult<Request> {
    let py = args.py();
    let signature = Signature {
        function: "create_server",
        parameters: [
            "protocol_factory",
            "host",
            "port",
            "family",
            "flags",
            "sock",
            "backlog",
            "ssl",
            "reuse_address",
            "reuse_port",
            "keep_alive",
            "ssl_handshake_timeout",
            "ssl_shutdown_timeout",
            "start_serving",
        ],
        required: 1,
        positional: 3,
    };
    let values = args.parse(&signature)?;
    let [
        factory,
        host,
        port,
        family,
        flags,
        sock,
        backlog,
        ssl,
        reuse_address,
        reuse_port,
        keep_alive,
        handshake,
        shutdown,
        start,
    ] = values;
    let truth = |value: Option<&Bound<'_, PyAny>>, default: bool| match value {
        Some(value) if !value.is_none() => value.is_truthy(),
        _ => Ok(default),
    };
    Ok(Request {
        protocol_factory: factory.map_or_else(|| Obj::none(py), Obj::from),
        host: given(host),
        port: given(port),
        hints: Hints::given(py, family, None, flags, PASSIVE)?,
        sock: given(sock),
        backlog: backlog.map_or(Ok(100), |backlog| backlog.extract())?,
        tls: TlsArguments {
            ssl: given(ssl),
            handshake_timeout: given(handshake),
            shutdown_timeout: given(shutdown),
        },
        reuse_address: truth(reuse_address, true)?,
        reuse_port: truth(reuse_port, false)?,
        keep_alive: truth(keep_alive, false)?,
        start_serving: truth(start, true)?,
    })
}

impl Request {
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.tls.check_server(py)?;
        self.tls.check_timeouts(self.tls.ssl.is_some())?;
        let has_address = self.host.is_some() || self.port.is_some();
        match &self.sock {
            Some(sock) => {
                check_ssl_socket(sock.bind(py))?;
                if has_address {
                    return Err(PyValueError::new_err(
                        "host/port and sock can not be specified at the same time",
                    ));
                }
                check_stream_socket(sock.bind(py))
            }
            None if has_address => Ok(()),
            None => Err(PyValueError::new_err("Neither host/port nor sock were specified")),
        }
    }

    /// The hosts to listen on: one, several, or the one that stands for all.
    fn hosts(&self, py: Python<'_>) -> PyResult<Vec<Obj>> {
        let Some(host) = &self.host else {
            return Ok(vec![Obj::none(py)]);
        };
        let bound = host.bind(py);
        if let Ok(text) = bound.cast::<PyString>() {
            let every = text.len()? == 0;
            return Ok(vec![if every { Obj::none(py) } else { host.clone() }]);
        }
        if bound.is_instance_of::<PyBytes>() || bound.getattr_opt("__iter__")?.is_none() {
            return Ok(vec![host.clone()]);
        }
        bound.try_iter()?.map(|host| Ok(Obj::from(host?))).collect()
    }
}

/// The addresses of all hosts, each once.
async fn addresses(event_loop: &Ref<Loop>, awaiter: &Awaiter, request: &Request) -> PyResult<Vec<Info>> {
    let mut addresses: Vec<Info> = Vec::new();
    for host in Python::attach(|py| request.hosts(py))? {
        let place = Python::attach(|py| {
            let port = request.port.clone().unwrap_or_else(|| Obj::none(py));
            Place::new(host.clone(), port)
        });
        let infos = resolve(event_loop, awaiter, place, &request.hints, STREAM).await?;
        Python::attach(|py| {
            if infos.is_empty() {
                let host = host.bind(py).repr()?;
                return Err(PyOSError::new_err(format!(
                    "getaddrinfo({host}) returned empty list"
                )));
            }
            for info in infos {
                if !contains(py, &addresses, &info)? {
                    addresses.push(info);
                }
            }
            Ok(())
        })?;
    }
    Ok(addresses)
}

fn contains(py: Python<'_>, infos: &[Info], info: &Info) -> PyResult<bool> {
    for known in infos {
        if (known.family, known.socktype, known.proto) == (info.family, info.socktype, info.proto)
            && known.address.bind(py).eq(info.address.bind(py))?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sockets bound to all of the addresses. When one cannot be, all are closed again.
fn bound_sockets<'py>(
    py: Python<'py>,
    event_loop: &Loop,
    request: &Request,
    infos: &[Info],
) -> PyResult<Bound<'py, PyList>> {
    let sockets = PyList::empty(py);
    let result = infos
        .iter()
        .try_for_each(|info| add_socket(py, event_loop, request, info, &sockets))
        .and_then(|()| {
            if sockets.is_empty() {
                let addresses = PyList::new(py, infos.iter().map(|info| info.address.bind(py)))?;
                return Err(PyOSError::new_err(format!(
                    "could not bind on any address out of {}",
                    addresses.repr()?
                )));
            }
            Ok(())
        });
    match result {
        Ok(()) => Ok(sockets),
        Err(error) => {
            for socket in sockets.iter() {
                socket.call_method0("close")?;
            }
            Err(error)
        }
    }
}

fn warn(py: Python<'_>, event_loop: &Loop, message: &str) -> PyResult<()> {
    if event_loop.debug() {
        asyncio(py)?
            .logger
            .bind(py)
            .call_method1("warning", ("%s", message))?;
    }
    Ok(())
}

/// Makes one socket and adds it to the list, unless the machine does not have its family.
fn add_socket(
    py: Python<'_>,
    event_loop: &Loop,
    request: &Request,
    info: &Info,
    sockets: &Bound<'_, PyList>,
) -> PyResult<()> {
    let module = py.import("socket")?;
    let numbers = (info.family, info.socktype, info.proto);
    let socket = match module.getattr("socket")?.call1(numbers) {
        Ok(socket) => socket,
        Err(error) if error.is_instance_of::<PyOSError>(py) => {
            let message = format!("create_server() failed to create socket.socket{numbers:?}: {error}");
            return warn(py, event_loop, &message);
        }
        Err(error) => return Err(error),
    };
    sockets.append(&socket)?;
    let set = |level: &str, option: &str| -> PyResult<()> {
        let args = (module.getattr(level)?, module.getattr(option)?, 1);
        socket.call_method1("setsockopt", args).map(|_| ())
    };
    if request.reuse_address {
        set("SOL_SOCKET", "SO_REUSEADDR")?;
    }
    if request.reuse_port && (info.family == INTERNET || info.family == INTERNET_6) {
        set("SOL_SOCKET", "SO_REUSEPORT").map_err(|_| {
            PyValueError::new_err(
                "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented.",
            )
        })?;
    }
    if request.keep_alive {
        set("SOL_SOCKET", "SO_KEEPALIVE")?;
    }
    if info.family == INTERNET_6 {
        // Otherwise it would take the port of IPv4 as well, on which another of the sockets listens.
        set("IPPROTO_IPV6", "IPV6_V6ONLY")?;
    }
    let Err(error) = socket.call_method1("bind", (info.address.bind(py),)) else {
        return Ok(());
    };
    if !error.is_instance_of::<PyOSError>(py) {
        return Err(error);
    }
    let unavailable = error.value(py).getattr("errno")?.eq(ADDRESS_NOT_AVAILABLE)?;
    let error = bind_error(py, &info.address, &error);
    if !unavailable {
        return Err(error);
    }
    // The machine does not have this family, though it knows it.
    sockets.del_item(sockets.len() - 1)?;
    socket.call_method0("close")?;
    warn(py, event_loop, &error.value(py).str()?.to_string())
}

fn create_server(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = parse(args)?;
    create_with_held(args.py(), "Loop.create_server", slf, |event_loop, awaiter| {
        let request = awaiter.hold(request);
        async move {
            Python::attach(|py| request.check(py))?;
            event_loop.check_closed()?;
            let infos = match &request.sock {
                Some(_) => Vec::new(),
                None => addresses(&event_loop, &awaiter, &request).await?,
            };
            let make = |py: Python<'_>| {
                let sockets = match &request.sock {
                    Some(sock) => PyList::new(py, [sock.bind(py)])?,
                    None => bound_sockets(py, &event_loop, &request, &infos)?,
                };
                for socket in sockets.iter() {
                    socket.call_method1("setblocking", (false,))?;
                }
                let factory = request.protocol_factory.clone();
                let tls = request.tls.options(py, true, None)?;
                Server::open(py, &event_loop, sockets, factory, request.backlog, tls)
            };
            serve(&event_loop, request.start_serving, make).await
        }
    })
}

/// Makes a server and, if it is to, lets it begin to serve.
pub(super) async fn serve(
    event_loop: &Ref<Loop>,
    start_serving: bool,
    make: impl FnOnce(Python<'_>) -> PyResult<Ref<Server>>,
) -> PyResult<Obj> {
    let server = Python::attach(|py| {
        let server = make(py)?;
        if start_serving {
            Server::start(&server, py)?;
        }
        PyResult::Ok(server)
    })?;
    if start_serving {
        yield_now().await;
    }
    Python::attach(|py| {
        if event_loop.debug() {
            let logger = asyncio(py)?.logger.bind(py);
            logger.call_method1("info", ("%r is serving", server.bind(py)))?;
        }
        Ok(server.into_obj())
    })
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table.method(
        c"create_server",
        c"create_server($self, protocol_factory, host=None, port=None, *, family=0, flags=1, sock=None, backlog=100, ssl=None, reuse_address=None, reuse_port=None, keep_alive=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, start_serving=True)\n--\n\nListen for TCP connections: a Server. A coroutine.",
        create_server,
    );
    table.method(
        c"_stop_serving",
        c"_stop_serving($self, sock)\n--\n\nClose a listening socket.",
        |slf, args| stop_serving(slf, args.single("_stop_serving", "sock")?),
    );
}
