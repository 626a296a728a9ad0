//! `sock_recvfrom`, `sock_recvfrom_into` and `sock_sendto` (asyncio: Working with socket objects directly).
//!
//! The system call is made by the socket's own method, which knows the addresses of every family. It is told not to
//! wait, also on a blocking socket, and is tried before anything is waited for.

use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyTypeError};
use pyo3::prelude::*;

use super::Loop;
use super::sock::{Until, check, number, two_args, wait};
use crate::coroutine::create_with_held;
use crate::ffi::{Args, IntoObj, MethodTable, Obj, Ref, Signature, call_method};
use crate::names::{Name, Names, names};

/// `MSG_DONTWAIT` of Linux.
const DO_NOT_WAIT: usize = 0x40;

/// A method of a socket and its arguments.
struct Call {
    method: fn(&Names) -> &Name,
    args: Vec<Obj>,
}

impl Call {
    /// Makes the call; `None` if it would block.
    fn attempt(&self, py: Python<'_>, sock: &Obj) -> PyResult<Option<Obj>> {
        let args: Vec<&Obj> = self.args.iter().collect();
        match call_method(py, sock, (self.method)(names(py)?), &args) {
            Ok(result) => Ok(Some(result)),
            Err(raised) => {
                let error = PyErr::from(raised);
                let would_block = error.is_instance_of::<PyBlockingIOError>(py)
                    || error.is_instance_of::<PyInterruptedError>(py);
                if would_block { Ok(None) } else { Err(error) }
            }
        }
    }

    /// A coroutine that makes the call as soon as it does not block.
    fn coroutine(
        self,
        py: Python<'_>,
        name: &'static str,
        slf: &Ref<Loop>,
        sock: Obj,
        until: Until,
    ) -> PyResult<Obj> {
        create_with_held(py, name, slf, |slf, awaiter| {
            let sock = awaiter.hold(sock);
            async move { self.make(&slf, &sock, until).await }
        })
    }

    async fn make(&self, slf: &Ref<Loop>, sock: &Obj, until: Until) -> PyResult<Obj> {
        let (fd, done) = Python::attach(|py| {
            check(py, slf, sock)?;
            let fd = number(py, sock)?;
            PyResult::Ok((fd, self.attempt(py, sock)?))
        })?;
        if let Some(result) = done {
            return Ok(result);
        }
        loop {
            wait(slf, sock, fd, until).await?;
            if let Some(result) = Python::attach(|py| self.attempt(py, sock))? {
                return Ok(result);
            }
        }
    }
}

fn sock_recvfrom(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let (sock, size) = two_args(args, "sock_recvfrom", "bufsize")?;
    let call = Call {
        method: |names| &names.recvfrom,
        args: vec![size, DO_NOT_WAIT.into_obj(py)?],
    };
    call.coroutine(py, "Loop.sock_recvfrom", slf, sock, Until::Readable)
}

fn sock_recvfrom_into(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let signature = Signature {
        function: "sock_recvfrom_into",
        parameters: ["sock", "buf", "nbytes"],
        required: 2,
        positional: 3,
    };
    let [sock, buffer, count] = args.parse(&signature)?;
    let (Some(sock), Some(buffer)) = (sock.map(Obj::from), buffer.map(Obj::from)) else {
        return Err(PyTypeError::new_err(
            "sock_recvfrom_into() takes at least two arguments",
        ));
    };
    let count = match count {
        Some(count) if count.is_truthy()? => Obj::from(count),
        _ => buffer.bind(py).len()?.into_obj(py)?,
    };
    let call = Call {
        method: |names| &names.recvfrom_into,
        args: vec![buffer, count, DO_NOT_WAIT.into_obj(py)?],
    };
    call.coroutine(py, "Loop.sock_recvfrom_into", slf, sock, Until::Readable)
}

fn sock_sendto(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let signature = Signature {
        function: "sock_sendto",
        parameters: ["sock", "data", "address"],
        required: 3,
        positional: 3,
    };
    let [Some(sock), Some(data), Some(address)] =
        args.parse(&signature)?.map(|argument| argument.map(Obj::from))
    else {
        return Err(PyTypeError::new_err("sock_sendto() takes three arguments"));
    };
    let call = Call {
        method: |names| &names.sendto,
        args: vec![data, DO_NOT_WAIT.into_obj(py)?, address],
    };
    call.coroutine(py, "Loop.sock_sendto", slf, sock, Until::Writable)
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"sock_recvfrom",
            c"sock_recvfrom($self, sock, bufsize)\n--\n\nReceive one datagram of up to bufsize bytes: (data, address). A coroutine.",
            sock_recvfrom,
        )
        .method(
            c"sock_recvfrom_into",
            c"sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\nReceive one datagram of up to nbytes bytes (0: all that fits) into buf: (count, address). A coroutine.",
            sock_recvfrom_into,
        )
        .method(
            c"sock_sendto",
            c"sock_sendto($self, sock, data, address)\n--\n\nSend one datagram: the number of bytes. A coroutine.",
            sock_sendto,
        );
}
