//! From host and port to the addresses that `create_connection`, `create_server` and `create_datagram_endpoint` try.
//!
//! A numeric host is its own address. Any other goes through the loop's `getaddrinfo`, looked up as an attribute, so that
//! a program that has replaced it is asked.

use std::net::{Ipv4Addr, Ipv6Addr};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PySlice, PyString, PyTuple};
use sabio_reactor::socket::Address;

use super::Loop;
use super::stream_arguments::or_number;
use crate::awaiter::Awaiter;
use crate::ffi::{Obj, Ref};
use crate::names::names;
use crate::transport::address_from_python;

/// `AF_UNSPEC`, `AF_INET`, `AF_INET6`, `SOCK_STREAM`, `SOCK_DGRAM`, and `IPPROTO_TCP`, `IPPROTO_UDP` of Linux.
pub(super) const UNSPECIFIED: i32 = 0;
pub(super) const INTERNET: i32 = 2;
pub(super) const INTERNET_6: i32 = 10;
pub(super) const STREAM: i32 = 1;
pub(super) const DATAGRAM: i32 = 2;
const TCP: i32 = 6;
const UDP: i32 = 17;

/// What is looked up.
pub(super) struct Place {
    pub(super) host: Obj,
    pub(super) port: Obj,
    pub(super) flowinfo: u32,
    pub(super) scope_id: u32,
}

/// The restrictions of a lookup, as `getaddrinfo` takes them.
#[derive(Clone)]
pub(super) struct Hints {
    pub(super) family: Obj,
    pub(super) proto: Obj,
    pub(super) flags: Obj,
}

impl Hints {
    /// The arguments `family`, `proto` and `flags` of a user, with the defaults of asyncio where none is given.
    pub(super) fn given(
        py: Python<'_>,
        family: Option<&Bound<'_, PyAny>>,
        proto: Option<&Bound<'_, PyAny>>,
        flags: Option<&Bound<'_, PyAny>>,
        default_flags: i32,
    ) -> PyResult<Hints> {
        Ok(Hints {
            family: or_number(py, family, UNSPECIFIED)?,
            proto: or_number(py, proto, 0)?,
            flags: or_number(py, flags, default_flags)?,
        })
    }
}

/// One line of the answer of `getaddrinfo`.
#[derive(Clone)]
pub(super) struct Info {
    pub(super) family: i32,
    pub(super) socktype: i32,
    pub(super) proto: i32,
    /// The address as Python has it.
    pub(super) address: Obj,
    /// The address as the kernel has it, if it is a plain one.
    pub(super) native: Option<Address>,
}

impl Place {
    /// Host and port alone.
    pub(super) fn new(host: Obj, port: Obj) -> Place {
        Place {
            host,
            port,
            flowinfo: 0,
            scope_id: 0,
        }
    }

    /// An address tuple of a user (`local_addr`). TypeError or ValueError if it is none.
    pub(super) fn from_address(address: &Bound<'_, PyAny>) -> PyResult<Place> {
        let number = |index: usize| -> PyResult<u32> {
            if index < address.len()? {
                address.get_item(index)?.extract()
            } else {
                Ok(0)
            }
        };
        let (host, port) = host_and_port(address)?;
        Ok(Place {
            host: host.into(),
            port: port.into(),
            flowinfo: number(2)?,
            scope_id: number(3)?,
        })
    }

    /// The answer for a numeric host, for sockets of this type. The protocol is the one of the type.
    ///
    /// # Errors
    /// Those of a port whose `__int__()` or `__index__()` fails, and OverflowError for infinity.
    fn numeric(&self, py: Python<'_>, hints: &Hints, socktype: i32) -> PyResult<Option<Info>> {
        if !hints
            .proto
            .bind(py)
            .extract::<i32>()
            .is_ok_and(|proto| [0, TCP, UDP].contains(&proto))
        {
            return Ok(None);
        }
        let Some(host) = text(self.host.bind(py)) else {
            return Ok(None);
        };
        let Some(port) = port(self.port.bind(py))? else {
            return Ok(None);
        };
        Ok(self.numeric_at(py, hints, socktype, &host, &port))
    }

    fn numeric_at(
        &self,
        py: Python<'_>,
        hints: &Hints,
        socktype: i32,
        host: &str,
        port: &Bound<'_, PyAny>,
    ) -> Option<Info> {
        let proto = if socktype == STREAM { TCP } else { UDP };
        let family: i32 = hints.family.bind(py).extract().ok()?;
        let native_port: Option<u16> = port.extract().ok();
        if (family == UNSPECIFIED || family == INTERNET)
            && let Ok(ip) = host.parse::<Ipv4Addr>()
        {
            return Some(Info {
                family: INTERNET,
                socktype,
                proto,
                address: (host, port).into_pyobject(py).ok()?.into(),
                native: native_port.map(|port| Address::v4(ip, port)),
            });
        }
        if (family == UNSPECIFIED || family == INTERNET_6)
            && let Ok(ip) = host.parse::<Ipv6Addr>()
        {
            let (flowinfo, scope_id) = (self.flowinfo, self.scope_id);
            return Some(Info {
                family: INTERNET_6,
                socktype,
                proto,
                address: (host, port, flowinfo, scope_id).into_pyobject(py).ok()?.into(),
                native: native_port.map(|port| Address::v6(ip, port, flowinfo, scope_id)),
            });
        }
        None
    }
}

/// A host as text, if it can be a numeric one.
fn text(host: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(bytes) = host.cast::<PyBytes>() {
        return String::from_utf8(bytes.as_bytes().to_vec()).ok();
    }
    host.cast::<PyString>().ok()?.extract().ok()
}

/// A port that `int()` takes, whatever its size: the socket complains of those that are none. The name of a service is no
/// number.
fn port<'py>(port: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = port.py();
    let number = py.get_type::<PyInt>();
    let is_missing = port.is_none() || text(port).is_some_and(|text| text.is_empty());
    if is_missing {
        return number.call0().map(Some);
    }
    match number.call1((port,)) {
        Err(error) if error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyValueError>(py) => {
            Ok(None)
        }
        called => called.map(Some),
    }
}

/// The first two parts of an address, as `host, port = address[:2]` finds them.
///
/// # Errors
/// Those of that statement.
pub(super) fn host_and_port<'py>(
    address: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = address.py();
    let start = py.get_type::<PySlice>().call1((py.None(), 2, py.None()))?;
    let parts: Vec<_> = address.get_item(start)?.try_iter()?.collect::<PyResult<_>>()?;
    match <[_; 2]>::try_from(parts) {
        Ok([host, port]) => Ok((host, port)),
        Err(parts) => Err(PyValueError::new_err(if parts.len() < 2 {
            format!("not enough values to unpack (expected 2, got {})", parts.len())
        } else {
            "too many values to unpack (expected 2)".to_owned()
        })),
    }
}

/// All addresses of a place, in the order of the answer, for sockets of this type.
///
/// # Errors
/// What the loop's `getaddrinfo` raises (`socket.gaierror`), or TypeError and ValueError for an answer that is none.
pub(super) async fn resolve(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    place: Place,
    hints: &Hints,
    socktype: i32,
) -> PyResult<Vec<Info>> {
    let started = Python::attach(|py| {
        if text(place.host.bind(py)).is_some_and(|host| host.contains('\0')) {
            // The C library would look up what stands before it: a different host than the one that was checked.
            return Err(PyValueError::new_err("embedded null character"));
        }
        if let Some(info) = place.numeric(py, hints, socktype)? {
            return Ok(Err(vec![info]));
        }
        let kwargs = PyDict::new(py);
        kwargs.set_item("family", hints.family.bind(py))?;
        kwargs.set_item("type", socktype)?;
        kwargs.set_item("proto", hints.proto.bind(py))?;
        kwargs.set_item("flags", hints.flags.bind(py))?;
        let args = (place.host.bind(py), place.port.bind(py));
        let method = names(py)?.getaddrinfo.text(py);
        let waiting = event_loop.bind(py).call_method(method, args, Some(&kwargs))?;
        PyResult::Ok(Ok(Obj::from(waiting)))
    })?;
    match started {
        Err(known) => Ok(known),
        Ok(waiting) => {
            let answer = awaiter.wait(waiting).await?;
            Python::attach(|py| answer.bind(py).try_iter()?.map(|line| read(&line?)).collect())
        }
    }
}

/// Reads one line of the answer.
fn read(line: &Bound<'_, PyAny>) -> PyResult<Info> {
    let line = line.cast::<PyTuple>()?;
    let family = line.get_item(0)?.extract()?;
    let address = line.get_item(4)?;
    Ok(Info {
        family,
        socktype: line.get_item(1)?.extract()?,
        proto: line.get_item(2)?.extract()?,
        native: address_from_python(family, &address),
        address: address.into(),
    })
}

/// Reorders addresses so that the families take turns, after `first_count` - 1 of the first one (RFC 8305, section 4).
pub(super) fn interleave(infos: Vec<Info>, first_count: usize) -> Vec<Info> {
    let mut families: Vec<(i32, std::collections::VecDeque<Info>)> = Vec::new();
    for info in infos {
        match families.iter_mut().find(|(family, _)| *family == info.family) {
            Some((_, members)) => members.push_back(info),
            None => families.push((info.family, [info].into())),
        }
    }
    let mut reordered = Vec::new();
    if let Some((_, first)) = families.first_mut() {
        for _ in 1..first_count {
            reordered.extend(first.pop_front());
        }
    }
    while families.iter().any(|(_, members)| !members.is_empty()) {
        for (_, members) in &mut families {
            reordered.extend(members.pop_front());
        }
    }
    reordered
}
