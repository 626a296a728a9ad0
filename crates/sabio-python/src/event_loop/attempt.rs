//! Attempts to connect to the addresses of a host: one after the other, or racing (RFC 8305, happy eyeballs).
//!
//! A socket that is being connected is owned by the future that connects it. When that is dropped, because the caller
//! was cancelled or another attempt has won, the wait is taken out of the reactor and the descriptor closed, in this order.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use sabio_reactor::Nanos;
use sabio_reactor::socket::{self, Connect};
use sabio_sync::staggered_race;

use super::establish::CloseUnlessKept;
use super::python_socket::{Connected, PythonSocket, is_watched};
use super::resolve::Info;
use super::{Loop, time};
use crate::ffi::{Obj, Ref};
use crate::os_error::{os_error, with_message};
use crate::transport::Owner;

/// Connects to the first address that answers, from a local address if some are given. With a delay (happy eyeballs)
/// the next attempt starts when that has passed, and the first one that succeeds wins.
///
/// # Errors
/// OSError that tells of all attempts, ExceptionGroup of all their errors if that is wanted, or what is wrong with an
/// address.
pub(super) async fn connect(
    event_loop: &Ref<Loop>,
    infos: &[Info],
    local: Option<&[Info]>,
    delay: Option<Duration>,
    all_errors: bool,
) -> PyResult<Connected> {
    let errors = match delay {
        None => match one_by_one(event_loop, infos, local).await {
            Ok(connected) => return Ok(connected),
            Err(errors) => errors,
        },
        Some(delay) => match racing(event_loop, infos, local, delay).await {
            Ok(connected) => return Ok(connected),
            Err(errors) => errors,
        },
    };
    Err(Python::attach(|py| combined(py, errors, all_errors)))
}

async fn one_by_one(
    event_loop: &Ref<Loop>,
    infos: &[Info],
    local: Option<&[Info]>,
) -> Result<Connected, Vec<PyErr>> {
    let mut errors = Vec::new();
    for info in infos {
        match connect_one(event_loop, info, local).await {
            Ok(connected) => return Ok(connected),
            Err(failed) => errors.extend(failed),
        }
        // Anything but an OSError is not about this one address.
        if errors.last().is_some_and(|error| !is_os_error(error)) {
            break;
        }
    }
    Err(errors)
}

async fn racing(
    event_loop: &Ref<Loop>,
    infos: &[Info],
    local: Option<&[Info]>,
    delay: Duration,
) -> Result<Connected, Vec<PyErr>> {
    let attempts = infos
        .iter()
        .map(|info| connect_one(event_loop, info, local))
        .collect();
    let head_start = || {
        // A clock of the program's own that fails is heard of in the loop's next turn.
        let now = Python::attach(|py| Loop::time(event_loop, py)).unwrap_or_else(|_| time());
        let deadline = Nanos::at_or_after(now + delay.as_secs_f64());
        event_loop.reactor().sleep_until(deadline)
    };
    let raced = staggered_race(attempts, head_start).await;
    raced.map_err(|errors| errors.into_iter().flatten().collect())
}

fn is_os_error(error: &PyErr) -> bool {
    Python::attach(|py| error.is_instance_of::<PyOSError>(py))
}

/// Makes a socket, binds it if asked to, and connects it. The errors are those of the attempts to bind, then the last
/// one; there is at least one.
async fn connect_one(
    event_loop: &Ref<Loop>,
    info: &Info,
    local: Option<&[Info]>,
) -> Result<Connected, Vec<PyErr>> {
    let fail = |error: PyErr| vec![error];
    if Python::attach(is_watched).map_err(fail)? {
        return connect_by_object(event_loop, info, local).await;
    }
    let fd = socket::socket(info.family, info.socktype, info.proto).map_err(|error| fail(os_error(error)))?;
    let mut errors = Vec::new();
    if let Some(local) = local {
        let bind_to = |py: Python<'_>, info: &Info| match &info.native {
            Some(address) => socket::bind(&fd, address).map_err(os_error),
            None => with_python_socket(py, &fd, |socket| {
                socket.call_method1("bind", (info.address.bind(py),)).map(|_| ())
            }),
        };
        bind(bind_to, info.family, local, &mut errors)?;
    }
    let connected = match &info.native {
        Some(address) => socket::connect(&fd, address).map_err(os_error),
        None => connect_by_python(&fd, &info.address),
    };
    let result = match connected {
        Ok(Connect::Done) => Ok(()),
        Ok(Connect::InProgress) => finish_connect(event_loop, &fd, &info.address).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok((Owner::Fd(fd), CloseUnlessKept(None))),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

/// The same by a Python socket, which whoever watches is told of.
async fn connect_by_object(
    event_loop: &Ref<Loop>,
    info: &Info,
    local: Option<&[Info]>,
) -> Result<Connected, Vec<PyErr>> {
    let made = Python::attach(|py| PythonSocket::new(py, info.family, info.socktype, info.proto));
    let socket = made.map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    if let Some(local) = local {
        let bind_to = |py: Python<'_>, info: &Info| socket.bind(py, &info.address);
        bind(bind_to, info.family, local, &mut errors)?;
    }
    match socket.connect(event_loop, &info.address).await {
        Ok(()) => Ok(socket.into_connected()),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

/// Waits for the end of a connect.
async fn finish_connect(event_loop: &Ref<Loop>, fd: &OwnedFd, address: &Obj) -> PyResult<()> {
    let reactor = event_loop.reactor().clone();
    reactor.writable(fd.as_raw_fd()).await.map_err(os_error)?;
    socket::take_error(fd).map_err(|error| match error.raw_os_error() {
        Some(code) => {
            let address = Python::attach(|py| {
                let text = address.bind(py).str();
                text.map_or_else(|_| String::new(), |text| text.to_string())
            });
            with_message(code, format!("Connect call failed {address}"))
        }
        None => os_error(error),
    })
}

/// A call on a Python socket that is lent the descriptor: for addresses that only Python can read.
fn with_python_socket<R>(
    py: Python<'_>,
    fd: &OwnedFd,
    call: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<R>,
) -> PyResult<R> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("fileno", fd.as_raw_fd())?;
    let socket = py.import("socket")?.getattr("socket")?.call((), Some(&kwargs))?;
    let result = socket
        .call_method1("setblocking", (false,))
        .and_then(|_| call(&socket));
    socket.call_method0("detach")?;
    result
}

fn connect_by_python(fd: &OwnedFd, address: &Obj) -> PyResult<Connect> {
    Python::attach(|py| {
        let result = with_python_socket(py, fd, |socket| {
            socket.call_method1("connect", (address.bind(py),)).map(|_| ())
        });
        match result {
            Ok(()) => Ok(Connect::Done),
            Err(error)
                if error.is_instance_of::<PyBlockingIOError>(py)
                    || error.is_instance_of::<PyInterruptedError>(py) =>
            {
                Ok(Connect::InProgress)
            }
            Err(error) => Err(error),
        }
    })
}

/// Binds to the first local address of the same family that can be bound to; adds the errors of those that can not.
/// When none can, the errors come back.
fn bind(
    bind_to: impl Fn(Python<'_>, &Info) -> PyResult<()>,
    family: i32,
    local: &[Info],
    errors: &mut Vec<PyErr>,
) -> Result<(), Vec<PyErr>> {
    for info in local.iter().filter(|info| info.family == family) {
        let bound =
            Python::attach(|py| bind_to(py, info).map_err(|error| bind_error(py, &info.address, &error)));
        match bound {
            Ok(()) => return Ok(()),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        errors.push(PyOSError::new_err(format!(
            "no matching local address with family={} found",
            family_text(family)
        )));
    }
    Err(std::mem::take(errors))
}

/// How Python's enumeration of address families describes this one.
fn family_text(family: i32) -> String {
    Python::attach(|py| {
        let class = py.import("socket")?.getattr("AddressFamily")?;
        PyResult::Ok(class.call1((family,))?.repr()?.to_string())
    })
    .unwrap_or_else(|_| family.to_string())
}

/// The error of a bind, with the address in its message; as it is when it is none of the system, of an impossible port.
pub(super) fn bind_error(py: Python<'_>, address: &Obj, error: &PyErr) -> PyErr {
    if !error.is_instance_of::<PyOSError>(py) {
        return error.clone_ref(py);
    }
    let reworded = || -> PyResult<PyErr> {
        let value = error.value(py);
        let errno = value.getattr("errno")?;
        if errno.is_none() {
            return Ok(error.clone_ref(py));
        }
        // Which words follow the address differs between versions of asyncio.
        let words = if cfg!(Py_3_13) {
            value.str()?.to_string()
        } else {
            value.getattr("strerror")?.str()?.to_string()
        };
        let message = format!(
            "error while attempting to bind on address {}: {}",
            address.bind(py).repr()?,
            words.to_lowercase()
        );
        Ok(with_message(errno.extract()?, message))
    };
    reworded().unwrap_or_else(|error| error)
}

/// What stands for all the errors together.
fn combined(py: Python<'_>, mut errors: Vec<PyErr>, all_errors: bool) -> PyErr {
    if let Some(index) = errors
        .iter()
        .position(|error| !error.is_instance_of::<PyOSError>(py))
    {
        return errors.swap_remove(index);
    }
    if all_errors {
        let list = PyList::new(py, errors.iter().map(|error| error.value(py)));
        return match list.and_then(|list| {
            py.import("builtins")?
                .getattr("ExceptionGroup")?
                .call1(("create_connection failed", list))
        }) {
            Ok(group) => PyErr::from_value(group),
            Err(error) => error,
        };
    }
    let texts: Vec<String> = errors
        .iter()
        .map(|error| {
            error
                .value(py)
                .str()
                .map_or_else(|_| String::new(), |text| text.to_string())
        })
        .collect();
    match texts.first() {
        None => PyTimeoutError::new_err("create_connection failed"),
        Some(model) if texts.iter().all(|text| text == model) => errors.swap_remove(0),
        Some(_) => PyOSError::new_err(format!("Multiple exceptions: {}", texts.join(", "))),
    }
}
