//! What a transport tells about its connection (asyncio: `BaseTransport.get_extra_info`).
//!
//! Nothing is looked up before somebody asks, and what was once told stays in the dictionary `_extra`, to which others
//! may add. Everything is still told after the connection is closed.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sabio_reactor::socket::Address;

use super::address::address_to_python;
use super::shared::{Shared, Transport};
use crate::ffi::{Args, Global, MethodTable, Obj, Ref, Signature};

static TRANSPORT_SOCKET: Global<Obj> = Global::new();

/// Looks up `asyncio.trsock.TransportSocket`.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let class = py.import("asyncio.trsock")?.getattr("TransportSocket")?;
    TRANSPORT_SOCKET.set(py, class.into());
    Ok(())
}

/// A `TransportSocket` around a Python socket.
pub(crate) fn transport_socket(py: Python<'_>, socket: &Obj) -> PyResult<Obj> {
    Ok(TRANSPORT_SOCKET
        .get(py)?
        .bind(py)
        .call1((socket.bind(py),))?
        .into())
}

/// The dictionary, which is made when the first value is stored.
fn extra<'py>(slf: &Shared, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
    match slf.extra.get() {
        Some(extra) => Ok(extra.into_bound(py).cast_into::<PyDict>()?),
        None => {
            let extra = PyDict::new(py);
            slf.extra.set(Some(Obj::from(&extra)));
            Ok(extra)
        }
    }
}

/// An address as Python has it. Of families that are not known here the Python socket knows more.
fn address(slf: &Shared, py: Python<'_>, address: Option<&Address>, method: &str) -> PyResult<Obj> {
    match address {
        None => Ok(Obj::none(py)),
        Some(Address::Other(_)) if slf.descriptor.is_open() => {
            let socket = slf.descriptor.python_socket(py)?;
            match socket.bind(py).call_method0(method) {
                Err(error) if error.is_instance_of::<PyOSError>(py) => Ok(Obj::none(py)),
                told => Ok(told?.into()),
            }
        }
        Some(address) => address_to_python(py, address),
    }
}

/// The value for one of the names that the transport knows itself; None for any other.
fn look_up(slf: &Shared, py: Python<'_>, name: &str) -> PyResult<Option<Obj>> {
    match name {
        "socket" => transport_socket(py, &slf.descriptor.python_socket(py)?).map(Some),
        "sockname" => address(slf, py, slf.descriptor.local(), "getsockname").map(Some),
        "peername" => address(slf, py, slf.descriptor.peer(), "getpeername").map(Some),
        _ => Ok(None),
    }
}

/// The value that is in the dictionary already, or that can be looked up.
fn get<'py>(slf: &Shared, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = name.py();
    if !slf.extra.is_none()
        && let Some(value) = extra(slf, py)?.get_item(name)?
    {
        return Ok(Some(value));
    }
    let Ok(text) = name.extract::<&str>() else {
        // It could be in there; TypeError for what is no key.
        return extra(slf, py)?.contains(name).map(|_| None);
    };
    let Some(value) = look_up(slf, py, text)? else {
        return Ok(None);
    };
    let value = value.into_bound(py);
    extra(slf, py)?.set_item(name, &value)?;
    Ok(Some(value))
}

fn get_extra_info<T: Transport>(slf: &Ref<T>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let signature = Signature {
        function: "get_extra_info",
        parameters: ["name", "default"],
        required: 1,
        positional: 2,
    };
    let [name, default] = args.parse(&signature)?;
    let found = match name {
        Some(name) => get(slf.shared(), name)?,
        None => None,
    };
    Ok(match (found, default) {
        (Some(value), _) => value.into(),
        (None, Some(default)) => Obj::from(default),
        (None, None) => Obj::none(py),
    })
}

pub(super) fn define<T: Transport>(table: &mut MethodTable<T>) {
    table
        .method(
            c"get_extra_info",
            c"get_extra_info($self, name, default=None)\n--\n\nInformation about the connection: 'socket', 'sockname', 'peername'.",
            get_extra_info::<T>,
        )
        .getter(c"_extra", c"What get_extra_info() tells, as a dict.", |slf, py| {
            for name in ["socket", "sockname", "peername"] {
                get(slf.shared(), pyo3::types::PyString::new(py, name).as_any())?;
            }
            Ok(Obj::from(extra(slf.shared(), py)?))
        })
        .getter(c"_sock", c"The socket, or None once it is closed.", |slf, py| {
            slf.shared().descriptor
                .is_open()
                .then(|| slf.shared().descriptor.python_socket(py))
                .transpose()
        })
        .getter(c"_sock_fd", c"The number of the descriptor.", |slf, _py| {
            Ok(slf.shared().descriptor.number() as usize)
        });
}
