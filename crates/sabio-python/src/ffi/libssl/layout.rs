//! Where a `_ssl._SSLSocket` keeps its `SSL*`.
//!
//! The structure is not published, but it begins alike in CPython 3.11 to 3.15: after the object's head come the socket,
//! the `SSL*`, the context, two small values, the owner's weak reference and the host name. The words around the `SSL*`
//! are compared with what is known of objects that are made for the purpose, before it is followed; then libssl itself
//! is asked for the object, which `_ssl` notes in each `SSL`.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use super::functions::{Functions, Ssl, is_mapped, same_library};

/// Words of the structure, the object's head being skipped.
const SOCKET: usize = 0;
const SSL: usize = 1;
const CONTEXT: usize = 2;
const SMALL: usize = 3;
const HOST_NAME: usize = 5;
const KNOWN_WORDS: usize = 6;

const HEAD: usize = size_of::<py_ffi::PyObject>();

/// Where `_ssl` notes the Python object in an `SSL`: `SSL_set_app_data`.
const APP_DATA: c_int = 0;

/// Checks the layout with an object of either side. What is wrong is the error.
pub(super) fn check(functions: &Functions, class: &Bound<'_, PyType>) -> Result<(), String> {
    let py = class.py();
    let size = class
        .getattr("__basicsize__")
        .and_then(|size| size.extract::<usize>());
    if !size.is_ok_and(|size| size >= HEAD + KNOWN_WORDS * size_of::<usize>()) {
        return Err("_ssl._SSLSocket is smaller than it was in any known version of CPython".to_owned());
    }
    for server_side in [false, true] {
        let sample = sample(py, server_side).map_err(|error| format!("no SSLObject can be made: {error}"))?;
        if !sample.get_type().is(class) {
            return Err("the ssl module's SSLObject is not on top of _ssl._SSLSocket".to_owned());
        }
        check_sample(functions, &sample, server_side)?;
    }
    Ok(())
}

/// The `_SSLSocket` of an object that nobody uses.
fn sample(py: Python<'_>, server_side: bool) -> PyResult<Bound<'_, PyAny>> {
    let module = py.import("ssl")?;
    let protocol = if server_side {
        "PROTOCOL_TLS_SERVER"
    } else {
        "PROTOCOL_TLS_CLIENT"
    };
    let context = module
        .getattr("SSLContext")?
        .call1((module.getattr(protocol)?,))?;
    let kwargs = PyDict::new(py);
    kwargs.set_item("server_side", server_side)?;
    if !server_side {
        kwargs.set_item("server_hostname", "sample.invalid")?;
    }
    let bio = module.getattr("MemoryBIO")?;
    context
        .call_method("wrap_bio", (bio.call0()?, bio.call0()?), Some(&kwargs))?
        .getattr("_sslobj")
}

fn check_sample(functions: &Functions, sample: &Bound<'_, PyAny>, server_side: bool) -> Result<(), String> {
    let moved = |what: &str| {
        Err(format!(
            "_ssl._SSLSocket has changed: its {what} is not where it was"
        ))
    };
    let attribute = |name: &str| sample.getattr(name).map_err(|error| error.to_string());
    let words = words(sample);
    if words[SOCKET] != 0 {
        return moved("socket");
    }
    if words[CONTEXT] != attribute("context")?.as_ptr().addr() {
        return moved("context");
    }
    // A byte that is 0 until the peer has ended the connection, and in the upper half which side it is.
    if words[SMALL] & 0xff != 0 || words[SMALL] >> 32 != usize::from(server_side) {
        return moved("side");
    }
    let host_name = attribute("server_hostname")?;
    if words[HOST_NAME]
        != if host_name.is_none() {
            0
        } else {
            host_name.as_ptr().addr()
        }
    {
        return moved("host name");
    }
    let address = words[SSL];
    let pointer = std::ptr::with_exposed_provenance::<c_void>(address);
    if address == 0 || !address.is_multiple_of(align_of::<usize>()) || !is_mapped(pointer) {
        return moved("SSL*");
    }
    session_of(functions, sample).map(|_| ())
}

/// The `SSL*` of an object of exactly the class that was checked, which lives as long as the object does. An error where
/// libssl does not know it as that object's.
pub(super) fn session_of(functions: &Functions, socket: &Bound<'_, PyAny>) -> Result<NonNull<Ssl>, String> {
    let words = words(socket);
    let context = socket.getattr("context").map_err(|error| error.to_string())?;
    let pointer = std::ptr::with_exposed_provenance_mut::<Ssl>(words[SSL]);
    let (Some(ssl), true) = (NonNull::new(pointer), words[CONTEXT] == context.as_ptr().addr()) else {
        return Err("_ssl._SSLSocket has changed: its context is not where it was".to_owned());
    };
    // SAFETY: the words around say that this is the `SSL*`; only fields that every SSL has from the start are read.
    let (owner, method) = unsafe {
        (
            (functions.SSL_get_ex_data)(ssl.as_ptr(), APP_DATA),
            (functions.SSL_get_ssl_method)(ssl.as_ptr()),
        )
    };
    if owner.addr() != socket.as_ptr().addr() {
        return Err("libssl does not know the SSL of an SSLObject as that object's".to_owned());
    }
    if !same_library(method, functions.SSL_read_ex as *const c_void) {
        return Err("the SSL of an SSLObject is that of another copy of libssl".to_owned());
    }
    Ok(ssl)
}

/// The first words behind the object's head.
fn words(socket: &Bound<'_, PyAny>) -> [usize; KNOWN_WORDS] {
    // SAFETY: instances of the class are at least so large, as `check` has seen, and the object is alive.
    unsafe {
        socket
            .as_ptr()
            .byte_add(HEAD)
            .cast::<[usize; KNOWN_WORDS]>()
            .read()
    }
}
