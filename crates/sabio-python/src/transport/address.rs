//! Addresses as the `socket` module has them: tuples for IP, `str` or `bytes` for Unix.

use std::net::{Ipv4Addr, Ipv6Addr};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use sabio_reactor::socket::Address;

use crate::ffi::Obj;

/// So many bytes fit into a Unix address, without the 0 that ends a path.
const MAX_PATH: usize = 107;

/// The address as `socket.getsockname()` would give it.
pub(crate) fn address_to_python(py: Python<'_>, address: &Address) -> PyResult<Obj> {
    let object = match address {
        Address::V4(address) => (address.ip().to_string(), address.port())
            .into_pyobject(py)?
            .into_any(),
        Address::V6(address) => (
            ipv6_text(*address.ip()),
            address.port(),
            address.flowinfo(),
            address.scope_id(),
        )
            .into_pyobject(py)?
            .into_any(),
        Address::UnixPath(path) => py
            .import("os")?
            .call_method1("fsdecode", (PyBytes::new(py, path),))?,
        Address::UnixAbstract(name) => {
            let mut bytes = vec![0];
            bytes.extend_from_slice(name);
            PyBytes::new(py, &bytes).into_any()
        }
        Address::Unnamed => PyString::new(py, "").into_any(),
        Address::Other(_) => return Ok(Obj::none(py)),
    };
    Ok(object.into())
}

/// As inet_ntop(3) writes it, which knows IPv4-compatible addresses too.
fn ipv6_text(ip: Ipv6Addr) -> String {
    let segments = ip.segments();
    if segments[..6] == [0; 6] && segments[6] != 0 {
        let [.., a, b, c, d] = ip.octets();
        return format!("::{}", Ipv4Addr::new(a, b, c, d));
    }
    ip.to_string()
}

/// The address that a tuple of `getaddrinfo()` names, of the family given as a number; None for anything else than a
/// numeric IP address.
pub(crate) fn address_from_python(family: i32, address: &Bound<'_, PyAny>) -> Option<Address> {
    let address = address.cast::<PyTuple>().ok()?;
    let host: String = address.get_item(0).ok()?.extract().ok()?;
    let port: u16 = address.get_item(1).ok()?.extract().ok()?;
    let number = |index| -> Option<u32> {
        if index < address.len() {
            address.get_item(index).ok()?.extract().ok()
        } else {
            Some(0)
        }
    };
    if let (true, Ok(ip)) = (address.len() == 2, host.parse::<Ipv4Addr>()) {
        let address = Address::v4(ip, port);
        return (address.family() == family).then_some(address);
    }
    let ip: Ipv6Addr = host.parse().ok()?;
    let address = Address::v6(ip, port, number(2)?, number(3)?);
    (address.family() == family).then_some(address)
}

/// The address that a path (`str`, `bytes` or an object with `__fspath__`) or an abstract name, which begins with a 0,
/// stands for.
///
/// # Errors
/// TypeError for what is no path, OSError for one that does not fit into an address, ValueError for a 0 inside.
pub(crate) fn unix_address_from_python(path: &Bound<'_, PyAny>) -> PyResult<Address> {
    let encoded = path.py().import("os")?.call_method1("fsencode", (path,))?;
    let bytes = encoded.cast::<PyBytes>()?.as_bytes();
    match bytes {
        [] => Ok(Address::Unnamed),
        [0, name @ ..] if name.len() <= MAX_PATH => Ok(Address::UnixAbstract(name.to_vec())),
        _ if bytes.len() > MAX_PATH => Err(PyOSError::new_err("AF_UNIX path too long")),
        _ if bytes.contains(&0) => Err(PyValueError::new_err("embedded null byte")),
        _ => Ok(Address::UnixPath(bytes.to_vec())),
    }
}
