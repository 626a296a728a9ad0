//! `create_datagram_endpoint` (asyncio: Opening network connections): from addresses to a transport over a bound or
//! connected datagram socket.

use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::Loop;
use super::establish::{CloseUnlessKept, log_datagrams, make, pair, take_socket};
use super::resolve::{self, DATAGRAM, Hints, Info, Place, STREAM, UNSPECIFIED};
use super::socket_file::remove_stale;
use super::stream_arguments::given;
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, Visit};
use crate::held::Shown;
use crate::transport::datagram;

/// `AF_UNIX` of Linux.
const UNIX: i32 = 1;

/// The arguments.
struct Request {
    protocol_factory: Obj,
    local_addr: Option<Obj>,
    remote_addr: Option<Obj>,
    hints: Hints,
    reuse_port: Option<Obj>,
    allow_broadcast: Option<Obj>,
    sock: Option<Obj>,
}

impl Shown for Request {
    fn show(&self, visit: &mut Visit<'_>) {
        self.protocol_factory.show(visit);
        self.sock.show(visit);
    }
}

/// Where a socket is bound and what it is connected to.
struct Ends {
    family: Obj,
    proto: Obj,
    local: Option<Obj>,
    remote: Option<Obj>,
}

fn is_true(py: Python<'_>, value: Option<&Obj>) -> PyResult<bool> {
    value.map_or(Ok(false), |value| value.bind(py).is_truthy())
}

impl Request {
    fn parse(args: Args<'_, '_>) -> PyResult<Request> {
        let py = args.py();
        let signature = Signature {
            function: "create_datagram_endpoint",
            parameters: [
                "protocol_factory",
                "local_addr",
                "remote_addr",
                "family",
                "proto",
                "flags",
                "reuse_port",
                "allow_broadcast",
                "sock",
            ],
            required: 1,
            positional: 3,
        };
        let [
            factory,
            local,
            remote,
            family,
            proto,
            flags,
            reuse_port,
            broadcast,
            sock,
        ] = args.parse(&signature)?;
        Ok(Request {
            protocol_factory: factory.map_or_else(|| Obj::none(py), Obj::from),
            local_addr: given(local),
            remote_addr: given(remote),
            hints: Hints::given(py, family, proto, flags, 0)?,
            reuse_port: given(reuse_port),
            allow_broadcast: given(broadcast),
            sock: given(sock),
        })
    }

    /// ValueError for a socket of the wrong kind, and for arguments that cannot be used with a socket.
    fn check_socket(&self, py: Python<'_>, sock: &Obj) -> PyResult<()> {
        let sock = sock.bind(py);
        let kind: i32 = sock.getattr("type")?.extract()?;
        // Before 3.13 it had to be UDP's, from then on it may be anything with borders between messages.
        let (is_wrong, expected) = if cfg!(Py_3_13) {
            (kind == STREAM, "A datagram socket")
        } else {
            (kind != DATAGRAM, "A UDP Socket")
        };
        if is_wrong {
            let sock = sock.repr()?;
            return Err(PyValueError::new_err(format!(
                "{expected} was expected, got {sock}"
            )));
        }
        let mut problems = Vec::new();
        for (name, value) in [
            ("local_addr", self.local_addr.as_ref()),
            ("remote_addr", self.remote_addr.as_ref()),
            ("family", Some(&self.hints.family)),
            ("proto", Some(&self.hints.proto)),
            ("flags", Some(&self.hints.flags)),
            ("reuse_port", self.reuse_port.as_ref()),
            ("allow_broadcast", self.allow_broadcast.as_ref()),
        ] {
            if let Some(value) = value
                && value.bind(py).is_truthy()?
            {
                problems.push(format!("{name}={}", value.bind(py).str()?));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(PyValueError::new_err(format!(
            "socket modifier keyword arguments can not be used when sock is specified. ({})",
            problems.join(", ")
        )))
    }

    fn ends(&self, local: Option<Obj>, remote: Option<Obj>) -> Ends {
        Ends {
            family: self.hints.family.clone(),
            proto: self.hints.proto.clone(),
            local,
            remote,
        }
    }

    /// The ends for which nothing has to be resolved: none at all, or paths. None for addresses.
    fn unresolved(&self, py: Python<'_>) -> PyResult<Option<Ends>> {
        let family: i32 = self.hints.family.bind(py).extract()?;
        let is_given = is_true(py, self.local_addr.as_ref())? || is_true(py, self.remote_addr.as_ref())?;
        if !is_given {
            if family == UNSPECIFIED {
                return Err(PyValueError::new_err("unexpected address family"));
            }
            return Ok(Some(self.ends(None, None)));
        }
        if family != UNIX {
            return Ok(None);
        }
        for address in [&self.local_addr, &self.remote_addr].into_iter().flatten() {
            if !address.bind(py).is_instance_of::<PyString>() {
                return Err(PyTypeError::new_err("string is expected"));
            }
        }
        if let Some(local) = &self.local_addr {
            remove_stale(local.bind(py))?;
        }
        Ok(Some(self.ends(self.local_addr.clone(), self.remote_addr.clone())))
    }

    /// A socket that is bound, and connected unless it may broadcast.
    async fn open(&self, event_loop: &Ref<Loop>, awaiter: &Awaiter, ends: &Ends) -> PyResult<Obj> {
        let (socket, connecting) = Python::attach(|py| {
            let module = py.import("socket")?;
            let args = (ends.family.bind(py), DATAGRAM, ends.proto.bind(py));
            let socket = module.getattr("socket")?.call1(args)?;
            let opened = self.bind(py, &module, &socket, ends).and_then(|()| {
                match &ends.remote {
                    Some(remote) if !is_true(py, self.allow_broadcast.as_ref())? => {
                        // Through the attribute, which a user may have replaced.
                        let connecting = event_loop
                            .bind(py)
                            .call_method1("sock_connect", (&socket, remote.bind(py)))?;
                        Ok(Some(Obj::from(connecting)))
                    }
                    _ => Ok(None),
                }
            });
            match opened {
                Ok(connecting) => Ok((Obj::from(socket), connecting)),
                Err(error) => {
                    socket.call_method0("close")?;
                    Err(error)
                }
            }
        })?;
        let mut closing = CloseUnlessKept(Some(socket.clone()));
        if let Some(connecting) = connecting {
            awaiter.wait(connecting).await?;
        }
        closing.0 = None;
        Ok(socket)
    }

    fn bind(
        &self,
        py: Python<'_>,
        module: &Bound<'_, PyModule>,
        socket: &Bound<'_, PyAny>,
        ends: &Ends,
    ) -> PyResult<()> {
        let set = |option: &str| {
            let args = (module.getattr("SOL_SOCKET")?, module.getattr(option)?, 1);
            socket.call_method1("setsockopt", args)
        };
        if is_true(py, self.reuse_port.as_ref())? {
            set("SO_REUSEPORT").map_err(|_| {
                PyValueError::new_err(
                    "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented.",
                )
            })?;
        }
        if is_true(py, self.allow_broadcast.as_ref())? {
            set("SO_BROADCAST")?;
        }
        socket.call_method1("setblocking", (false,))?;
        if let Some(local) = &ends.local {
            socket.call_method1("bind", (local.bind(py),))?;
        }
        Ok(())
    }
}

/// The addresses that one of the two arguments stands for.
async fn look_up(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    address: &Obj,
    hints: &Hints,
) -> PyResult<Vec<Info>> {
    let place = Python::attach(|py| {
        let pair = address.bind(py).cast::<PyTuple>().ok();
        let Some(pair) = pair.filter(|pair| pair.len() == 2) else {
            return Err(PyTypeError::new_err("2-tuple is expected"));
        };
        PyResult::Ok(Place::new(pair.get_item(0)?.into(), pair.get_item(1)?.into()))
    })?;
    let infos = resolve::resolve(event_loop, awaiter, place, hints, DATAGRAM).await?;
    if infos.is_empty() {
        return Err(PyOSError::new_err("getaddrinfo() returned empty list"));
    }
    Ok(infos)
}

/// The pairs of addresses of one family and protocol each; all that are asked for are there in each pair.
async fn pairs(event_loop: &Ref<Loop>, awaiter: &Awaiter, request: &Request) -> PyResult<Vec<Ends>> {
    let mut all: Vec<Ends> = Vec::new();
    for (address, is_local) in [(&request.local_addr, true), (&request.remote_addr, false)] {
        let Some(address) = address else { continue };
        for info in look_up(event_loop, awaiter, address, &request.hints).await? {
            Python::attach(|py| {
                let family: Obj = info.family.into_pyobject(py)?.into_any().into();
                let proto: Obj = info.proto.into_pyobject(py)?.into_any().into();
                let mut known = None;
                for (index, ends) in all.iter().enumerate() {
                    if ends.family.bind(py).eq(family.bind(py))? && ends.proto.bind(py).eq(proto.bind(py))? {
                        known = Some(index);
                        break;
                    }
                }
                let index = known.unwrap_or_else(|| {
                    all.push(Ends {
                        family,
                        proto,
                        local: None,
                        remote: None,
                    });
                    all.len() - 1
                });
                let ends = &mut all[index];
                *(if is_local {
                    &mut ends.local
                } else {
                    &mut ends.remote
                }) = Some(info.address);
                PyResult::Ok(())
            })?;
        }
    }
    all.retain(|ends| {
        ends.local.is_some() >= request.local_addr.is_some()
            && ends.remote.is_some() >= request.remote_addr.is_some()
    });
    if all.is_empty() {
        return Err(PyValueError::new_err("can not get address information"));
    }
    Ok(all)
}

/// The first socket that can be opened, and where it sends to.
async fn connect(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    request: &Request,
) -> PyResult<(Obj, Option<Obj>)> {
    let all = match Python::attach(|py| request.unresolved(py))? {
        Some(ends) => vec![ends],
        None => pairs(event_loop, awaiter, request).await?,
    };
    let mut first_error = None;
    for ends in all {
        match request.open(event_loop, awaiter, &ends).await {
            Ok(socket) => return Ok((socket, ends.remote)),
            Err(error) if Python::attach(|py| error.is_instance_of::<PyOSError>(py)) => {
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first_error.unwrap_or_else(|| PyValueError::new_err("can not get address information")))
}

fn create_datagram_endpoint(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Request::parse(args)?;
    create_with_held(
        args.py(),
        "Loop.create_datagram_endpoint",
        slf,
        |event_loop, awaiter| {
            let request = awaiter.hold(request);
            async move {
                event_loop.check_closed()?;
                let (socket, remote) = match &request.sock {
                    Some(sock) => {
                        Python::attach(|py| request.check_socket(py, sock))?;
                        (sock.clone(), None)
                    }
                    None => connect(&event_loop, &awaiter, &request).await?,
                };
                let owner = Python::attach(|py| take_socket(py, &event_loop, &socket))?;
                let open = |py: Python<'_>, parts: crate::transport::Parts<'_>| {
                    datagram::open(py, parts, remote, request.sock.is_none())
                };
                let (transport, protocol) =
                    make(&event_loop, &awaiter, owner, &request.protocol_factory, open).await?;
                Python::attach(|py| {
                    if event_loop.debug() {
                        let (local, remote) = (request.local_addr.as_ref(), request.remote_addr.as_ref());
                        log_datagrams(py, local, remote, transport.as_obj(), &protocol)?;
                    }
                    pair(py, transport.as_obj(), &protocol)
                })
            }
        },
    )
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table.method(
        c"create_datagram_endpoint",
        c"create_datagram_endpoint($self, protocol_factory, local_addr=None, remote_addr=None, *, family=0, proto=0, flags=0, reuse_port=None, allow_broadcast=None, sock=None)\n--\n\nMake a datagram transport: (transport, protocol). A coroutine.",
        create_datagram_endpoint,
    );
}
