//! `create_connection` and `connect_accepted_socket` (asyncio: Opening network connections): from arguments to a
//! transport and its protocol.

use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use super::establish::{CloseUnlessKept, log_debug, make_connection, pair, socket_of, take_socket};
use super::python_socket::Connected;
use super::resolve::{Hints, Place, STREAM, interleave, resolve};
use super::stream_arguments::{TlsArguments, check_ssl_socket, check_stream_socket, given};
use super::{Loop, attempt};
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, Visit};
use crate::held::Shown;
use crate::transport::tls::Options;

/// The arguments of `create_connection`.
struct Request {
    protocol_factory: Obj,
    host: Option<Obj>,
    port: Option<Obj>,
    tls: TlsArguments,
    hints: Hints,
    sock: Option<Obj>,
    local_addr: Option<Obj>,
    server_hostname: Option<Obj>,
    happy_eyeballs_delay: Option<Obj>,
    interleave: Option<Obj>,
    all_errors: bool,
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
        tls: TlsArguments {
            ssl: given(ssl),
            handshake_timeout: given(handshake),
            shutdown_timeout: given(shutdown),
        },
        hints: Hints::given(py, family, proto, flags, 0)?,
        sock: given(sock),
        local_addr: given(local_addr),
        server_hostname: given(hostname),
        happy_eyeballs_delay: given(delay),
        interleave: given(interleave),
        all_errors: all.map_or(Ok(false), |all| all.is_truthy())?,
    })
}

impl Request {
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let ssl = self.tls.is_wanted(py)?;
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
        self.tls.check_timeouts(ssl)?;
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

    /// How TLS is to be done: the certificate is to be the host's, if nobody says whose.
    fn tls(&self, py: Python<'_>) -> PyResult<Option<Options>> {
        let hostname = self.server_hostname.clone().or_else(|| self.host.clone());
        self.tls.options(py, false, hostname)
    }

    fn has_address(&self) -> bool {
        self.host.is_some() || self.port.is_some()
    }

    fn place(&self, py: Python<'_>) -> Place {
        let or_none = |value: &Option<Obj>| value.clone().unwrap_or_else(|| Obj::none(py));
        Place::new(or_none(&self.host), or_none(&self.port))
    }

    /// The head start of each attempt over the next; None when there is no race.
    fn delay(&self, py: Python<'_>) -> PyResult<Option<Duration>> {
        match &self.happy_eyeballs_delay {
            None => Ok(None),
            Some(delay) => {
                let seconds: f64 = delay.bind(py).extract()?;
                let delay = Duration::try_from_secs_f64(seconds.max(0.0));
                Ok(Some(delay.unwrap_or(Duration::MAX)))
            }
        }
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
async fn connect(event_loop: &Ref<Loop>, awaiter: &Awaiter, request: &Request) -> PyResult<Connected> {
    let place = Python::attach(|py| request.place(py));
    let mut infos = resolve(event_loop, awaiter, place, &request.hints, STREAM).await?;
    if infos.is_empty() {
        return Err(empty_answer());
    }
    let local = match &request.local_addr {
        None => None,
        Some(address) => {
            let place = Python::attach(|py| Place::from_address(address.bind(py)))?;
            let local = resolve(event_loop, awaiter, place, &request.hints, STREAM).await?;
            if local.is_empty() {
                return Err(empty_answer());
            }
            Some(local)
        }
    };
    if let Some(count) = Python::attach(|py| request.interleaving(py))? {
        infos = interleave(infos, count);
    }
    let delay = Python::attach(|py| request.delay(py))?;
    attempt::connect(event_loop, &infos, local.as_deref(), delay, request.all_errors).await
}

fn create_connection(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = parse(args)?;
    create_with_held(args.py(), "Loop.create_connection", slf, |event_loop, awaiter| {
        let request = awaiter.hold(request);
        async move {
            Python::attach(|py| request.check(py))?;
            event_loop.check_closed()?;
            let (owner, mut closing) = match &request.sock {
                Some(sock) => {
                    let owner = Python::attach(|py| take_socket(py, &event_loop, sock))?;
                    (owner, CloseUnlessKept(None))
                }
                None => connect(&event_loop, &awaiter, &request).await?,
            };
            let tls = Python::attach(|py| request.tls(py))?;
            closing.0 = None;
            let (transport, protocol) =
                make_connection(&event_loop, &awaiter, owner, &request.protocol_factory, tls).await?;
            Python::attach(|py| {
                if event_loop.debug() {
                    let none = Obj::none(py);
                    let sock = socket_of(py, &transport)?;
                    let host = request.host.as_ref().unwrap_or(&none);
                    let port = request.port.as_ref().unwrap_or(&none);
                    let args = [&sock, host, port, &transport, &protocol];
                    log_debug(py, &event_loop, "%r connected to %s:%r: (%r, %r)", &args)?;
                }
                pair(py, &transport, &protocol)
            })
        }
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
    let tls = TlsArguments {
        ssl: given(ssl),
        handshake_timeout: given(handshake),
        shutdown_timeout: given(shutdown),
    };
    create_with_held(
        py,
        "Loop.connect_accepted_socket",
        slf,
        |event_loop, awaiter| async move {
            let (owner, tls) = Python::attach(|py| {
                check_stream_socket(sock.bind(py))?;
                tls.check_timeouts(tls.is_wanted(py)?)?;
                check_ssl_socket(sock.bind(py))?;
                let tls = tls.options(py, true, None)?;
                PyResult::Ok((take_socket(py, &event_loop, &sock)?, tls))
            })?;
            let (transport, protocol) = make_connection(&event_loop, &awaiter, owner, &factory, tls).await?;
            Python::attach(|py| {
                if event_loop.debug() {
                    let sock = socket_of(py, &transport)?;
                    let args = [&sock, &transport, &protocol];
                    log_debug(py, &event_loop, "%r handled: (%r, %r)", &args)?;
                }
                pair(py, &transport, &protocol)
            })
        },
    )
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
