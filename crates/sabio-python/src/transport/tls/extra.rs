//! What a TLS transport tells about its connection (asyncio: `BaseTransport.get_extra_info`): what TLS knows, and
//! whatever else the transport below knows. Nothing is looked up before somebody asks, and everything that was there is
//! still told after the connection is closed.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::transport::Tls;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature};

/// The method of the `SSLObject` that gives the value.
fn method(name: &str) -> Option<&'static str> {
    match name {
        "peercert" => Some("getpeercert"),
        "cipher" => Some("cipher"),
        "compression" => Some("compression"),
        _ => None,
    }
}

/// What TLS knows by this name.
fn look_up(slf: &Tls, py: Python<'_>, name: &str) -> PyResult<Option<Obj>> {
    if name == "sslcontext" {
        return Ok(slf.ssl_context.get());
    }
    let (true, Some(ssl_object)) = (slf.handshaken.get(), slf.ssl_object.get()) else {
        return Ok(None);
    };
    if name == "ssl_object" {
        return Ok(Some(ssl_object));
    }
    let Some(method) = method(name) else {
        return Ok(None);
    };
    let extra = match slf.extra.get() {
        Some(extra) => extra.into_bound(py).cast_into::<PyDict>()?,
        None => {
            let extra = PyDict::new(py);
            slf.extra.set(Some(Obj::from(&extra)));
            extra
        }
    };
    if let Some(value) = extra.get_item(name)? {
        return Ok(Some(value.into()));
    }
    let value = ssl_object.bind(py).call_method0(method)?;
    extra.set_item(name, &value)?;
    Ok(Some(value.into()))
}

fn get_extra_info(slf: &Ref<Tls>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let signature = Signature {
        function: "get_extra_info",
        parameters: ["name", "default"],
        required: 1,
        positional: 2,
    };
    let [name, default] = args.parse(&signature)?;
    let default = default.map_or_else(|| Obj::none(py), Obj::from);
    let Some(name) = name else {
        return Ok(default);
    };
    if let Ok(text) = name.extract::<&str>()
        && let Some(value) = look_up(slf, py, text)?
    {
        return Ok(value);
    }
    match slf.lower.get() {
        Some(lower) => {
            let found = lower
                .bind(py)
                .call_method1("get_extra_info", (name, default.bind(py)))?;
            Ok(found.into())
        }
        None => Ok(default),
    }
}

pub(super) fn define(table: &mut MethodTable<Tls>) {
    table.method(
        c"get_extra_info",
        c"get_extra_info($self, name, default=None)\n--\n\nInformation about the connection: 'peercert', 'cipher', 'compression', 'sslcontext', 'ssl_object', and what the transport below knows.",
        get_extra_info,
    );
}
