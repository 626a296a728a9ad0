//! `sabio.StreamReader`: the Python face of [`Reader`] (asyncio: StreamReader). What it is fed by, and what can be seen
//! of it; the methods that read are in `reading`.

use std::rc::Rc;

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString, PyTuple, PyType};

use super::buffer::Bytes;
use super::parameters::{self, event_loop, source_traceback};
use super::reader::{DEFAULT_LIMIT, Reader};
use super::{is_exactly, public_class, reading};
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ReadBuffer, Ref, Visit, call_method,
};
use crate::names::names;

/// The data of a reader.
#[derive(Default)]
pub(crate) struct StreamReader {
    reader: Rc<Reader>,
}

static STREAM_READER: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for StreamReader {
    const NAME: &'static std::ffi::CStr = c"sabio._StreamReaderCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &STREAM_READER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.reader.visit(visit);
    }

    fn clear(&self) {
        self.reader.clear();
    }
}

impl StreamReader {
    /// The state, which lives as long as the object and the coroutines that read.
    #[inline]
    pub(super) fn state(&self) -> &Rc<Reader> {
        &self.reader
    }

    /// A new reader of exactly the public class.
    pub(super) fn create(py: Python<'_>, limit: usize, event_loop: &Obj) -> PyResult<Ref<StreamReader>> {
        let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
        let reader = Ref::create_as(class, StreamReader::default())?;
        reader.begin(py, limit, event_loop.clone())?;
        Ok(reader)
    }

    fn begin(&self, py: Python<'_>, limit: usize, event_loop: Obj) -> PyResult<()> {
        self.reader.limit.set(limit);
        self.reader
            .source_traceback
            .set(source_traceback(py, &event_loop)?);
        self.reader.event_loop.set(Some(event_loop));
        Ok(())
    }

    /// `feed_data(data)`.
    pub(super) fn feed_data(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        let reader = &self.reader;
        if reader.eof.get() {
            return Err(PyAssertionError::new_err("feed_data after feed_eof"));
        }
        if let Ok(message) = data.cast_exact::<PyBytes>() {
            if message.as_bytes().is_empty() {
                return Ok(());
            }
            reader.with_buffer(py, |buffer| {
                if buffer.is_empty() {
                    buffer.hold(Bytes(py), Obj::from(message));
                    Ok(())
                } else {
                    buffer.extend(Bytes(py), message.as_bytes())
                }
            })??;
            return reader.received(py);
        }
        if !data.is_truthy()? {
            return Ok(());
        }
        match ReadBuffer::new(data) {
            Ok(bytes) => reader.with_buffer(py, |buffer| buffer.extend(Bytes(py), bytes.as_slice()))??,
            Err(_) => {
                // Whatever else a bytearray can be extended by, with its errors.
                let array = py.get_type::<PyByteArray>().call0()?;
                array.call_method1("extend", (data,))?;
                let bytes = ReadBuffer::new(&array)?;
                reader.with_buffer(py, |buffer| buffer.extend(Bytes(py), bytes.as_slice()))??;
            }
        }
        reader.received(py)
    }

    /// `set_transport(transport)`. AssertionError if there is one.
    pub(super) fn set_transport(&self, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        if !self.reader.transport.is_none() {
            return Err(PyAssertionError::new_err("Transport already set"));
        }
        self.reader.transport.set(or_none(transport));
        Ok(())
    }

    /// Whether `object` is a reader whose methods nobody has overridden.
    #[inline]
    pub(super) fn exact<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Ref<StreamReader>> {
        Ref::downcast(object).filter(|_| is_exactly(&CLASS, object))
    }
}

fn initialize(
    slf: &Ref<StreamReader>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    let [limit, given] = parameters::sort("StreamReader", ["limit", "loop"], 0, args, kwargs)?;
    let limit = parameters::limit(limit.as_ref())?;
    slf.begin(py, limit, event_loop(py, given.as_ref())?)
}

fn replace_transport(slf: &Ref<StreamReader>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    if slf.reader.transport.is_none() {
        return Err(PyAssertionError::new_err("Transport not set"));
    }
    let new = Obj::from(transport);
    let old = slf.reader.transport.replace(Some(new.clone()));
    if let (true, Some(old)) = (slf.reader.paused.get(), old) {
        // What came before the change was too much: it is the new one that has to wait now.
        let py = transport.py();
        call_method(py, &new, &names(py)?.pause_reading, &[])?;
        call_method(py, &old, &names(py)?.resume_reading, &[])?;
    }
    Ok(())
}

fn repr(slf: &Ref<StreamReader>, py: Python<'_>) -> PyResult<Obj> {
    let reader = &slf.reader;
    let mut text = "<StreamReader".to_owned();
    let size = reader.len(py)?;
    if size > 0 {
        text.push_str(&format!(" {size} bytes"));
    }
    if reader.eof.get() {
        text.push_str(" eof");
    }
    if reader.limit.get() != DEFAULT_LIMIT {
        text.push_str(&format!(" limit={}", reader.limit.get()));
    }
    let shown = [
        ("waiter", waiter(slf, py)?),
        (
            "exception",
            reader.exception.get().unwrap_or_else(|| Obj::none(py)),
        ),
        (
            "transport",
            reader.transport.get().unwrap_or_else(|| Obj::none(py)),
        ),
    ];
    for (name, object) in shown {
        if object.bind(py).is_truthy()? {
            text.push_str(&format!(" {name}={}", object.bind(py).repr()?));
        }
    }
    if reader.paused.get() {
        text.push_str(" paused");
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

fn waiter(slf: &Ref<StreamReader>, py: Python<'_>) -> PyResult<Obj> {
    slf.reader.waiter.get(py, || match slf.reader.event_loop.get() {
        Some(event_loop) => Ok(call_method(py, &event_loop, &names(py)?.create_future, &[])?),
        None => Ok(Obj::none(py)),
    })
}

fn or_none(value: &Bound<'_, PyAny>) -> Option<Obj> {
    (!value.is_none()).then(|| Obj::from(value))
}

fn define_feeding(table: &mut MethodTable<StreamReader>) {
    table
        .fast_method(
            c"feed_data",
            c"feed_data($self, data)\n--\n\nAdd data, and wake who waits for it.",
            |slf, args| slf.feed_data(args.single("feed_data", "data")?),
        )
        .fast_noargs(
            c"feed_eof",
            c"feed_eof($self, /)\n--\n\nNo more data will come.",
            |slf, py| slf.reader.feed_eof(py),
        )
        .fast_noargs(
            c"at_eof",
            c"at_eof($self, /)\n--\n\nWhether the stream has ended and everything was read.",
            |slf, py| Ok(slf.reader.eof.get() && slf.reader.len(py)? == 0),
        )
        .fast_noargs(
            c"exception",
            c"exception($self, /)\n--\n\nWhat set_exception() has set, or None.",
            |slf, _py| Ok(slf.reader.exception.get()),
        )
        .method(
            c"set_exception",
            c"set_exception($self, exc)\n--\n\nRaise exc from reads, also from the one that waits.",
            |slf, args| {
                let exception = Obj::from(args.single("set_exception", "exc")?);
                slf.reader.set_exception(args.py(), &exception)
            },
        )
        .method(
            c"set_transport",
            c"set_transport($self, transport)\n--\n\nSet the transport that is paused when too much comes in.",
            |slf, args| slf.set_transport(args.single("set_transport", "transport")?),
        )
        .method(
            c"_replace_transport",
            c"_replace_transport($self, transport)\n--\n\nSet another transport.",
            |slf, args| replace_transport(slf, args.single("_replace_transport", "transport")?),
        )
        .noargs(
            c"_maybe_resume_transport",
            c"_maybe_resume_transport($self, /)\n--\n\nLet a paused transport go on if few enough bytes are left.",
            |slf, py| slf.reader.maybe_resume(py),
        )
        .noargs(
            c"_wakeup_waiter",
            c"_wakeup_waiter($self, /)\n--\n\nWake who waits for data.",
            |slf, py| slf.reader.waiter.wake(py, None),
        );
}

fn define_attributes(table: &mut MethodTable<StreamReader>) {
    table
        .attribute(
            c"_limit",
            c"The limit, in bytes.",
            |slf, _py| Ok(slf.reader.limit.get()),
            |slf, value| {
                slf.reader.limit.set(parameters::limit(Some(value))?);
                Ok(())
            },
        )
        .attribute(
            c"_buffer",
            c"What is unread, a bytearray.",
            |slf, py| Ok(slf.reader.expose(py)),
            |slf, value| {
                let bytes = ReadBuffer::new(value)?.as_slice().to_vec();
                let py = value.py();
                slf.reader.with_buffer(py, |buffer| {
                    buffer.clear();
                    buffer.extend(Bytes(py), &bytes)
                })??;
                Ok(())
            },
        )
        .attribute(
            c"_eof",
            c"Whether feed_eof() was called.",
            |slf, _py| Ok(slf.reader.eof.get()),
            |slf, value| {
                slf.reader.eof.set(value.is_truthy()?);
                Ok(())
            },
        )
        .attribute(
            c"_paused",
            c"Whether the transport was paused.",
            |slf, _py| Ok(slf.reader.paused.get()),
            |slf, value| {
                slf.reader.paused.set(value.is_truthy()?);
                Ok(())
            },
        )
        .attribute(
            c"_waiter",
            c"A future while somebody waits for data, or None.",
            waiter,
            |slf, value| {
                slf.reader.waiter.set(value);
                Ok(())
            },
        )
        .attribute(
            c"_exception",
            c"What set_exception() has set, or None.",
            |slf, _py| Ok(slf.reader.exception.get()),
            |slf, value| {
                slf.reader.exception.set(or_none(value));
                Ok(())
            },
        )
        .attribute(
            c"_transport",
            c"The transport, or None.",
            |slf, _py| Ok(slf.reader.transport.get()),
            |slf, value| {
                slf.reader.transport.set(or_none(value));
                Ok(())
            },
        )
        .attribute(
            c"_loop",
            c"The event loop.",
            |slf, _py| Ok(slf.reader.event_loop.get()),
            |slf, value| {
                slf.reader.event_loop.set(or_none(value));
                Ok(())
            },
        )
        .attribute(
            c"_source_traceback",
            c"Where the reader was made (debug mode), or None.",
            |slf, _py| Ok(slf.reader.source_traceback.get()),
            |slf, value| {
                slf.reader.source_traceback.set(or_none(value));
                Ok(())
            },
        );
}

/// Builds the class: our core first, `asyncio.StreamReader` behind it.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<StreamReader>::new(c"The native part of sabio.StreamReader.")
        .members(|table| {
            reading::define(table);
            define_feeding(table);
            define_attributes(table);
        })
        .constructor(|_class, _args, _kwargs| Ok(StreamReader::default()))
        .initializer(initialize)
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc =
        "StreamReader(limit=65536, loop=None)\n--\n\nReads bytes from a stream (asyncio: StreamReader).";
    public_class(module, &CLASS, "StreamReader", &core, doc)
}
