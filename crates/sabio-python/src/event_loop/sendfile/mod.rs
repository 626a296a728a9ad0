//! `sendfile` and `sock_sendfile` (asyncio: Transferring files): a file goes out by sendfile(2) where it can, and
//! otherwise, if the caller allows it, block by block through this process (`fallback`).
//!
//! As in asyncio, each asks a method of the loop for the native way (`_sendfile_native`, `_sock_sendfile_native`), which
//! others may replace, and SendfileNotAvailableError says that there is none. `native` keeps the place in the file.

mod fallback;
mod native;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use sabio_sync::yield_now;

use self::fallback::Way;
use self::native::{Attempt, Sending};
use super::Loop;
use super::resolve::STREAM;
use super::sock::{Until, check, wait};
use crate::asyncio::asyncio;
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, Global, IntoObj, MethodTable, Obj, Ref, Signature, Visit, call_method, raising};
use crate::held::Shown;
use crate::names::names;
use crate::transport::{FileSender, Stream};

/// What to send, and how.
struct Request {
    /// The transport or the socket.
    target: Obj,
    file: Obj,
    offset: Obj,
    count: Option<Obj>,
    fallback: bool,
}

impl Shown for Request {
    fn show(&self, visit: &mut Visit<'_>) {
        self.target.show(visit);
        self.file.show(visit);
    }
}

impl Request {
    fn parse(args: Args<'_, '_>, function: &'static str, target: &'static str) -> PyResult<Request> {
        let py = args.py();
        let signature = Signature {
            function,
            parameters: [target, "file", "offset", "count", "fallback"],
            required: 2,
            positional: 4,
        };
        let [target, file, offset, count, fallback] = args.parse(&signature)?;
        let given = |value: Option<&Bound<'_, PyAny>>| value.map_or_else(|| Obj::none(py), Obj::from);
        Ok(Request {
            target: given(target),
            file: given(file),
            offset: match offset {
                Some(offset) => Obj::from(offset),
                None => 0_usize.into_obj(py)?,
            },
            count: count.filter(|count| !count.is_none()).map(Obj::from),
            fallback: fallback.map_or(Ok(true), |fallback| fallback.is_truthy())?,
        })
    }

    /// ValueError and TypeError for what asyncio does not take either.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(mode) = self.file.bind(py).getattr_opt("mode")?
            && !mode.contains("b")?
        {
            return Err(PyValueError::new_err("file should be opened in binary mode"));
        }
        if let Some(count) = &self.count {
            check_number(count.bind(py), "count must be a positive integer", 1)?;
        }
        check_number(self.offset.bind(py), "offset must be a non-negative integer", 0)
    }

    fn check_stream_socket(&self, py: Python<'_>) -> PyResult<()> {
        if self.target.bind(py).getattr("type")?.eq(STREAM)? {
            return Ok(());
        }
        Err(PyValueError::new_err(
            "only SOCK_STREAM type sockets are supported",
        ))
    }

    /// The call of one of the loop's methods for the native way.
    fn native_call(&self, py: Python<'_>, event_loop: &Ref<Loop>, method: &str) -> PyResult<Obj> {
        let count = self.count.clone().unwrap_or_else(|| Obj::none(py));
        let args = (
            self.target.bind(py),
            self.file.bind(py),
            self.offset.bind(py),
            count.bind(py),
        );
        Ok(event_loop.bind(py).call_method1(method, args)?.into())
    }

    /// The native way: None if there is none and another may be taken.
    async fn send_natively(
        &self,
        event_loop: &Ref<Loop>,
        awaiter: &Awaiter,
        method: &str,
    ) -> PyResult<Option<Obj>> {
        let sending = Python::attach(|py| self.native_call(py, event_loop, method))?;
        match awaiter.wait(sending).await {
            Ok(sent) => Ok(Some(sent)),
            Err(error) if self.fallback && Python::attach(|py| is_not_available(py, &error))? => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// TypeError for what is no whole number, ValueError for one below `least`.
fn check_number(value: &Bound<'_, PyAny>, problem: &str, least: i32) -> PyResult<()> {
    let message = || PyResult::Ok(format!("{problem} (got {})", value.repr()?));
    if !value.is_instance_of::<PyInt>() {
        return Err(PyTypeError::new_err(message()?));
    }
    if value.lt(least)? {
        return Err(PyValueError::new_err(message()?));
    }
    Ok(())
}

fn is_not_available(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let class = &asyncio(py)?.sendfile_not_available_error;
    error.value(py).is_instance(class.bind(py))
}

/// SendfileNotAvailableError.
pub(super) fn not_available(py: Python<'_>, message: &str) -> PyErr {
    let made = asyncio(py).and_then(|asyncio| {
        let class = asyncio.sendfile_not_available_error.bind(py);
        class.call1((message,))
    });
    match made {
        Ok(error) => raising(error),
        Err(error) => error,
    }
}

fn sock_sendfile(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Request::parse(args, "sock_sendfile", "sock")?;
    create_with_held(args.py(), "Loop.sock_sendfile", slf, |slf, awaiter| {
        let request = awaiter.hold(request);
        async move {
            Python::attach(|py| {
                check(py, &slf, &request.target)?;
                request.check(py)?;
                request.check_stream_socket(py)
            })?;
            let method = "_sock_sendfile_native";
            match request.send_natively(&slf, &awaiter, method).await? {
                Some(sent) => Ok(sent),
                None => {
                    let way = Way::Socket(request.target.clone());
                    fallback::send(&slf, &awaiter, &request, way).await
                }
            }
        }
    })
}

fn sock_sendfile_native(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = native_request(args, "_sock_sendfile_native", "sock")?;
    create_with_held(
        args.py(),
        "Loop._sock_sendfile_native",
        slf,
        |slf, awaiter| async move {
            let request = awaiter.hold(request);
            let sending = Python::attach(|py| {
                // On a blocking socket, sendfile(2) would keep everything waiting; the other way does not.
                if call_method(py, &request.target, &names(py)?.gettimeout, &[])?
                    .bind(py)
                    .is_none()
                {
                    return Err(not_available(py, "the socket is blocking"));
                }
                Sending::open(py, &request.file, &request.offset, request.count.as_ref())
            })?;
            let Some(mut sending) = sending else {
                return Python::attach(|py| 0_usize.into_obj(py));
            };
            loop {
                let (fd, attempt) = Python::attach(|py| {
                    let fd = call_method(py, &request.target, &names(py)?.fileno, &[])?;
                    let fd = fd.bind(py).extract()?;
                    PyResult::Ok((fd, sending.attempt(py, fd)?))
                })?;
                match attempt {
                    Attempt::Done => return Python::attach(|py| sending.finish(py)),
                    Attempt::Blocked => wait(&slf, &request.target, fd, Until::Writable).await?,
                    Attempt::Sent => yield_now().await,
                }
            }
        },
    )
}

/// The arguments of a native way: no fallback.
fn native_request(args: Args<'_, '_>, function: &'static str, target: &'static str) -> PyResult<Request> {
    let signature = Signature {
        function,
        parameters: [target, "file", "offset", "count"],
        required: 4,
        positional: 4,
    };
    let [Some(target), Some(file), Some(offset), count] = args.parse(&signature)? else {
        return Err(PyTypeError::new_err(format!("{function}() takes four arguments")));
    };
    Ok(Request {
        target: Obj::from(target),
        file: Obj::from(file),
        offset: Obj::from(offset),
        count: count.filter(|count| !count.is_none()).map(Obj::from),
        fallback: false,
    })
}

/// How asyncio's transports say whether a file can be sent through them: members of `asyncio.constants._SendfileMode`.
struct Modes {
    unsupported: Obj,
    try_native: Obj,
}

static MODES: Global<Modes> = Global::new();

/// Whether the native way is to be tried. RuntimeError for a transport that takes no files, is closing, or takes them
/// only by a fallback that the caller does not want.
fn try_native(py: Python<'_>, request: &Request) -> PyResult<bool> {
    let transport = request.target.bind(py);
    if transport.call_method0("is_closing")?.is_truthy()? {
        return Err(PyRuntimeError::new_err("Transport is closing"));
    }
    let modes = MODES.get(py)?;
    let mode = transport.getattr_opt("_sendfile_compatible")?;
    let Some(mode) = mode.filter(|mode| !modes.unsupported.is(mode)) else {
        return Err(PyRuntimeError::new_err(format!(
            "sendfile is not supported for transport {}",
            transport.repr()?
        )));
    };
    let is_native = modes.try_native.is(&mode);
    if !is_native && !request.fallback {
        return Err(PyRuntimeError::new_err(format!(
            "fallback is disabled and native sendfile is not supported for transport {}",
            transport.repr()?
        )));
    }
    Ok(is_native)
}

fn sendfile(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Request::parse(args, "sendfile", "transport")?;
    create_with_held(args.py(), "Loop.sendfile", slf, |slf, awaiter| {
        let request = awaiter.hold(request);
        async move {
            if Python::attach(|py| try_native(py, &request))? {
                let method = "_sendfile_native";
                if let Some(sent) = request.send_natively(&slf, &awaiter, method).await? {
                    return Ok(sent);
                }
            }
            let way = Python::attach(|py| Way::transport(py, &request.target))?;
            fallback::send(&slf, &awaiter, &request, way).await
        }
    })
}

fn sendfile_native(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = native_request(args, "_sendfile_native", "transp")?;
    create_with_held(
        args.py(),
        "Loop._sendfile_native",
        slf,
        |slf, awaiter| async move {
            let request = awaiter.hold(request);
            let sender = Python::attach(|py| {
                slf.check_awaited_here()?;
                let target = Ref::<Stream>::downcast(request.target.bind(py));
                let Some(stream) = target.filter(|stream| stream.is_on(&slf)) else {
                    return Err(not_available(py, "sendfile syscall is not supported"));
                };
                request.check(py)?;
                FileSender::begin(stream, py)
            })?;
            let sender = awaiter.hold(sender);
            sender.drained().await?;
            let sending = Python::attach(|py| {
                Sending::open(py, &request.file, &request.offset, request.count.as_ref())
            })?;
            let Some(mut sending) = sending else {
                return Python::attach(|py| 0_usize.into_obj(py));
            };
            loop {
                match Python::attach(|py| sending.attempt(py, sender.number()))? {
                    Attempt::Done => return Python::attach(|py| sending.finish(py)),
                    Attempt::Blocked => sender.writable().await?,
                    Attempt::Sent => yield_now().await,
                }
            }
        },
    )
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"sendfile",
            c"sendfile($self, transport, file, offset=0, count=None, *, fallback=True)\n--\n\nSend a file through a transport: the number of bytes. A coroutine.",
            sendfile,
        )
        .method(
            c"sock_sendfile",
            c"sock_sendfile($self, sock, file, offset=0, count=None, *, fallback=True)\n--\n\nSend a file through a socket: the number of bytes. A coroutine.",
            sock_sendfile,
        )
        .method(
            c"_sendfile_native",
            c"_sendfile_native($self, transp, file, offset, count)\n--\n\nSend a file through a transport by sendfile(2), or raise SendfileNotAvailableError. A coroutine.",
            sendfile_native,
        )
        .method(
            c"_sock_sendfile_native",
            c"_sock_sendfile_native($self, sock, file, offset, count)\n--\n\nSend a file through a socket by sendfile(2), or raise SendfileNotAvailableError. A coroutine.",
            sock_sendfile_native,
        );
}

/// Looks up what transports say of themselves and builds the class of the fallback's protocol.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let modes = py.import("asyncio.constants")?.getattr("_SendfileMode")?;
    MODES.set(
        py,
        Modes {
            unsupported: modes.getattr("UNSUPPORTED")?.into(),
            try_native: modes.getattr("TRY_NATIVE")?.into(),
        },
    );
    fallback::init(py)
}
