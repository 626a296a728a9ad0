//! `sock_connect` (asyncio: Working with socket objects directly).
//!
//! A host's name is resolved by the loop's `getaddrinfo`, looked up as an attribute, so that a program that has replaced
//! it is asked. The connection itself is made by the socket's own method, which knows the addresses of every family.

use std::io;

use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use sabio_reactor::socket;
use sabio_reactor::sys;

use super::Loop;
use super::resolve::host_and_port;
use super::sock::{Until, check, number, two_args, wait};
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref};
use crate::held::Held;
use crate::names::names;
use crate::os_error::{os_error, with_message};
use crate::socket_module::socket_module;

/// The address to connect to: as it was given, if there is nothing to resolve, or what `getaddrinfo` is to tell.
enum Target {
    Known(Obj),
    Asked(Obj),
}

fn resolve(py: Python<'_>, slf: &Ref<Loop>, sock: &Obj, address: &Obj) -> PyResult<Target> {
    let module = socket_module(py)?;
    let bound = sock.bind(py);
    let family: i32 = bound.getattr("family")?.extract()?;
    if family != module.af_inet && family != module.af_inet6 {
        return Ok(Target::Known(address.clone()));
    }
    let address = address.bind(py);
    let (host, port) = host_and_port(address)?;
    let socktype: i32 = bound.getattr("type")?.extract()?;
    if (socktype == module.sock_stream || socktype == module.sock_dgram)
        && let Some(known) = numeric_address(py, family, &host, &port, address)?
    {
        return Ok(Target::Known(known));
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("family", family)?;
    kwargs.set_item("type", bound.getattr("type")?)?;
    kwargs.set_item("proto", bound.getattr("proto")?)?;
    kwargs.set_item("flags", 0)?;
    // Through the attribute, which a user may have replaced.
    let asked = slf
        .bind(py)
        .call_method(names(py)?.getaddrinfo.text(py), (host, port), Some(&kwargs))?;
    Ok(Target::Asked(asked.into()))
}

/// The address with the port as a number, if its host is numeric and of the socket's family.
fn numeric_address(
    py: Python<'_>,
    family: i32,
    host: &Bound<'_, PyAny>,
    port: &Bound<'_, PyAny>,
    address: &Bound<'_, PyAny>,
) -> PyResult<Option<Obj>> {
    let Ok(text) = host
        .cast::<PyString>()
        .map_err(PyErr::from)
        .and_then(|text| text.to_str())
    else {
        return Ok(None);
    };
    let module = socket_module(py)?;
    let is_numeric = match family {
        family if family == module.af_inet => text.parse::<std::net::Ipv4Addr>().is_ok(),
        _ => text.parse::<std::net::Ipv6Addr>().is_ok(),
    };
    let port = match port.extract::<i64>() {
        Ok(port) => port,
        Err(_) if port.is_none() => 0,
        Err(_) => match port.extract::<&str>().map(str::parse::<i64>) {
            Ok(Ok(port)) => port,
            _ => return Ok(None),
        },
    };
    if !is_numeric {
        return Ok(None);
    }
    let mut parts = vec![host.clone(), port.into_pyobject(py)?.into_any()];
    if family == module.af_inet6 {
        for index in 2..4 {
            parts.push(if index < address.len()? {
                address.get_item(index)?
            } else {
                0_i32.into_pyobject(py)?.into_any()
            });
        }
    }
    Ok(Some(PyTuple::new(py, parts)?.into()))
}

/// Starts to connect: whether the connection is still being made.
pub(super) fn start_connect(py: Python<'_>, sock: &Obj, address: &Obj) -> PyResult<bool> {
    // By the socket's own method, which knows the addresses of every family.
    let Err(error) = sock.bind(py).call_method1("connect", (address.bind(py),)) else {
        return Ok(false);
    };
    if error.is_instance_of::<PyInterruptedError>(py) {
        return Ok(true);
    }
    if error.is_instance_of::<PyBlockingIOError>(py) {
        let in_progress = py.import("errno")?.getattr("EINPROGRESS")?;
        if error.value(py).getattr("errno")?.eq(in_progress)? {
            return Ok(true);
        }
    }
    Err(error)
}

async fn connect(slf: Held<Ref<Loop>>, awaiter: Awaiter, sock: Obj, address: Obj) -> PyResult<Obj> {
    let sock = awaiter.hold(sock);
    let target = Python::attach(|py| {
        check(py, &slf, &sock)?;
        resolve(py, &slf, &sock, &address)
    })?;
    let address = match target {
        Target::Known(address) => address,
        Target::Asked(asked) => {
            let lines = awaiter.wait(asked).await?;
            Python::attach(|py| PyResult::Ok(Obj::from(lines.bind(py).get_item(0)?.get_item(4)?)))?
        }
    };
    let (fd, connecting) = Python::attach(|py| {
        let fd = number(py, &sock)?;
        PyResult::Ok((fd, start_connect(py, &sock, &address)?))
    })?;
    if connecting {
        wait(&slf, &sock, fd, Until::Writable).await?;
        let outcome = sys::borrow(fd).and_then(socket::take_error);
        if let Err(error) = outcome {
            return Err(Python::attach(|py| connect_error(py, error, &address)));
        }
    }
    Ok(Python::attach(Obj::none))
}

/// As connect(2) failed, with the address in the message.
pub(super) fn connect_error(py: Python<'_>, error: io::Error, address: &Obj) -> PyErr {
    match (error.raw_os_error(), address.bind(py).str()) {
        (Some(code), Ok(address)) => with_message(code, format!("Connect call failed {address}")),
        (None, _) => os_error(error),
        (_, Err(error)) => error,
    }
}

fn sock_connect(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let (sock, address) = two_args(args, "sock_connect", "address")?;
    create_with_held(args.py(), "Loop.sock_connect", slf, |slf, awaiter| {
        connect(slf, awaiter, sock, address)
    })
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table.method(
        c"sock_connect",
        c"sock_connect($self, sock, address)\n--\n\nConnect a socket; a host's name is resolved. A coroutine.",
        sock_connect,
    );
}
