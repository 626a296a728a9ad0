//! The `sock_*` methods (asyncio: Working with socket objects directly) on the native coroutine; `sock_connect` has a
//! file of its own.
//!
//! Each makes its system call first and waits only if the call would block. The socket is the user's: its number is
//! asked for again after each wait, so that a socket which was closed meanwhile fails with EBADF, and nothing is ever
//! read from or written to whoever has the number by then. Calls never block, also on a blocking socket.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use sabio_reactor::socket::{self, Address};
use sabio_reactor::sys;

use super::{Loop, LoopReadiness};
use crate::awaiter::{Awaiter, cleared};
use crate::begun::{Begin, Begun};
use crate::coroutine::create_method;
use crate::ffi::{
    Args, IntoObj, MethodTable, Obj, ObjCell, Outcome, ReadBuffer, Ref, Signature, WriteBuffer,
};
use crate::ffi::{bytes_from_slice, call_method, recv_into_new_bytes};
use crate::names::names;
use crate::os_error::{from_errno, os_error};
use crate::socket_module::socket_module;
use crate::transport::{address_to_python, check_unused};

/// `EBADF`, the same on every Linux.
const BAD_DESCRIPTOR: i32 = 9;

/// The two arguments of most methods here.
pub(super) fn two_args(
    args: Args<'_, '_>,
    function: &'static str,
    second: &'static str,
) -> PyResult<(Obj, Obj)> {
    let signature = Signature {
        function,
        parameters: ["sock", second],
        required: 2,
        positional: 2,
    };
    match args.parse(&signature)? {
        [Some(sock), Some(second)] => Ok((Obj::from(sock), Obj::from(second))),
        _ => Err(PyTypeError::new_err(format!("{function}() takes two arguments"))),
    }
}

/// Begins an operation on a socket: TypeError for a TLS socket, ValueError for a blocking one (debug mode).
#[inline]
pub(super) fn check(py: Python<'_>, slf: &Ref<Loop>, sock: &Obj) -> PyResult<()> {
    let module = socket_module(py)?;
    let bound = sock.bind(py);
    if !module.socket_class.is(bound.get_type().as_any())
        && let Some(ssl_socket) = &module.ssl_socket
        && bound.is_instance(ssl_socket.bind(py))?
    {
        return Err(PyTypeError::new_err("Socket cannot be of type SSLSocket"));
    }
    if slf.debug() && is_blocking(py, sock)? {
        return Err(PyValueError::new_err("the socket must be non-blocking"));
    }
    slf.expect_events();
    Ok(())
}

fn is_blocking(py: Python<'_>, sock: &Obj) -> PyResult<bool> {
    let timeout = call_method(py, sock, &names(py)?.gettimeout, &[])?;
    timeout.bind(py).ne(0)
}

/// The socket's number now. EBADF for a closed socket.
#[inline]
pub(super) fn number(py: Python<'_>, sock: &Obj) -> PyResult<RawFd> {
    let fd = call_method(py, sock, &names(py)?.fileno, &[])?;
    let fd: RawFd = fd.bind(py).extract()?;
    if fd < 0 {
        return Err(from_errno(BAD_DESCRIPTOR));
    }
    Ok(fd)
}

/// As [`number`], for the beginning of an operation: what has no number must at least have the method of a socket that
/// asyncio would call.
fn number_for(py: Python<'_>, sock: &Obj, method: &str) -> PyResult<RawFd> {
    number(py, sock).or_else(|error| {
        if error.is_instance_of::<PyAttributeError>(py) {
            sock.bind(py).getattr(method)?;
        }
        Err(error)
    })
}

/// What a call gave; `None` if it would block.
#[inline]
fn attempted<T>(result: io::Result<T>) -> PyResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(os_error(error)),
    }
}

/// What a socket is waited for.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Readable,
    Writable,
}

/// Waits for the socket whose number is `fd`. EBADF if it was closed, or has another number, when the wait is over;
/// RuntimeError if a transport owns the descriptor.
pub(super) async fn wait(slf: &Ref<Loop>, sock: &Obj, fd: RawFd, until: Until) -> PyResult<()> {
    readiness(slf, fd, until)?.await.map_err(os_error)?;
    Python::attach(|py| check_number(py, sock, fd))
}

/// As [`wait`], with the loop and the socket that the coroutine keeps: see [`Awaiter::keep`].
async fn wait_kept(awaiter: &Awaiter, fd: RawFd, until: Until) -> PyResult<()> {
    let ready = readiness(&kept_loop(awaiter)?, fd, until)?;
    ready.await.map_err(os_error)?;
    let sock = awaiter.argument()?;
    Python::attach(|py| check_number(py, &sock, fd))
}

fn kept_loop(awaiter: &Awaiter) -> PyResult<Ref<Loop>> {
    let owner = awaiter.owner()?;
    Python::attach(|py| Ref::<Loop>::downcast(owner.bind(py)).cloned()).ok_or_else(cleared)
}

/// A future that ends when the descriptor is ready; it holds no Python object.
fn readiness(slf: &Ref<Loop>, fd: RawFd, until: Until) -> PyResult<LoopReadiness> {
    slf.check_awaited_here()?;
    if slf.reactor().owner_of(fd).is_some() {
        // It is refused by its number, as in asyncio.
        Python::attach(|py| check_unused(slf, fd.into_pyobject(py)?.as_any(), fd))?;
    }
    slf.expect_events();
    Ok(match until {
        Until::Readable => slf.reactor().readable(fd),
        Until::Writable => slf.reactor().writable(fd),
    })
}

fn check_number(py: Python<'_>, sock: &Obj, fd: RawFd) -> PyResult<()> {
    if number(py, sock)? == fd {
        Ok(())
    } else {
        Err(from_errno(BAD_DESCRIPTOR))
    }
}

/// Receives up to `size` bytes into a new `bytes` object.
fn try_recv(py: Python<'_>, fd: RawFd, size: usize) -> PyResult<Option<Obj>> {
    let received = recv_into_new_bytes(py, size, |memory| {
        socket::recv_uninit(sys::borrow(fd)?, memory).map(|received| received.len())
    })?;
    attempted(received)
}

/// How much is to be received, in bytes. TypeError, OverflowError and ValueError as of `socket.recv()`.
fn size_of(size: &Bound<'_, PyAny>) -> PyResult<usize> {
    let size: isize = size.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(size.py()) {
            PyOverflowError::new_err("Python int too large to convert to C ssize_t")
        } else {
            error
        }
    })?;
    usize::try_from(size).map_err(|_| PyValueError::new_err("negative buffersize in recv"))
}

/// The loop, the socket and the other argument of a method.
fn operands<'a>(py: Python<'a>, slf: &'a Obj, given: &ObjCell) -> PyResult<(&'a Ref<Loop>, Obj, Obj)> {
    let (Some(event_loop), Some(given)) = (Ref::<Loop>::downcast(slf.bind(py)), given.take()) else {
        return Err(cleared());
    };
    let given = given.bind(py).cast::<PyTuple>()?;
    Ok((event_loop, given.get_item(0)?.into(), given.get_item(1)?.into()))
}

/// A coroutine of a method with two arguments that is tried at once.
fn attempt_first(
    slf: &Ref<Loop>,
    args: Args<'_, '_>,
    name: &'static str,
    (sock, second): (Obj, Obj),
    begin: Begin,
) -> PyResult<Obj> {
    let py = args.py();
    let given = PyTuple::new(py, [sock.bind(py), second.bind(py)])?;
    create_method(py, name, slf.as_obj(), Some(given.into()), begin)
}

fn begin_recv(py: Python<'_>, slf: &Obj, given: &ObjCell) -> Outcome<Begun> {
    let (event_loop, sock, size) = operands(py, slf, given)?;
    check(py, event_loop, &sock)?;
    let fd = number_for(py, &sock, "recv")?;
    let size = size_of(size.bind(py))?;
    let received = match size {
        0 => Some(bytes_from_slice(py, b"")?),
        _ => try_recv(py, fd, size)?,
    };
    if let Some(received) = received {
        return Ok(Begun::Done(received));
    }
    Ok(Begun::awaits(|awaiter| {
        awaiter.keep(Some(slf.clone()), Some(sock));
        async move {
            loop {
                wait_kept(&awaiter, fd, Until::Readable).await?;
                if let Some(received) = Python::attach(|py| try_recv(py, fd, size))? {
                    return Ok(received);
                }
            }
        }
    }))
}

fn sock_recv(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let given = two_args(args, "sock_recv", "n")?;
    attempt_first(slf, args, "Loop.sock_recv", given, begin_recv)
}

/// Receives into the user's memory: how many bytes came. TypeError if it can not be written to.
fn try_recv_into(py: Python<'_>, fd: RawFd, buffer: &Obj) -> PyResult<Option<Obj>> {
    let buffer = buffer.bind(py);
    let mut view = match WriteBuffer::new(buffer) {
        Ok(view) => view,
        // Whatever is wrong, `socket.recv_into()` says this.
        Err(_) => {
            let name = match buffer.is_none() {
                true => "None".to_owned(),
                false => buffer.get_type().name()?.to_string(),
            };
            return Err(PyTypeError::new_err(format!(
                "recv_into() argument 1 must be read-write bytes-like object, not {name}"
            )));
        }
    };
    if view.len() == 0 {
        return 0_usize.into_obj(py).map(Some);
    }
    let received = sys::borrow(fd).and_then(|fd| socket::recv(fd, view.as_mut_slice()));
    attempted(received)?.map(|count| count.into_obj(py)).transpose()
}

fn begin_recv_into(py: Python<'_>, slf: &Obj, given: &ObjCell) -> Outcome<Begun> {
    let (event_loop, sock, buffer) = operands(py, slf, given)?;
    check(py, event_loop, &sock)?;
    let fd = number_for(py, &sock, "recv_into")?;
    if let Some(count) = try_recv_into(py, fd, &buffer)? {
        return Ok(Begun::Done(count));
    }
    Ok(Begun::awaits(|awaiter| {
        awaiter.keep(Some(slf.clone()), Some(sock));
        let buffer = awaiter.hold(buffer);
        async move {
            loop {
                wait_kept(&awaiter, fd, Until::Readable).await?;
                if let Some(count) = Python::attach(|py| try_recv_into(py, fd, &buffer))? {
                    return Ok(count);
                }
            }
        }
    }))
}

fn sock_recv_into(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let given = two_args(args, "sock_recv_into", "buf")?;
    attempt_first(slf, args, "Loop.sock_recv_into", given, begin_recv_into)
}

/// What is being sent, held in place until all of it is gone.
enum Data {
    Bytes(Obj),
    Buffer(ReadBuffer),
}

impl Data {
    fn new(py: Python<'_>, data: &Obj) -> PyResult<Data> {
        if data.bind(py).is_exact_instance_of::<PyBytes>() {
            Ok(Data::Bytes(data.clone()))
        } else {
            Ok(Data::Buffer(ReadBuffer::new(data.bind(py))?))
        }
    }

    /// The bytes. No call into Python may be made while they are looked at.
    fn as_slice<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        match self {
            Data::Bytes(bytes) => bytes
                .bind(py)
                .cast::<PyBytes>()
                .map_or(&[], |bytes| bytes.as_bytes()),
            Data::Buffer(buffer) => buffer.as_slice(),
        }
    }

    /// Sends what lies behind the first `sent` bytes: how many are sent now.
    fn try_send(&self, py: Python<'_>, fd: RawFd, sent: usize) -> PyResult<Sending> {
        let all = self.as_slice(py);
        let rest = all.get(sent..).unwrap_or_default();
        let count = attempted(sys::borrow(fd).and_then(|fd| socket::send(fd, rest)))?.unwrap_or(0);
        let sent = sent + count;
        Ok(if sent >= all.len() {
            Sending::Done
        } else {
            Sending::Rest(sent)
        })
    }
}

/// How far sending has come.
enum Sending {
    Done,
    /// So many bytes are sent.
    Rest(usize),
}

fn begin_sendall(py: Python<'_>, slf: &Obj, given: &ObjCell) -> Outcome<Begun> {
    let (event_loop, sock, data) = operands(py, slf, given)?;
    check(py, event_loop, &sock)?;
    let fd = number_for(py, &sock, "send")?;
    let data = Data::new(py, &data)?;
    let Sending::Rest(mut sent) = data.try_send(py, fd, 0)? else {
        return Ok(Begun::Done(Obj::none(py)));
    };
    Ok(Begun::awaits(|awaiter| {
        awaiter.keep(Some(slf.clone()), Some(sock));
        async move {
            loop {
                wait_kept(&awaiter, fd, Until::Writable).await?;
                match Python::attach(|py| data.try_send(py, fd, sent))? {
                    Sending::Done => return Ok(Python::attach(Obj::none)),
                    Sending::Rest(so_far) => sent = so_far,
                }
            }
        }
    }))
}

fn sock_sendall(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let given = two_args(args, "sock_sendall", "data")?;
    attempt_first(slf, args, "Loop.sock_sendall", given, begin_sendall)
}

/// Takes a connection from the listener: the new socket, nonblocking, and its peer's address.
fn try_accept(py: Python<'_>, sock: &Obj, fd: RawFd) -> PyResult<Option<Obj>> {
    let Some((connection, peer)) = attempted(sys::borrow(fd).and_then(socket::accept))? else {
        return Ok(None);
    };
    let connection = python_socket(py, sock.bind(py), connection)?;
    connection.call_method1("setblocking", (false,))?;
    let address = match &peer {
        Address::Other(_) => connection.call_method0("getpeername")?.into(),
        known => address_to_python(py, known)?,
    };
    Ok(Some(
        (connection, address.bind(py))
            .into_pyobject(py)?
            .into_any()
            .into(),
    ))
}

/// Python's socket for a connection of the listener `sock`, as `sock.accept()` makes it.
fn python_socket<'py>(
    py: Python<'py>,
    sock: &Bound<'py, PyAny>,
    connection: OwnedFd,
) -> PyResult<Bound<'py, PyAny>> {
    let names = names(py)?;
    let module = socket_module(py)?;
    let class = match module.current(py, &names.socket)? {
        Some(class) => class,
        None => module.socket_class.bind(py).clone(),
    };
    let kwargs = PyDict::new(py);
    kwargs.set_item(names.fileno.bind(py), connection.as_raw_fd())?;
    let kind = (
        sock.getattr("family")?,
        sock.getattr("type")?,
        sock.getattr("proto")?,
    );
    let made = class.call(kind, Some(&kwargs))?;
    // The object owns the descriptor from here on; when its constructor fails, we still do.
    let _ = connection.into_raw_fd();
    Ok(made)
}

fn begin_accept(py: Python<'_>, slf: &Obj, given: &ObjCell) -> Outcome<Begun> {
    let event_loop = Ref::<Loop>::downcast(slf.bind(py));
    let (event_loop, sock) = event_loop.zip(given.take()).ok_or_else(cleared)?;
    check(py, event_loop, &sock)?;
    let fd = number(py, &sock)?;
    // On a blocking listener the call itself would block: it is made when a connection is there.
    if !is_blocking(py, &sock)?
        && let Some(accepted) = try_accept(py, &sock, fd)?
    {
        return Ok(Begun::Done(accepted));
    }
    Ok(Begun::awaits(|awaiter| {
        awaiter.keep(Some(slf.clone()), Some(sock));
        async move {
            loop {
                wait_kept(&awaiter, fd, Until::Readable).await?;
                let sock = awaiter.argument()?;
                if let Some(accepted) = Python::attach(|py| try_accept(py, &sock, fd))? {
                    return Ok(accepted);
                }
            }
        }
    }))
}

fn sock_accept(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let [sock] = args.parse(&Signature {
        function: "sock_accept",
        parameters: ["sock"],
        required: 1,
        positional: 1,
    })?;
    let sock = sock.map_or_else(|| Obj::none(args.py()), Obj::from);
    create_method(
        args.py(),
        "Loop.sock_accept",
        slf.as_obj(),
        Some(sock),
        begin_accept,
    )
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .fast_method(
            c"sock_recv",
            c"sock_recv($self, sock, n)\n--\n\nReceive up to n bytes; b'' at the end of the stream. A coroutine.",
            sock_recv,
        )
        .fast_method(
            c"sock_recv_into",
            c"sock_recv_into($self, sock, buf)\n--\n\nReceive into a writable buffer; how many bytes came. A coroutine.",
            sock_recv_into,
        )
        .fast_method(
            c"sock_sendall",
            c"sock_sendall($self, sock, data)\n--\n\nSend all of a bytes-like object. A coroutine.",
            sock_sendall,
        )
        .method(
            c"sock_accept",
            c"sock_accept($self, sock)\n--\n\nAccept a connection: the pair (socket, address). A coroutine.",
            sock_accept,
        );
}
