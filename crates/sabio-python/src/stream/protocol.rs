//! `sabio.StreamReaderProtocol`: what stands between a transport and a pair of streams (asyncio: Streams).
//!
//! It refers to its reader weakly: a reader that everybody has forgotten takes no more data. `_closed` is a future in
//! asyncio; here it is made when somebody asks for it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType, PyWeakrefReference};

use super::closing::Closing;
use super::connected;
use super::flow::Flow;
use super::kept_state;
use super::parameters::{self, event_loop, is_debug};
use super::reader::Reader;
use super::stream_reader::StreamReader;
use super::writer::StreamWriter;
use super::{is_exactly, public_class};
use crate::asyncio::asyncio;
use crate::coroutine::create_for;
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Visit, call_method,
};
use crate::names::names;

/// The data of a protocol.
#[derive(Default)]
pub(crate) struct StreamReaderProtocol {
    flow: Rc<Flow>,
    /// The state of a reader of exactly our class.
    state: RefCell<Weak<Reader>>,
    /// A weak reference to the reader.
    reader: ObjCell,
    /// The reader itself, until the callback of a server has got it.
    strong_reader: ObjCell,
    event_loop: ObjCell,
    transport: ObjCell,
    client_connected_cb: ObjCell,
    task: ObjCell,
    /// The future that is done when the connection is lost.
    closed: Closing,
    over_ssl: Cell<bool>,
    source_traceback: ObjCell,
}

static PROTOCOL: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for StreamReaderProtocol {
    const NAME: &'static std::ffi::CStr = c"sabio._StreamReaderProtocolCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &PROTOCOL
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.flow.visit(visit);
        for slot in [
            &self.reader,
            &self.strong_reader,
            &self.event_loop,
            &self.transport,
            &self.client_connected_cb,
            &self.task,
            self.closed.slot(),
            &self.source_traceback,
        ] {
            visit.slot(slot);
        }
    }

    fn clear(&self) {
        self.flow.clear();
        for slot in [
            &self.strong_reader,
            &self.event_loop,
            &self.transport,
            &self.client_connected_cb,
            &self.task,
            self.closed.slot(),
        ] {
            slot.set(None);
        }
    }
}

impl StreamReaderProtocol {
    /// A new protocol of exactly the public class.
    pub(super) fn create(
        py: Python<'_>,
        reader: &Ref<StreamReader>,
        client_connected_cb: Option<Obj>,
        event_loop: &Obj,
    ) -> PyResult<Ref<StreamReaderProtocol>> {
        let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
        let protocol = Ref::create_as(class, StreamReaderProtocol::default())?;
        protocol.begin(reader.bind(py), client_connected_cb, event_loop.clone())?;
        Ok(protocol)
    }

    fn begin(
        &self,
        reader: &Bound<'_, PyAny>,
        client_connected_cb: Option<Obj>,
        event_loop: Obj,
    ) -> PyResult<()> {
        self.event_loop.set(Some(event_loop));
        if let Some(exact) = StreamReader::exact(reader) {
            self.reader.set(Some(PyWeakrefReference::new(reader)?.into()));
            *self.state.borrow_mut() = Rc::downgrade(exact.state());
            self.source_traceback.set(exact.state().source_traceback.get());
        } else if !reader.is_none() {
            self.reader.set(Some(PyWeakrefReference::new(reader)?.into()));
            let source = reader.getattr("_source_traceback")?;
            self.source_traceback.set(Some(source.into()));
        }
        if client_connected_cb.is_some() && !reader.is_none() {
            self.strong_reader.set(Some(Obj::from(reader)));
        }
        self.client_connected_cb.set(client_connected_cb);
        Ok(())
    }

    /// Whether `object` is a protocol whose methods nobody has overridden.
    #[inline]
    pub(crate) fn exact<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Ref<StreamReaderProtocol>> {
        Ref::downcast(object).filter(|_| is_exactly(&CLASS, object))
    }

    /// The reader that a transport of ours may put data into, instead of calling `data_received()`.
    #[inline]
    pub(crate) fn receiver(&self) -> Option<Rc<Reader>> {
        self.state
            .borrow()
            .upgrade()
            .filter(|reader| reader.can_receive())
    }

    /// What pauses its writers.
    #[inline]
    pub(super) fn flow(&self) -> &Rc<Flow> {
        &self.flow
    }

    /// The weak reference to the reader, or None.
    pub(super) fn reader_reference(&self) -> &ObjCell {
        &self.reader
    }

    /// The transport while it is connected.
    pub(super) fn transport(&self) -> &ObjCell {
        &self.transport
    }

    fn reader(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<Option<Obj>> {
        recall(slf, py)?;
        match slf.reader.get() {
            None => Ok(None),
            Some(reference) => {
                let reader = reference.bind(py).cast::<PyWeakrefReference>()?.upgrade();
                Ok(reader.map(Obj::from))
            }
        }
    }

    fn event_loop(&self, py: Python<'_>) -> Obj {
        self.event_loop.get().unwrap_or_else(|| Obj::none(py))
    }
}

fn initialize(
    slf: &Ref<StreamReaderProtocol>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    let names = ["stream_reader", "client_connected_cb", "loop"];
    let [reader, callback, given] = parameters::sort("StreamReaderProtocol", names, 1, args, kwargs)?;
    let reader = reader.unwrap_or_else(|| py.None().into_bound(py));
    let callback = callback.filter(|callback| !callback.is_none()).map(Obj::from);
    slf.begin(&reader, callback, event_loop(py, given.as_ref())?)?;
    kept_state::note(slf, py)
}

/// The state from before a loss may have been put back.
#[inline]
fn recall(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<()> {
    if slf.flow.is_lost() {
        return kept_state::recall(slf, py);
    }
    Ok(())
}

fn set(slot: &ObjCell, value: &Bound<'_, PyAny>) -> PyResult<()> {
    slot.set((!value.is_none()).then(|| Obj::from(value)));
    Ok(())
}

/// Whether the connection is encrypted.
fn is_over_ssl(py: Python<'_>, transport: &Bound<'_, PyAny>) -> PyResult<bool> {
    let context = transport.call_method1("get_extra_info", ("sslcontext",))?;
    Ok(!context.is(py.None()))
}

fn connection_made(slf: &Ref<StreamReaderProtocol>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = transport.py();
    let kept = Obj::from(transport);
    slf.transport.set(Some(kept.clone()));
    kept_state::note(slf, py)?;
    let reader = StreamReaderProtocol::reader(slf, py)?;
    if let Some(reader) = &reader {
        match StreamReader::exact(reader.bind(py)) {
            Some(exact) => exact.set_transport(transport)?,
            None => drop(reader.bind(py).call_method1("set_transport", (transport,))?),
        }
    }
    slf.over_ssl.set(is_over_ssl(py, transport)?);
    if let Some(callback) = slf.client_connected_cb.get() {
        let event_loop = slf.event_loop(py);
        let reader = reader.unwrap_or_else(|| Obj::none(py));
        let writer = StreamWriter::create(py, &kept, slf.as_obj(), &reader, &event_loop)?;
        let streams = [reader, writer.into_obj()];
        let task = connected::call(py, &event_loop, &callback, &kept, streams)?;
        slf.task.set(task);
        slf.strong_reader.set(None);
    }
    Ok(())
}

/// TLS has taken the place of the transport.
fn replace_transport(slf: &Ref<StreamReaderProtocol>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = transport.py();
    slf.transport.set(Some(Obj::from(transport)));
    kept_state::note(slf, py)?;
    slf.over_ssl.set(is_over_ssl(py, transport)?);
    if let Some(reader) = StreamReaderProtocol::reader(slf, py)? {
        reader.bind(py).call_method1("_replace_transport", (transport,))?;
    }
    Ok(())
}

/// `reader.feed_eof()`.
pub(super) fn feed_eof(py: Python<'_>, reader: &Obj) -> PyResult<()> {
    match StreamReader::exact(reader.bind(py)) {
        Some(exact) => exact.state().feed_eof(py),
        None => reader.bind(py).call_method0("feed_eof").map(drop),
    }
}

/// `reader.set_exception(exception)`.
pub(super) fn set_exception(py: Python<'_>, reader: &Obj, exception: &Obj) -> PyResult<()> {
    match StreamReader::exact(reader.bind(py)) {
        Some(exact) => exact.state().set_exception(py, exception),
        None => call_method(py, reader, &names(py)?.set_exception, &[exception])
            .map(drop)
            .map_err(PyErr::from),
    }
}

fn connection_lost(slf: &Ref<StreamReaderProtocol>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = exception.py();
    let exception = (!exception.is_none()).then(|| Obj::from(exception));
    if let Some(reader) = StreamReaderProtocol::reader(slf, py)? {
        match &exception {
            Some(exception) => set_exception(py, &reader, exception)?,
            None => feed_eof(py, &reader)?,
        }
    }
    slf.closed.end(py, exception.as_ref())?;
    slf.flow.lose(exception);
    *slf.state.borrow_mut() = Weak::new();
    for slot in [&slf.reader, &slf.task, &slf.transport] {
        slot.set(None);
    }
    kept_state::note(slf, py)
}

/// `_closed`.
fn closed(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<Obj> {
    let lost = slf.flow.is_lost().then(|| slf.flow.exception());
    slf.closed.future(py, &slf.event_loop(py), lost)
}

fn data_received(slf: &Ref<StreamReaderProtocol>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = data.py();
    let Some(reader) = StreamReaderProtocol::reader(slf, py)? else {
        return Ok(());
    };
    match StreamReader::exact(reader.bind(py)) {
        Some(exact) => exact.feed_data(data),
        None => reader.bind(py).call_method1("feed_data", (data,)).map(drop),
    }
}

/// Whether our half of the connection stays open: always, where it can.
fn eof_received(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<bool> {
    if let Some(reader) = StreamReaderProtocol::reader(slf, py)? {
        feed_eof(py, &reader)?;
    }
    Ok(!slf.over_ssl.get())
}

fn log_debug(slf: &Ref<StreamReaderProtocol>, py: Python<'_>, format: &str) -> PyResult<()> {
    if is_debug(py, &slf.event_loop(py))? {
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("debug", (format, slf.bind(py)))?;
    }
    Ok(())
}

fn pause_writing(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<()> {
    slf.flow.pause()?;
    log_debug(slf, py, "%r pauses writing")
}

fn resume_writing(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<()> {
    slf.flow.resume()?;
    log_debug(slf, py, "%r resumes writing")
}

/// `_drain_helper()` of a protocol.
pub(super) fn drain_helper_of(py: Python<'_>, protocol: &Obj, flow: &Rc<Flow>) -> PyResult<Obj> {
    let flow = Rc::clone(flow);
    let owner = protocol.clone();
    create_for(py, "FlowControlMixin._drain_helper", owner, async move {
        flow.drained().await?;
        Ok(Python::attach(Obj::none))
    })
}

fn define_callbacks(table: &mut MethodTable<StreamReaderProtocol>) {
    table
        .method(
            c"connection_made",
            c"connection_made($self, transport)\n--\n\nThe connection is there: a server's callback is called.",
            |slf, args| connection_made(slf, args.single("connection_made", "transport")?),
        )
        .method(
            c"connection_lost",
            c"connection_lost($self, exc)\n--\n\nThe connection is gone, because of an exception (or None).",
            |slf, args| connection_lost(slf, args.single("connection_lost", "exc")?),
        )
        .method(
            c"data_received",
            c"data_received($self, data)\n--\n\nData for the reader.",
            |slf, args| data_received(slf, args.single("data_received", "data")?),
        )
        .noargs(
            c"eof_received",
            c"eof_received($self, /)\n--\n\nThe peer has ended its half; whether ours stays open.",
            eof_received,
        )
        .noargs(
            c"pause_writing",
            c"pause_writing($self, /)\n--\n\nWriters that drain have to wait.",
            pause_writing,
        )
        .noargs(
            c"resume_writing",
            c"resume_writing($self, /)\n--\n\nWriters that drain go on.",
            resume_writing,
        )
        .noargs(
            c"_drain_helper",
            c"_drain_helper($self, /)\n--\n\nWait while writing is paused. A coroutine.",
            |slf, py| {
                recall(slf, py)?;
                drain_helper_of(py, slf.as_obj(), &slf.flow)
            },
        )
        .method(
            c"_get_close_waiter",
            c"_get_close_waiter($self, stream)\n--\n\nA future that is done when the connection is lost.",
            |slf, args| closed(slf, args.py()),
        )
        .method(
            c"_replace_transport",
            c"_replace_transport($self, transport)\n--\n\nGo on over another transport.",
            |slf, args| replace_transport(slf, args.single("_replace_transport", "transport")?),
        );
}

fn define_attributes(table: &mut MethodTable<StreamReaderProtocol>) {
    table
        .getter(c"_stream_reader", c"The reader, or None.", |slf, py| {
            StreamReaderProtocol::reader(slf, py)
        })
        .getter(
            c"_stream_reader_wr",
            c"A weak reference to the reader, or None.",
            |slf, py| {
                recall(slf, py)?;
                Ok(slf.reader.get())
            },
        )
        .getter(
            c"_closed",
            c"A future that is done when the connection is lost.",
            closed,
        )
        .getter(c"_loop", c"The event loop.", |slf, _py| Ok(slf.event_loop.get()))
        // Programs from before 3.11 set these two when they have called `loop.start_tls()`.
        .attribute(
            c"_transport",
            c"The transport while it is connected, or None.",
            |slf, py| {
                recall(slf, py)?;
                Ok(slf.transport.get())
            },
            |slf, transport| {
                recall(slf, transport.py())?;
                set(&slf.transport, transport)
            },
        )
        .getter(
            c"_task",
            c"The task of a server's callback, or None.",
            |slf, _py| Ok(slf.task.get()),
        )
        .attribute(
            c"_client_connected_cb",
            c"A server's callback, or None.",
            |slf, _py| Ok(slf.client_connected_cb.get()),
            |slf, callback| set(&slf.client_connected_cb, callback),
        )
        .attribute(
            c"_over_ssl",
            c"Whether the connection is encrypted.",
            |slf, _py| Ok(slf.over_ssl.get()),
            |slf, value| {
                slf.over_ssl.set(value.is_truthy()?);
                Ok(())
            },
        )
        .getter(c"_paused", c"Whether writing is paused.", |slf, _py| {
            Ok(slf.flow.is_paused())
        })
        .getter(
            c"_connection_lost",
            c"Whether the connection is lost.",
            |slf, py| {
                recall(slf, py)?;
                Ok(slf.flow.is_lost())
            },
        )
        .getter(
            c"_source_traceback",
            c"Where the reader was made (debug mode), or None.",
            |slf, _py| Ok(slf.source_traceback.get()),
        );
}

/// Builds the class: our core first, `asyncio.StreamReaderProtocol` behind it.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<StreamReaderProtocol>::new(c"The native part of sabio.StreamReaderProtocol.")
        .members(|table| {
            define_callbacks(table);
            define_attributes(table);
        })
        .constructor(|_class, _args, _kwargs| Ok(StreamReaderProtocol::default()))
        .initializer(initialize)
        // The one of asyncio, which would come otherwise, looks after a future that is looked after already.
        .finalizer(|_slf, _py| Ok(()))
        .build(module.py(), &Base::Object)?;
    let doc = "StreamReaderProtocol(stream_reader, client_connected_cb=None, loop=None)\n--\n\nStands between a transport and a \
               pair of streams (asyncio: Streams).";
    public_class(module, &CLASS, "StreamReaderProtocol", &core, doc)
}
