//! `sabio.SubprocessStreamProtocol`: what stands between a process and its three streams (asyncio: `asyncio.subprocess`).
//!
//! What a process writes goes straight from the pipe into its reader (`SubprocessStreamProtocol::receiver`), as long as
//! nobody has overridden anything or put another reader in its place.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use super::closing::Closing;
use super::flow::Flow;
use super::parameters;
use super::protocol::{drain_helper_of, feed_eof, set_exception};
use super::reader::Reader;
use super::stream_reader::StreamReader;
use super::writer::StreamWriter;
use super::{is_exactly, public_class_of};
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Signature, Visit,
    call_method,
};
use crate::names::names;

/// The data of a protocol.
#[derive(Default)]
pub(crate) struct SubprocessStreamProtocol {
    flow: Rc<Flow>,
    limit: Cell<usize>,
    event_loop: ObjCell,
    transport: ObjCell,
    /// The streams, by their numbers in the child.
    streams: [ObjCell; 3],
    /// The states of those readers that are exactly of our class.
    states: [RefCell<Weak<Reader>>; 3],
    /// Which of the pipes that are read from are open.
    open: [Cell<bool>; 3],
    exited: Cell<bool>,
    /// How the standard input was lost, once it was.
    stdin_lost: Cell<bool>,
    stdin_exception: ObjCell,
    /// The future that is done then.
    stdin_closed: Closing,
}

static PROTOCOL: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

/// The names of the streams.
const NAMES: [&str; 3] = ["stdin", "stdout", "stderr"];

impl Class for SubprocessStreamProtocol {
    const NAME: &'static std::ffi::CStr = c"sabio._SubprocessStreamProtocolCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &PROTOCOL
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.flow.visit(visit);
        for slot in self.slots() {
            visit.slot(slot);
        }
    }

    fn clear(&self) {
        self.flow.clear();
        for slot in self.slots() {
            slot.set(None);
        }
    }
}

impl SubprocessStreamProtocol {
    fn slots(&self) -> impl Iterator<Item = &ObjCell> {
        let own = [
            &self.event_loop,
            &self.transport,
            &self.stdin_exception,
            self.stdin_closed.slot(),
        ];
        own.into_iter().chain(&self.streams)
    }

    /// A new protocol of exactly the public class.
    pub(super) fn create(
        py: Python<'_>,
        limit: usize,
        event_loop: &Obj,
    ) -> PyResult<Ref<SubprocessStreamProtocol>> {
        let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
        let protocol = Ref::create_as(class, SubprocessStreamProtocol::default())?;
        protocol.limit.set(limit);
        protocol.event_loop.set(Some(event_loop.clone()));
        Ok(protocol)
    }

    /// Whether `object` is a protocol whose methods nobody has overridden.
    #[inline]
    pub(crate) fn exact<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Ref<SubprocessStreamProtocol>> {
        Ref::downcast(object).filter(|_| is_exactly(&CLASS, object))
    }

    /// The reader that a pipe of ours may put data into, instead of calling `pipe_data_received()`.
    #[inline]
    pub(crate) fn receiver(&self, fd: usize) -> Option<Rc<Reader>> {
        let state = self.states.get(fd)?.borrow().upgrade();
        state.filter(|reader| reader.can_receive())
    }

    /// What pauses the writer of the standard input.
    #[inline]
    pub(super) fn flow(&self) -> &Rc<Flow> {
        &self.flow
    }

    /// One of the streams.
    pub(super) fn stream(&self, fd: usize) -> Option<Obj> {
        self.streams[fd].get()
    }

    fn set_stream(&self, fd: usize, stream: Option<Obj>) {
        *self.states[fd].borrow_mut() = Weak::new();
        self.streams[fd].set(stream);
    }

    fn event_loop(&self, py: Python<'_>) -> Obj {
        self.event_loop.get().unwrap_or_else(|| Obj::none(py))
    }

    /// The reader of a pipe, if the number is that of one.
    fn reader(&self, fd: &Bound<'_, PyAny>) -> Option<(usize, Obj)> {
        let fd: usize = fd.extract().ok()?;
        let reader = self.streams.get(fd).filter(|_| fd > 0)?.get()?;
        Some((fd, reader))
    }
}

fn initialize(
    slf: &Ref<SubprocessStreamProtocol>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let names = ["limit", "loop"];
    let [limit, event_loop] = parameters::sort("SubprocessStreamProtocol", names, 2, args, kwargs)?;
    slf.limit.set(parameters::limit(limit.as_ref())?);
    slf.event_loop.set(event_loop.map(Obj::from));
    Ok(())
}

fn connection_made(slf: &Ref<SubprocessStreamProtocol>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = transport.py();
    let event_loop = slf.event_loop(py);
    slf.transport.set(Some(Obj::from(transport)));
    for fd in [1, 2] {
        let pipe = transport.call_method1("get_pipe_transport", (fd,))?;
        if !pipe.is_none() {
            let reader = StreamReader::create(py, slf.limit.get(), &event_loop)?;
            reader.set_transport(&pipe)?;
            slf.set_stream(fd, Some(reader.as_obj().clone()));
            *slf.states[fd].borrow_mut() = Rc::downgrade(reader.state());
            slf.open[fd].set(true);
        }
    }
    let stdin = transport.call_method1("get_pipe_transport", (0,))?;
    if !stdin.is_none() {
        let none = Obj::none(py);
        let writer = StreamWriter::create(py, &Obj::from(stdin), slf.as_obj(), &none, &event_loop)?;
        slf.set_stream(0, Some(writer.into_obj()));
    }
    Ok(())
}

fn pipe_data_received(slf: &Ref<SubprocessStreamProtocol>, args: Args<'_, '_>) -> PyResult<()> {
    let [fd, data] = args.all(&Signature {
        function: "pipe_data_received",
        parameters: ["fd", "data"],
        required: 2,
        positional: 2,
    })?;
    let Some((_, reader)) = slf.reader(fd) else {
        return Ok(());
    };
    match StreamReader::exact(reader.bind(args.py())) {
        Some(exact) => exact.feed_data(data),
        None => reader
            .bind(args.py())
            .call_method1("feed_data", (data,))
            .map(drop),
    }
}

fn pipe_connection_lost(slf: &Ref<SubprocessStreamProtocol>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let [fd, exception] = args.all(&Signature {
        function: "pipe_connection_lost",
        parameters: ["fd", "exc"],
        required: 2,
        positional: 2,
    })?;
    let exception = (!exception.is_none()).then(|| Obj::from(exception));
    if fd.eq(0)? {
        return stdin_lost(slf, py, exception.as_ref());
    }
    if let Some((fd, reader)) = slf.reader(fd) {
        match &exception {
            None => feed_eof(py, &reader)?,
            Some(exception) => set_exception(py, &reader, exception)?,
        }
        slf.open[fd].set(false);
    }
    close_if_over(slf, py)
}

/// The standard input is closed, by either side.
fn stdin_lost(slf: &Ref<SubprocessStreamProtocol>, py: Python<'_>, exception: Option<&Obj>) -> PyResult<()> {
    if let Some(stdin) = slf.stream(0) {
        call_method(py, &stdin, &names(py)?.close, &[])?;
    }
    slf.flow.lose(exception.cloned());
    slf.stdin_lost.set(true);
    slf.stdin_exception.set(exception.cloned());
    slf.stdin_closed.end(py, exception)
}

fn process_exited(slf: &Ref<SubprocessStreamProtocol>, py: Python<'_>) -> PyResult<()> {
    slf.exited.set(true);
    close_if_over(slf, py)
}

/// When the process has ended and nothing more is to be read, the transport is closed.
fn close_if_over(slf: &Ref<SubprocessStreamProtocol>, py: Python<'_>) -> PyResult<()> {
    if !slf.exited.get() || slf.open.iter().any(Cell::get) {
        return Ok(());
    }
    if let Some(transport) = slf.transport.take() {
        call_method(py, &transport, &names(py)?.close, &[])?;
    }
    Ok(())
}

fn connection_lost(slf: &Ref<SubprocessStreamProtocol>, exception: &Bound<'_, PyAny>) {
    // The end of the process comes after that of its standard input, which may have had a reason.
    if !slf.flow.is_lost() {
        let exception = (!exception.is_none()).then(|| Obj::from(exception));
        slf.flow.lose(exception);
    }
}

/// `_stdin_closed`: a future.
fn stdin_closed(slf: &Ref<SubprocessStreamProtocol>, py: Python<'_>) -> PyResult<Obj> {
    let lost = slf.stdin_lost.get().then(|| slf.stdin_exception.get());
    slf.stdin_closed.future(py, &slf.event_loop(py), lost)
}

fn close_waiter(slf: &Ref<SubprocessStreamProtocol>, stream: &Bound<'_, PyAny>) -> PyResult<Option<Obj>> {
    match slf.stream(0) {
        Some(stdin) if stdin.is(stream) => stdin_closed(slf, stream.py()).map(Some),
        _ => Ok(None),
    }
}

fn repr(slf: &Ref<SubprocessStreamProtocol>, py: Python<'_>) -> PyResult<Obj> {
    let mut text = format!("<{}", slf.bind(py).get_type().name()?);
    for (fd, name) in NAMES.into_iter().enumerate() {
        if let Some(stream) = slf.stream(fd) {
            text.push_str(&format!(" {name}={}", stream.bind(py).repr()?));
        }
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

fn define_callbacks(table: &mut MethodTable<SubprocessStreamProtocol>) {
    table
        .method(
            c"connection_made",
            c"connection_made($self, transport)\n--\n\nThe process runs: its streams are made.",
            |slf, args| connection_made(slf, args.single("connection_made", "transport")?),
        )
        .method(
            c"connection_lost",
            c"connection_lost($self, exc)\n--\n\nThe process has ended and its pipes are closed.",
            |slf, args| {
                connection_lost(slf, args.single("connection_lost", "exc")?);
                Ok(())
            },
        )
        .method(
            c"pipe_data_received",
            c"pipe_data_received($self, fd, data)\n--\n\nData for a reader.",
            pipe_data_received,
        )
        .method(
            c"pipe_connection_lost",
            c"pipe_connection_lost($self, fd, exc)\n--\n\nA pipe is closed, because of an exception (or None).",
            pipe_connection_lost,
        )
        .noargs(
            c"process_exited",
            c"process_exited($self, /)\n--\n\nThe process has ended.",
            process_exited,
        )
        .noargs(
            c"pause_writing",
            c"pause_writing($self, /)\n--\n\nWho drains the standard input has to wait.",
            |slf, _py| slf.flow.pause(),
        )
        .noargs(
            c"resume_writing",
            c"resume_writing($self, /)\n--\n\nWho drains the standard input goes on.",
            |slf, _py| slf.flow.resume(),
        )
        .noargs(
            c"_drain_helper",
            c"_drain_helper($self, /)\n--\n\nWait while writing is paused. A coroutine.",
            |slf, py| drain_helper_of(py, slf.as_obj(), &slf.flow),
        )
        .method(
            c"_get_close_waiter",
            c"_get_close_waiter($self, stream)\n--\n\nA future that is done when the standard input is closed.",
            |slf, args| close_waiter(slf, args.single("_get_close_waiter", "stream")?),
        )
        .noargs(
            c"_maybe_close_transport",
            c"_maybe_close_transport($self, /)\n--\n\nClose the transport if the process has ended and all was read.",
            close_if_over,
        );
}

fn set(slf: &Ref<SubprocessStreamProtocol>, fd: usize, value: &Bound<'_, PyAny>) -> PyResult<()> {
    slf.set_stream(fd, (!value.is_none()).then(|| Obj::from(value)));
    Ok(())
}

fn define_attributes(table: &mut MethodTable<SubprocessStreamProtocol>) {
    table
        .attribute(
            c"stdin",
            c"The writer of the standard input, or None.",
            |slf, _py| Ok(slf.stream(0)),
            |slf, value| set(slf, 0, value),
        )
        .attribute(
            c"stdout",
            c"The reader of the standard output, or None.",
            |slf, _py| Ok(slf.stream(1)),
            |slf, value| set(slf, 1, value),
        )
        .attribute(
            c"stderr",
            c"The reader of the standard error, or None.",
            |slf, _py| Ok(slf.stream(2)),
            |slf, value| set(slf, 2, value),
        )
        .getter(c"_loop", c"The event loop.", |slf, _py| Ok(slf.event_loop.get()))
        .getter(c"_limit", c"The limit of the readers, in bytes.", |slf, _py| {
            Ok(slf.limit.get())
        })
        .getter(c"_transport", c"The transport, or None.", |slf, _py| {
            Ok(slf.transport.get())
        })
        .getter(
            c"_process_exited",
            c"Whether the process has ended.",
            |slf, _py| Ok(slf.exited.get()),
        )
        .getter(
            c"_pipe_fds",
            c"The numbers of the pipes that can still be read from.",
            |slf, py| {
                let open = (0..3).filter(|fd| slf.open[*fd].get());
                Ok(Obj::from(PyList::new(py, open.collect::<Vec<_>>())?))
            },
        )
        .getter(
            c"_stdin_closed",
            c"A future that is done when the standard input is closed.",
            stdin_closed,
        )
        .getter(c"_paused", c"Whether writing is paused.", |slf, _py| {
            Ok(slf.flow.is_paused())
        })
        .getter(
            c"_connection_lost",
            c"Whether the standard input is closed.",
            |slf, _py| Ok(slf.flow.is_lost()),
        );
}

/// Builds the class: our core first, `asyncio.subprocess.SubprocessStreamProtocol` behind it.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<SubprocessStreamProtocol>::new(
        c"The native part of sabio.subprocess.SubprocessStreamProtocol.",
    )
    .members(|table| {
        define_callbacks(table);
        define_attributes(table);
    })
    .constructor(|_class, _args, _kwargs| Ok(SubprocessStreamProtocol::default()))
    .initializer(initialize)
    .repr(repr)
    .build(module.py(), &Base::Object)?;
    let doc = "SubprocessStreamProtocol(limit, loop)\n--\n\nStands between a process and its streams (asyncio: Subprocesses).";
    let place = ("asyncio.subprocess", "SubprocessStreamProtocol");
    public_class_of(module, &CLASS, place, &core, doc)
}
