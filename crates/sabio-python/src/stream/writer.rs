//! `sabio.StreamWriter`: writing to a transport, and waiting until it takes more (asyncio: StreamWriter).

use std::rc::Rc;

use pyo3::exceptions::{PyAssertionError, PyResourceWarning};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use sabio_sync::yield_now;

use super::flow::Flow;
use super::protocol::StreamReaderProtocol;
use super::stream_reader::StreamReader;
use super::subprocess::SubprocessStreamProtocol;
use super::{This, is_exactly, parameters, public_class};
use crate::coroutine::{create_for, create_with_for};
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Signature, Visit,
    call_method, raising,
};
use crate::names::names;
use crate::transport::{self, Stream};

/// What a writer knows.
#[derive(Default)]
struct Writer {
    transport: ObjCell,
    protocol: ObjCell,
    reader: ObjCell,
    event_loop: ObjCell,
}

/// The data of a writer. The coroutines share it.
#[derive(Default)]
pub(crate) struct StreamWriter {
    writer: Rc<Writer>,
}

static STREAM_WRITER: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for StreamWriter {
    const NAME: &'static std::ffi::CStr = c"sabio._StreamWriterCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &STREAM_WRITER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        for slot in self.writer.slots() {
            visit.slot(slot);
        }
    }

    fn clear(&self) {
        for slot in self.writer.slots() {
            slot.set(None);
        }
    }
}

impl Writer {
    fn slots(&self) -> [&ObjCell; 4] {
        [&self.transport, &self.protocol, &self.reader, &self.event_loop]
    }

    fn transport(&self, py: Python<'_>) -> Obj {
        self.transport.get().unwrap_or_else(|| Obj::none(py))
    }

    fn is_closing(&self, py: Python<'_>) -> PyResult<bool> {
        let transport = self.transport(py);
        match Ref::<Stream>::downcast(transport.bind(py)) {
            Some(stream) => Ok(stream.is_closing()),
            None => call_method(py, &transport, &names(py)?.is_closing, &[])?
                .bind(py)
                .is_truthy(),
        }
    }

    fn close(&self, py: Python<'_>) -> PyResult<Obj> {
        Ok(call_method(py, &self.transport(py), &names(py)?.close, &[])?)
    }

    /// Raises what has happened to the reader.
    fn check_reader(&self, py: Python<'_>) -> PyResult<()> {
        let Some(reader) = self.reader.get() else {
            return Ok(());
        };
        if let Some(exact) = StreamReader::exact(reader.bind(py)) {
            return exact.state().check(py);
        }
        let exception = call_method(py, &reader, &names(py)?.exception, &[])?;
        if exception.bind(py).is_none() {
            return Ok(());
        }
        Err(raising(exception.into_bound(py)))
    }

    /// What pauses it, if its protocol is exactly ours.
    fn flow(&self, py: Python<'_>) -> Option<Rc<Flow>> {
        let protocol = self.protocol.get()?;
        let protocol = protocol.bind(py);
        if let Some(exact) = StreamReaderProtocol::exact(protocol) {
            return Some(Rc::clone(exact.flow()));
        }
        SubprocessStreamProtocol::exact(protocol).map(|exact| Rc::clone(exact.flow()))
    }
}

impl StreamWriter {
    /// A new writer of exactly the public class.
    pub(super) fn create(
        py: Python<'_>,
        transport: &Obj,
        protocol: &Obj,
        reader: &Obj,
        event_loop: &Obj,
    ) -> PyResult<Ref<StreamWriter>> {
        let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
        let writer = Ref::create_as(class, StreamWriter::default())?;
        writer.begin([transport, protocol, reader, event_loop].map(|object| object.bind(py)));
        Ok(writer)
    }

    /// Waits as `drain()` does; None for a writer, or a protocol, of which somebody may have overridden anything.
    pub(super) fn drained(writer: &Bound<'_, PyAny>) -> Option<impl Future<Output = PyResult<()>> + use<>> {
        let exact = Ref::<StreamWriter>::downcast(writer).filter(|_| is_exactly(&CLASS, writer))?;
        let flow = exact.writer.flow(writer.py())?;
        let writer = Rc::clone(&exact.writer);
        Some(async move {
            before_drain(&writer).await?;
            flow.drained().await
        })
    }

    fn begin(&self, parts: [&Bound<'_, PyAny>; 4]) {
        for (slot, object) in self.writer.slots().into_iter().zip(parts) {
            slot.set((!object.is_none()).then(|| Obj::from(object)));
        }
    }
}

fn initialize(
    slf: &Ref<StreamWriter>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let names = ["transport", "protocol", "reader", "loop"];
    let [Some(transport), Some(protocol), Some(reader), Some(event_loop)] =
        parameters::sort("StreamWriter", names, 4, args, kwargs)?
    else {
        unreachable!("all four are required");
    };
    let class = STREAM_READER.get(args.py())?.bind(args.py());
    if !reader.is_none() && !reader.is_instance(class)? {
        return Err(PyAssertionError::new_err(()));
    }
    slf.begin([&transport, &protocol, &reader, &event_loop]);
    Ok(())
}

fn write(slf: &Ref<StreamWriter>, args: Args<'_, '_>) -> PyResult<()> {
    let data = args.single("write", "data")?;
    let py = data.py();
    let transport = slf.writer.transport(py);
    match Ref::<Stream>::downcast(transport.bind(py)) {
        Some(stream) => transport::write(stream, data),
        None => {
            call_method(py, &transport, &names(py)?.write, &[&Obj::from(data)])?;
            Ok(())
        }
    }
}

/// A method of the transport with the same name and arguments.
fn forward(slf: &Ref<StreamWriter>, name: &str, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let positional = PyTuple::new(py, args.positional_from(0))?;
    let kwargs = PyDict::new(py);
    for (name, value) in args.keywords() {
        kwargs.set_item(name, value)?;
    }
    let transport = slf.writer.transport(py);
    Ok(transport
        .bind(py)
        .call_method(name, positional, Some(&kwargs))?
        .into())
}

fn writelines(slf: &Ref<StreamWriter>, args: Args<'_, '_>) -> PyResult<()> {
    let data = args.single("writelines", "data")?;
    let transport = slf.writer.transport(data.py());
    transport.bind(data.py()).call_method1("writelines", (data,))?;
    Ok(())
}

/// What `drain()` does before it asks what pauses the writer.
async fn before_drain(writer: &Writer) -> PyResult<()> {
    let closing = Python::attach(|py| {
        writer.check_reader(py)?;
        writer.is_closing(py)
    })?;
    if closing {
        // So that connection_lost() is called in a program that writes and drains in a loop.
        yield_now().await;
    }
    Ok(())
}

async fn drained(writer: Rc<Writer>, flow: Rc<Flow>) -> PyResult<Obj> {
    before_drain(&writer).await?;
    flow.drained().await?;
    Ok(Python::attach(Obj::none))
}

fn drain(slf: &Ref<StreamWriter>, py: Python<'_>) -> PyResult<Obj> {
    const NAME: &str = "StreamWriter.drain";
    let writer = Rc::clone(&slf.writer);
    let owner = slf.as_obj().clone();
    if let Some(flow) = writer.flow(py) {
        return create_for(py, NAME, owner, drained(writer, flow));
    }
    create_with_for(py, NAME, owner, |awaiter| async move {
        before_drain(&writer).await?;
        let helper = Python::attach(|py| {
            let protocol = writer.protocol.get().unwrap_or_else(|| Obj::none(py));
            PyResult::Ok(Obj::from(protocol.bind(py).call_method0("_drain_helper")?))
        })?;
        awaiter.wait(helper).await?;
        Ok(Python::attach(Obj::none))
    })
}

fn wait_closed(slf: &Ref<StreamWriter>, py: Python<'_>) -> PyResult<Obj> {
    let writer = Rc::clone(&slf.writer);
    let this = This::new(slf.bind(py))?;
    let owner = slf.as_obj().clone();
    create_with_for(py, "StreamWriter.wait_closed", owner, |awaiter| async move {
        let waiter = Python::attach(|py| {
            let protocol = writer.protocol.get().unwrap_or_else(|| Obj::none(py));
            let stream = this.upgrade(py)?;
            PyResult::Ok(Obj::from(
                protocol.bind(py).call_method1("_get_close_waiter", (stream,))?,
            ))
        })?;
        awaiter.wait(waiter).await?;
        Ok(Python::attach(Obj::none))
    })
}

/// What `start_tls` passes on to the loop's method.
const TLS_OPTIONS: [&str; 3] = ["server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"];

/// The coroutine of `loop.start_tls(...)` for this connection.
fn loop_start_tls(
    py: Python<'_>,
    writer: &Writer,
    context: &Obj,
    options: &[Option<Obj>; 3],
) -> PyResult<Obj> {
    let none = Obj::none(py);
    let protocol = writer.protocol.get().unwrap_or_else(|| none.clone());
    let event_loop = writer.event_loop.get().unwrap_or_else(|| none.clone());
    let kwargs = PyDict::new(py);
    let callback = protocol.bind(py).getattr("_client_connected_cb")?;
    kwargs.set_item("server_side", !callback.is_none())?;
    for (name, value) in TLS_OPTIONS.iter().zip(options) {
        kwargs.set_item(name, value.as_ref().unwrap_or(&none).bind(py))?;
    }
    let args = (
        writer.transport(py).into_bound(py),
        protocol.bind(py),
        context.bind(py),
    );
    Ok(event_loop
        .bind(py)
        .call_method("start_tls", args, Some(&kwargs))?
        .into())
}

fn start_tls(slf: &Ref<StreamWriter>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [hostname, handshake, shutdown] = TLS_OPTIONS;
    let signature = Signature {
        function: "start_tls",
        parameters: ["sslcontext", hostname, handshake, shutdown],
        required: 1,
        positional: 1,
    };
    let [context, hostname, handshake, shutdown] = args.parse(&signature)?;
    let context = context.map_or_else(|| Obj::none(py), Obj::from);
    let options = [hostname, handshake, shutdown].map(|option| option.map(Obj::from));
    let writer = Rc::clone(&slf.writer);
    let this = This::new(slf.bind(py))?;
    let owner = slf.as_obj().clone();
    create_with_for(py, "StreamWriter.start_tls", owner, |awaiter| async move {
        let drained = Python::attach(|py| PyResult::Ok(Obj::from(this.upgrade(py)?.call_method0("drain")?)))?;
        awaiter.wait(drained).await?;
        let upgraded = Python::attach(|py| loop_start_tls(py, &writer, &context, &options))?;
        let transport = awaiter.wait(upgraded).await?;
        Python::attach(|py| {
            writer.transport.set(Some(transport.clone()));
            let protocol = writer.protocol.get().unwrap_or_else(|| Obj::none(py));
            let protocol = protocol.bind(py);
            // A protocol of asyncio's own class knows the older of these up to 3.12.
            match protocol.getattr_opt("_replace_transport")? {
                Some(replace) => replace.call1((transport.bind(py),))?,
                None => protocol.call_method1("_replace_writer", (this.upgrade(py)?,))?,
            };
            Ok(Obj::none(py))
        })
    })
}

/// ResourceWarning for a connection that nobody closed; then closes it.
fn finalize(slf: &Ref<StreamWriter>, py: Python<'_>) -> PyResult<()> {
    let writer = &slf.writer;
    let Some(event_loop) = writer.event_loop.get() else {
        return Ok(());
    };
    if writer.transport.is_none() || writer.is_closing(py)? {
        return Ok(());
    }
    let message = if event_loop.bind(py).call_method0("is_closed")?.is_truthy()? {
        "loop is closed".to_owned()
    } else {
        writer.close(py)?;
        format!("unclosed {}", slf.bind(py).repr()?)
    };
    let message = std::ffi::CString::new(message)?;
    PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1)
}

fn repr(slf: &Ref<StreamWriter>, py: Python<'_>) -> PyResult<Obj> {
    let writer = &slf.writer;
    let class = slf.bind(py).get_type().name()?;
    let mut text = format!("<{class} transport={}", writer.transport(py).bind(py).repr()?);
    if let Some(reader) = writer.reader.get() {
        text.push_str(&format!(" reader={}", reader.bind(py).repr()?));
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

fn define_writing(table: &mut MethodTable<StreamWriter>) {
    table
        .fast_method(
            c"write",
            c"write($self, data)\n--\n\nSend data without waiting.",
            write,
        )
        .method(
            c"writelines",
            c"writelines($self, data)\n--\n\nSend several pieces of data without waiting.",
            writelines,
        )
        .fast_noargs(
            c"drain",
            c"drain($self, /)\n--\n\nWait while there is too much to send. A coroutine.",
            drain,
        )
        .method(
            c"write_eof",
            c"write_eof($self, /)\n--\n\nEnd the outgoing half of the connection once everything is sent.",
            |slf, args| forward(slf, "write_eof", args),
        )
        .method(
            c"can_write_eof",
            c"can_write_eof($self, /)\n--\n\nWhether the two halves end independently.",
            |slf, args| forward(slf, "can_write_eof", args),
        );
}

fn define_connection(table: &mut MethodTable<StreamWriter>) {
    table
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nClose the connection once everything is sent.",
            |slf, py| slf.writer.close(py),
        )
        .noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nWhether the connection is closing or closed.",
            |slf, py| slf.writer.is_closing(py),
        )
        .noargs(
            c"wait_closed",
            c"wait_closed($self, /)\n--\n\nWait until the connection is closed. A coroutine.",
            wait_closed,
        )
        .method(
            c"start_tls",
            c"start_tls($self, sslcontext, *, server_hostname=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None)\n--\n\nEncrypt the connection from now on. A coroutine.",
            start_tls,
        )
        .method(
            c"get_extra_info",
            c"get_extra_info($self, name, default=None)\n--\n\nInformation about the connection, from the transport.",
            |slf, args| forward(slf, "get_extra_info", args),
        )
        .getter(c"transport", c"The transport.", |slf, _py| Ok(slf.writer.transport.get()))
        .attribute(
            c"_transport",
            c"The transport.",
            |slf, _py| Ok(slf.writer.transport.get()),
            |slf, value| {
                slf.writer.transport.set((!value.is_none()).then(|| Obj::from(value)));
                Ok(())
            },
        )
        .attribute(
            c"_protocol",
            c"The protocol.",
            |slf, _py| Ok(slf.writer.protocol.get()),
            |slf, value| {
                slf.writer.protocol.set((!value.is_none()).then(|| Obj::from(value)));
                Ok(())
            },
        )
        .attribute(
            c"_reader",
            c"The reader, or None.",
            |slf, _py| Ok(slf.writer.reader.get()),
            |slf, reader| {
                slf.writer.reader.set((!reader.is_none()).then(|| Obj::from(reader)));
                Ok(())
            },
        )
        .getter(c"_loop", c"The event loop.", |slf, _py| Ok(slf.writer.event_loop.get()));
}

/// `asyncio.StreamReader`, of which a writer's reader is an instance.
static STREAM_READER: Global<Obj> = Global::new();

/// Builds the class: our core first, `asyncio.StreamWriter` behind it.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let reader = py.import("asyncio.streams")?.getattr("StreamReader")?;
    STREAM_READER.set(py, reader.into());
    let core = ClassBuilder::<StreamWriter>::new(c"The native part of sabio.StreamWriter.")
        .members(|table| {
            define_writing(table);
            define_connection(table);
        })
        .constructor(|_class, _args, _kwargs| Ok(StreamWriter::default()))
        .initializer(initialize)
        .finalizer(finalize)
        .repr(repr)
        .build(py, &Base::Object)?;
    let doc = "StreamWriter(transport, protocol, reader, loop)\n--\n\nWrites bytes to a stream (asyncio: StreamWriter).";
    public_class(module, &CLASS, "StreamWriter", &core, doc)
}
