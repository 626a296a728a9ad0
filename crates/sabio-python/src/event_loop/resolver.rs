//! `getaddrinfo` and `getnameinfo` (asyncio: DNS) on the loop's own resolver.
//!
//! A numeric host is answered at once, everything else by the resolver's threads; the answers are those of the `socket`
//! module to the letter. Where a user has replaced the function of that module, the replacement is called in the
//! default executor, as asyncio does. Called by users, and by what connects and serves.

use std::ffi::CString;
use std::fmt::Write;

use pyo3::exceptions::{PyOSError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString, PyTuple};
use sabio_reactor::socket::Address;
use sabio_reactor::{AddrInfo, Query, ResolveError, numeric, remote};
use sabio_sync::oneshot;

use super::{Loop, time};
use crate::asyncio::asyncio;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, IntoObj, MethodTable, Obj, Ref, Signature, audit, raising};
use crate::held::Held;
use crate::names::names;
use crate::os_error::from_errno;
use crate::socket_module::{SocketModule, socket_module};
use crate::transport::address_to_python;

/// The arguments of a call of `getaddrinfo`.
struct Request {
    host: Obj,
    port: Obj,
    family: Obj,
    socktype: Obj,
    protocol: Obj,
    flags: Obj,
}

impl Request {
    fn new(args: Args<'_, '_>) -> PyResult<Request> {
        let py = args.py();
        let [host, port, family, socktype, protocol, flags] = args.parse(&Signature {
            function: "getaddrinfo",
            parameters: ["host", "port", "family", "type", "proto", "flags"],
            required: 2,
            positional: 2,
        })?;
        let zero = 0_usize.into_obj(py)?;
        let given = |value: Option<&Bound<'_, PyAny>>| value.map_or_else(|| zero.clone(), Obj::from);
        Ok(Request {
            host: given(host),
            port: given(port),
            family: given(family),
            socktype: given(socktype),
            protocol: given(protocol),
            flags: given(flags),
        })
    }

    /// The question for the resolver; `true` if the host was given as text that is yet to be encoded.
    fn query(&self, py: Python<'_>) -> PyResult<(Query, bool)> {
        // In the order in which the `socket` module reads them, so that the same error comes first.
        let number = |value: &Obj| value.bind(py).extract::<i32>();
        let (family, socktype) = (number(&self.family)?, number(&self.socktype)?);
        let (protocol, flags) = (number(&self.protocol)?, number(&self.flags)?);
        let (host, is_text) = host_bytes(self.host.bind(py))?;
        let service = match service_bytes(self.port.bind(py)) {
            // A wrong host is complained about first, which comes later here.
            Err(_) if is_text && encode_host(self.host.bind(py)).is_err() => None,
            service => service?,
        };
        let query = Query {
            host,
            service,
            family,
            socktype,
            protocol,
            flags,
        };
        Ok((query, is_text))
    }

    fn audit(&self, py: Python<'_>) -> PyResult<()> {
        let args = [
            &self.host,
            &self.port,
            &self.family,
            &self.socktype,
            &self.protocol,
        ];
        audit(py, c"socket.getaddrinfo", args)
    }

    /// What debug mode logs of it.
    fn describe(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("{}:{}", self.host.bind(py).str()?, self.port.bind(py).repr()?);
        for (name, value) in [
            ("family", &self.family),
            ("type", &self.socktype),
            ("proto", &self.protocol),
            ("flags", &self.flags),
        ] {
            let value = value.bind(py);
            if value.is_truthy()? {
                let _ = write!(text, ", {name}={}", value.repr()?);
            }
        }
        Ok(text)
    }
}

/// Bytes up to the first 0, which is where the C library would stop reading.
fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The host for the C library; `true` if it is text, of which only what is ASCII is looked at here.
fn host_bytes(host: &Bound<'_, PyAny>) -> PyResult<(Option<CString>, bool)> {
    if host.is_none() {
        return Ok((None, false));
    }
    if let Ok(text) = host.cast::<PyString>() {
        // Text that is no UTF-8 (lone surrogates) is no numeric host either.
        let ascii = text.to_str().ok().filter(|text| text.is_ascii());
        return Ok((Some(c_string(ascii.unwrap_or_default().as_bytes())), true));
    }
    match host.cast::<PyBytes>() {
        Ok(bytes) => Ok((Some(c_string(bytes.as_bytes())), false)),
        Err(_) => Err(PyTypeError::new_err(
            "getaddrinfo() argument 1 must be string or None",
        )),
    }
}

/// The host's name as IDNA has it. UnicodeError for what is no name.
fn encode_host(host: &Bound<'_, PyAny>) -> PyResult<CString> {
    let encoded = host.call_method1("encode", ("idna",))?;
    Ok(c_string(encoded.cast::<PyBytes>()?.as_bytes()))
}

fn service_bytes(port: &Bound<'_, PyAny>) -> PyResult<Option<CString>> {
    if port.is_none() {
        return Ok(None);
    }
    if port.is_instance_of::<PyInt>() {
        if cfg!(not(Py_3_12)) {
            // OverflowError on 3.11 only.
            port.extract::<i64>()?;
        }
        let digits = match port.extract::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => port.str()?.to_string(),
        };
        return Ok(Some(c_string(digits.as_bytes())));
    }
    if let Ok(text) = port.cast::<PyString>() {
        return Ok(Some(c_string(text.to_str()?.as_bytes())));
    }
    match port.cast::<PyBytes>() {
        Ok(bytes) => Ok(Some(c_string(bytes.as_bytes()))),
        Err(_) => Err(PyOSError::new_err("Int or String expected")),
    }
}

/// `socket.gaierror`, or the OSError behind it.
fn resolve_error(py: Python<'_>, error: ResolveError) -> PyErr {
    if let Some(code) = error.errno {
        return from_errno(code);
    }
    let raised = socket_module(py).and_then(|socket| {
        let class = socket.gaierror.bind(py);
        class.call1((error.code, error.message))
    });
    match raised {
        Ok(instance) => raising(instance),
        Err(error) => error,
    }
}

/// The lines as `socket.getaddrinfo()` gives them.
fn answer(py: Python<'_>, lines: &[AddrInfo]) -> PyResult<Obj> {
    let socket = socket_module(py)?;
    let list = PyList::empty(py);
    let mut shared: Option<(&Address, Obj)> = None;
    for line in lines {
        if matches!(line.address, Address::Other(_)) {
            continue;
        }
        let address = match shared.take() {
            Some((same, object)) if *same == line.address => object,
            _ => address_to_python(py, &line.address)?,
        };
        let canonical = match &line.canonname {
            Some(name) => PyString::from_bytes(py, name)?.into(),
            None => names(py)?.empty.clone(),
        };
        let parts = [
            socket.family(py, line.family)?,
            socket.socktype(py, line.socktype)?,
            (line.protocol as usize).into_obj(py)?,
            canonical,
            address.clone(),
        ];
        list.append(PyTuple::new(py, parts.iter().map(|part| part.bind(py)))?)?;
        shared = Some((&line.address, address));
    }
    Ok(list.into())
}

/// What is waited for from a thread of the resolver.
type Waiting<T> = oneshot::Receiver<Result<T, ResolveError>>;

enum Started<T> {
    Done(Obj),
    Waiting(Waiting<T>),
}

/// Waits for the resolver on the loop that asked it.
async fn wait<T>(slf: &Ref<Loop>, waiting: Waiting<T>) -> PyResult<T> {
    slf.check_awaited_here()?;
    match remote(slf.remote().clone(), waiting).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(error)) => Err(Python::attach(|py| resolve_error(py, error))),
        Err(oneshot::Closed) => Err(PyRuntimeError::new_err("Event loop is closed")),
    }
}

fn start_lookup(py: Python<'_>, slf: &Ref<Loop>, request: &Request) -> PyResult<Started<Vec<AddrInfo>>> {
    slf.check_closed()?;
    let (mut query, is_text) = request.query(py)?;
    request.audit(py)?;
    if let Some(lines) = numeric(&query) {
        return answer(py, &lines).map(Started::Done);
    }
    if is_text {
        query.host = Some(encode_host(request.host.bind(py))?);
    }
    Ok(Started::Waiting(slf.resolver().lookup(query)))
}

async fn look_up(slf: &Ref<Loop>, request: &Request) -> PyResult<Obj> {
    match Python::attach(|py| start_lookup(py, slf, request))? {
        Started::Done(answer) => Ok(answer),
        Started::Waiting(waiting) => {
            let lines = Box::pin(wait(slf, waiting)).await?;
            Python::attach(|py| answer(py, &lines))
        }
    }
}

/// As [`look_up`], with what debug mode logs before and after.
async fn look_up_logged(slf: &Ref<Loop>, request: &Request) -> PyResult<Obj> {
    let description = Python::attach(|py| {
        let description = request.describe(py)?;
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("debug", ("Get address info %s", &description))?;
        PyResult::Ok(description)
    })?;
    let start = time();
    let answer = look_up(slf, request).await?;
    let seconds = time() - start;
    Python::attach(|py| {
        let text = format!(
            "Getting address info {description} took {:.3}ms: {}",
            seconds * 1e3,
            answer.bind(py).repr()?
        );
        let slow = match slf.slow_callback_duration.get() {
            Some(slow) => slow.bind(py).extract()?,
            None => f64::INFINITY,
        };
        let level = if seconds >= slow { "info" } else { "debug" };
        asyncio(py)?.logger.bind(py).call_method1(level, (text,))?;
        Ok(answer)
    })
}

/// `await loop.run_in_executor(None, function, *args)`.
fn in_executor(
    py: Python<'_>,
    slf: &Ref<Loop>,
    name: &'static str,
    function: &Bound<'_, PyAny>,
    args: &[&Obj],
) -> PyResult<Obj> {
    let mut call = vec![Obj::none(py), Obj::from(function)];
    call.extend(args.iter().map(|arg| (*arg).clone()));
    create_with_held(py, name, slf, move |slf, awaiter| async move {
        let submitted = Python::attach(|py| {
            let args = PyTuple::new(py, call.iter().map(|arg| arg.bind(py)))?;
            let submitted = slf.bind(py).call_method1("run_in_executor", args)?;
            PyResult::Ok(Obj::from(submitted))
        })?;
        awaiter.wait(submitted).await
    })
}

fn getaddrinfo(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    const NAME: &str = "Loop.getaddrinfo";
    let py = args.py();
    let request = Request::new(args)?;
    if let Some(replacement) = socket_module(py)?.replaced_getaddrinfo(py)? {
        let args = [
            &request.host,
            &request.port,
            &request.family,
            &request.socktype,
            &request.protocol,
            &request.flags,
        ];
        return in_executor(py, slf, NAME, &replacement, &args);
    }
    if slf.debug() {
        return create_with_held(py, NAME, slf, |slf, _| async move {
            look_up_logged(&slf, &request).await
        });
    }
    create_with_held(
        py,
        NAME,
        slf,
        |slf, _| async move { look_up(&slf, &request).await },
    )
}

/// The numeric address that `getnameinfo` was asked about: host, port, flow information, scope and the tuple's length.
struct Sockaddr {
    host: String,
    port: i32,
    flowinfo: u32,
    scope_id: u32,
    length: usize,
}

impl Sockaddr {
    fn new(sockaddr: &Bound<'_, PyAny>) -> PyResult<Sockaddr> {
        let illegal = || PyTypeError::new_err("getnameinfo(): illegal sockaddr argument");
        let tuple = sockaddr
            .cast::<PyTuple>()
            .map_err(|_| PyTypeError::new_err("getnameinfo() argument 1 must be a tuple"))?;
        if !(2..=4).contains(&tuple.len()) {
            return Err(illegal());
        }
        let host = tuple.get_item(0)?;
        let host = host
            .cast::<PyString>()
            .map_err(|_| illegal())?
            .to_str()?
            .to_owned();
        if host.contains('\0') {
            return Err(PyValueError::new_err("embedded null character"));
        }
        // As the C type that the `socket` module reads them into: what does not fit wraps.
        let word = |index: usize| -> PyResult<u32> {
            if index < tuple.len() {
                tuple.get_item(index)?.bitand(u32::MAX)?.extract()
            } else {
                Ok(0)
            }
        };
        let flowinfo = word(2)?;
        if flowinfo > 0xf_ffff {
            return Err(PyOverflowError::new_err(
                "getnameinfo(): flowinfo must be 0-1048575.",
            ));
        }
        Ok(Sockaddr {
            host,
            port: tuple.get_item(1)?.extract()?,
            flowinfo,
            scope_id: word(3)?,
            length: tuple.len(),
        })
    }

    /// The question whose answer is the address itself.
    fn query(&self, socket: &SocketModule) -> Query {
        Query {
            host: Some(c_string(self.host.as_bytes())),
            service: Some(c_string(self.port.to_string().as_bytes())),
            socktype: socket.sock_dgram,
            flags: socket.ai_numerichost,
            ..Query::default()
        }
    }

    /// The address to look up, from the answer to [`Sockaddr::query`].
    fn address(&self, lines: &[AddrInfo]) -> PyResult<Address> {
        let [line] = lines else {
            return Err(PyOSError::new_err("sockaddr resolved to multiple addresses"));
        };
        match &line.address {
            Address::V4(_) if self.length != 2 => Err(PyOSError::new_err("IPv4 sockaddr must be 2 tuple")),
            Address::V6(v6) => Ok(Address::v6(*v6.ip(), v6.port(), self.flowinfo, self.scope_id)),
            other => Ok(other.clone()),
        }
    }
}

async fn look_up_name(slf: Held<Ref<Loop>>, sockaddr: Obj, flags: Obj) -> PyResult<Obj> {
    let (sockaddr, query, flags) = Python::attach(|py| {
        slf.check_closed()?;
        let flags: i32 = flags.bind(py).extract()?;
        let parsed = Sockaddr::new(sockaddr.bind(py))?;
        audit(py, c"socket.getnameinfo", [&sockaddr])?;
        let query = parsed.query(socket_module(py)?);
        PyResult::Ok((parsed, query, flags))
    })?;
    let lines = match numeric(&query) {
        Some(lines) => lines,
        None => wait(&slf, slf.resolver().lookup(query)).await?,
    };
    let address = sockaddr.address(&lines)?;
    let names = wait(&slf, slf.resolver().getnameinfo(address, flags)).await?;
    Python::attach(|py| {
        let host = py
            .import("os")?
            .call_method1("fsdecode", (PyBytes::new(py, &names.host),))?;
        let service = PyString::from_bytes(py, &names.service)?;
        Ok(PyTuple::new(py, [host, service.into_any()])?.into())
    })
}

fn getnameinfo(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    const NAME: &str = "Loop.getnameinfo";
    let py = args.py();
    let [sockaddr, flags] = args.parse(&Signature {
        function: "getnameinfo",
        parameters: ["sockaddr", "flags"],
        required: 1,
        positional: 2,
    })?;
    let sockaddr = sockaddr.map_or_else(|| Obj::none(py), Obj::from);
    let flags = match flags {
        Some(flags) => Obj::from(flags),
        None => 0_usize.into_obj(py)?,
    };
    if let Some(replacement) = socket_module(py)?.replaced_getnameinfo(py)? {
        return in_executor(py, slf, NAME, &replacement, &[&sockaddr, &flags]);
    }
    create_with_held(py, NAME, slf, |slf, _| look_up_name(slf, sockaddr, flags))
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .fast_method(
            c"getaddrinfo",
            c"getaddrinfo($self, host, port, *, family=0, type=0, proto=0, flags=0)\n--\n\nAs socket.getaddrinfo(), without blocking. A coroutine.",
            getaddrinfo,
        )
        .method(
            c"getnameinfo",
            c"getnameinfo($self, sockaddr, flags=0)\n--\n\nAs socket.getnameinfo(), without blocking. A coroutine.",
            getnameinfo,
        );
}
