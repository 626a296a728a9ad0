//! The `sock_*` methods (asyncio: Working with socket objects directly) on the native coroutine.
//!
//! Each makes its system call first and waits only if the call would block. The socket is the user's: its number is
//! asked for again after each wait, so that a socket which was closed meanwhile fails with EBADF, and nothing is ever
//! read from or written to whoever has the number by then. Calls never block, also on a blocking socket.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyBlockingIOError, PyBufferError, PyInterruptedError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use sabio_reactor::socket::{self, Address};
use sabio_reactor::sys;

use super::Loop;
use crate::coroutine::{Awaiter, create, create_with};
use crate::ffi::{Args, IntoObj, MethodTable, Obj, ReadBuffer, Ref, Signature, WriteBuffer};
use crate::ffi::{bytes_from_slice, call_method, recv_into_new_bytes};
use crate::names::names;
use crate::os_error::{from_errno, os_error, with_message};
use crate::socket_module::socket_module;
use crate::transport::{address_to_python, check_unused};

/// `EBADF`, the same on every Linux.
const BAD_DESCRIPTOR: i32 = 9;

/// The two arguments of most methods here.
fn two_args(args: Args<'_, '_>, function: &'static str, second: &'static str) -> PyResult<(Obj, Obj)> {
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

/// TypeError for a TLS socket, ValueError for a blocking one (debug mode).
#[inline]
fn check(py: Python<'_>, slf: &Ref<Loop>, sock: &Obj) -> PyResult<()> {
    let module = socket_module(py)?;
    let bound = sock.bind(py);
    if !module.socket_class.is(bound.get_type().as_any()) {
        if let Some(ssl_socket) = &module.ssl_socket {
            if bound.is_instance(ssl_socket.bind(py))? {
                return Err(PyTypeError::new_err("Socket cannot be of type SSLSocket"));
            }
        }
    }
    if slf.debug() && is_blocking(py, sock)? {
        return Err(PyValueError::new_err("the socket must be non-blocking"));
    }
    Ok(())
}

fn is_blocking(py: Python<'_>, sock: &Obj) -> PyResult<bool> {
    let timeout = call_method(py, sock, &names(py)?.gettimeout, &[])?;
    timeout.bind(py).ne(0)
}

/// The socket's number now. EBADF for a closed socket.
#[inline]
fn number(py: Python<'_>, sock: &Obj) -> PyResult<RawFd> {
    let fd = call_method(py, sock, &names(py)?.fileno, &[])?;
    let fd: RawFd = fd.bind(py).extract()?;
    if fd < 0 {
        return Err(from_errno(BAD_DESCRIPTOR));
    }
    Ok(fd)
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
enum Until {
    Readable,
    Writable,
}

/// Waits for the socket whose number is `fd`. EBADF if it was closed, or has another number, when the wait is over;
/// RuntimeError if a transport owns the descriptor.
async fn wait(slf: &Ref<Loop>, sock: &Obj, fd: RawFd, until: Until) -> PyResult<()> {
    Python::attach(|py| {
        slf.check_awaited_here()?;
        check_unused(slf, sock.bind(py), fd)
    })?;
    let reactor = slf.reactor();
    match until {
        Until::Readable => reactor.readable(fd).await,
        Until::Writable => reactor.writable(fd).await,
    }
    .map_err(os_error)?;
    Python::attach(|py| {
        if number(py, sock)? == fd {
            Ok(())
        } else {
            Err(from_errno(BAD_DESCRIPTOR))
        }
    })
}

/// Receives up to `size` bytes into a new `bytes` object.
fn try_recv(py: Python<'_>, fd: RawFd, size: usize) -> PyResult<Option<Obj>> {
    let received = recv_into_new_bytes(py, size, |memory| {
        socket::recv_uninit(sys::borrow(fd)?, memory).map(|received| received.len())
    })?;
    attempted(received)
}

fn sock_recv(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let (sock, size) = two_args(args, "sock_recv", "n")?;
    let slf = slf.clone();
    create(args.py(), "Loop.sock_recv", async move {
        let (fd, size, received) = Python::attach(|py| {
            check(py, &slf, &sock)?;
            let size: isize = size.bind(py).extract()?;
            let size =
                usize::try_from(size).map_err(|_| PyValueError::new_err("negative buffersize in recv"))?;
            let fd = number(py, &sock)?;
            let received = match size {
                0 => Some(bytes_from_slice(py, b"")?),
                _ => try_recv(py, fd, size)?,
            };
            PyResult::Ok((fd, size, received))
        })?;
        if let Some(received) = received {
            return Ok(received);
        }
        loop {
            wait(&slf, &sock, fd, Until::Readable).await?;
            if let Some(received) = Python::attach(|py| try_recv(py, fd, size))? {
                return Ok(received);
            }
        }
    })
}

/// Receives into the user's memory: how many bytes came. TypeError if it can not be written to.
fn try_recv_into(py: Python<'_>, fd: RawFd, buffer: &Obj) -> PyResult<Option<Obj>> {
    let buffer = buffer.bind(py);
    let mut view = WriteBuffer::new(buffer).map_err(|error| {
        if !error.is_instance_of::<PyBufferError>(py) {
            return error;
        }
        match buffer.get_type().name() {
            Ok(name) => PyTypeError::new_err(format!(
                "recv_into() argument 1 must be read-write bytes-like object, not {name}"
            )),
            Err(error) => error,
        }
    })?;
    if view.len() == 0 {
        return 0_usize.into_obj(py).map(Some);
    }
    let received = sys::borrow(fd).and_then(|fd| socket::recv(fd, view.as_mut_slice()));
    attempted(received)?.map(|count| count.into_obj(py)).transpose()
}

fn sock_recv_into(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let (sock, buffer) = two_args(args, "sock_recv_into", "buf")?;
    let slf = slf.clone();
    create(args.py(), "Loop.sock_recv_into", async move {
        let (fd, count) = Python::attach(|py| {
            check(py, &slf, &sock)?;
            let fd = number(py, &sock)?;
            PyResult::Ok((fd, try_recv_into(py, fd, &buffer)?))
        })?;
        if let Some(count) = count {
            return Ok(count);
        }
        loop {
            wait(&slf, &sock, fd, Until::Readable).await?;
            if let Some(count) = Python::attach(|py| try_recv_into(py, fd, &buffer))? {
                return Ok(count);
            }
        }
    })
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

async fn send_rest(slf: &Ref<Loop>, sock: &Obj, fd: RawFd, data: Data, mut sent: usize) -> PyResult<()> {
    loop {
        wait(slf, sock, fd, Until::Writable).await?;
        match Python::attach(|py| data.try_send(py, fd, sent))? {
            Sending::Done => return Ok(()),
            Sending::Rest(so_far) => sent = so_far,
        }
    }
}

fn sock_sendall(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let (sock, data) = two_args(args, "sock_sendall", "data")?;
    let slf = slf.clone();
    create(args.py(), "Loop.sock_sendall", async move {
        let (fd, data, sending) = Python::attach(|py| {
            check(py, &slf, &sock)?;
            let fd = number(py, &sock)?;
            let data = Data::new(py, &data)?;
            let sending = data.try_send(py, fd, 0)?;
            PyResult::Ok((fd, data, sending))
        })?;
        if let Sending::Rest(sent) = sending {
            Box::pin(send_rest(&slf, &sock, fd, data, sent)).await?;
        }
        Ok(Python::attach(Obj::none))
    })
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

fn sock_accept(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let [sock] = args.parse(&Signature {
        function: "sock_accept",
        parameters: ["sock"],
        required: 1,
        positional: 1,
    })?;
    let sock = sock.map_or_else(|| Obj::none(args.py()), Obj::from);
    let slf = slf.clone();
    create(args.py(), "Loop.sock_accept", async move {
        let (fd, accepted) = Python::attach(|py| {
            check(py, &slf, &sock)?;
            let fd = number(py, &sock)?;
            // On a blocking listener the call itself would block: it is made when a connection is there.
            let accepted = if is_blocking(py, &sock)? {
                None
            } else {
                try_accept(py, &sock, fd)?
            };
            PyResult::Ok((fd, accepted))
        })?;
        if let Some(accepted) = accepted {
            return Ok(accepted);
        }
        loop {
            wait(&slf, &sock, fd, Until::Readable).await?;
            if let Some(accepted) = Python::attach(|py| try_accept(py, &sock, fd))? {
                return Ok(accepted);
            }
        }
    })
}

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
    let parts = address.get_item(pyo3::types::PySlice::new(py, 0, 2, 1))?;
    let (host, port): (Bound<'_, PyAny>, Bound<'_, PyAny>) = parts.extract()?;
    let socktype: i32 = bound.getattr("type")?.extract()?;
    if socktype == module.sock_stream || socktype == module.sock_dgram {
        if let Some(known) = numeric_address(py, family, &host, &port, address)? {
            return Ok(Target::Known(known));
        }
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
fn start_connect(py: Python<'_>, sock: &Obj, address: &Obj) -> PyResult<bool> {
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

async fn connect(slf: Ref<Loop>, awaiter: Awaiter, sock: Obj, address: Obj) -> PyResult<Obj> {
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

fn connect_error(py: Python<'_>, error: io::Error, address: &Obj) -> PyErr {
    match (error.raw_os_error(), address.bind(py).str()) {
        (Some(code), Ok(address)) => with_message(code, format!("Connect call failed {address}")),
        (None, _) => os_error(error),
        (_, Err(error)) => error,
    }
}

fn sock_connect(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let (sock, address) = two_args(args, "sock_connect", "address")?;
    let slf = slf.clone();
    create_with(args.py(), "Loop.sock_connect", move |awaiter| {
        connect(slf, awaiter, sock, address)
    })
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
            c"sock_connect",
            c"sock_connect($self, sock, address)\n--\n\nConnect a socket; a host's name is resolved. A coroutine.",
            sock_connect,
        )
        .method(
            c"sock_accept",
            c"sock_accept($self, sock)\n--\n\nAccept a connection: the pair (socket, address). A coroutine.",
            sock_accept,
        );
}
