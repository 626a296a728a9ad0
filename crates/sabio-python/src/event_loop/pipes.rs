//! `connect_read_pipe` and `connect_write_pipe` (asyncio: Working with pipes): from a file object to a transport whose
//! protocol knows of it.

use pyo3::prelude::*;
use sabio_sync::oneshot;

use super::Loop;
use super::establish::{log_debug, pair, until_made};
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, context_copy_current};
use crate::held::Held;
use crate::transport::Transport;
use crate::transport::pipe::{self, PipeParts, ReadPipe, WritePipe};

/// Makes protocol and transport and waits until `connection_made` was called; `open` makes the transport.
async fn connect<T: Transport>(
    event_loop: Held<Ref<Loop>>,
    awaiter: Awaiter,
    (protocol_factory, file): (Obj, Obj),
    open: fn(&PipeParts<'_, '_>) -> PyResult<Ref<T>>,
    message: &'static str,
) -> PyResult<Obj> {
    let given = awaiter.hold((protocol_factory, file));
    let (protocol_factory, file) = &*given;
    let (waiter, made) = oneshot::channel();
    let (transport, protocol) = Python::attach(|py| {
        let protocol = Obj::from(protocol_factory.bind(py).call0()?);
        let transport = open(&PipeParts {
            event_loop: &event_loop,
            pipe: file.bind(py),
            protocol: protocol.clone(),
            context: context_copy_current(py)?,
        })?;
        pipe::start(&transport, py, &event_loop, Some(waiter))?;
        PyResult::Ok((transport, protocol))
    })?;
    let protocol = awaiter.hold(protocol);
    let transport = until_made(&awaiter, transport, made).await?;
    Python::attach(|py| {
        if event_loop.debug() {
            let number = Obj::from(file.bind(py).call_method0("fileno")?);
            let args = [&number, transport.as_obj(), &protocol];
            log_debug(py, &event_loop, message, &args)?;
        }
        pair(py, transport.as_obj(), &protocol)
    })
}

fn parse(function: &'static str, args: Args<'_, '_>) -> PyResult<(Obj, Obj)> {
    let [factory, file] = args.all(&Signature {
        function,
        parameters: ["protocol_factory", "pipe"],
        required: 2,
        positional: 2,
    })?;
    Ok((Obj::from(factory), Obj::from(file)))
}

fn connect_read_pipe(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let given = parse("connect_read_pipe", args)?;
    let message = "Read pipe %r connected: (%r, %r)";
    create_with_held(args.py(), "Loop.connect_read_pipe", slf, |slf, awaiter| {
        connect(slf, awaiter, given, ReadPipe::open, message)
    })
}

fn connect_write_pipe(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let given = parse("connect_write_pipe", args)?;
    let message = "Write pipe %r connected: (%r, %r)";
    create_with_held(args.py(), "Loop.connect_write_pipe", slf, |slf, awaiter| {
        connect(slf, awaiter, given, WritePipe::open, message)
    })
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"connect_read_pipe",
            c"connect_read_pipe($self, protocol_factory, pipe)\n--\n\nRead from a pipe: (transport, protocol). A coroutine.",
            connect_read_pipe,
        )
        .method(
            c"connect_write_pipe",
            c"connect_write_pipe($self, protocol_factory, pipe)\n--\n\nWrite to a pipe: (transport, protocol). A coroutine.",
            connect_write_pipe,
        );
}
