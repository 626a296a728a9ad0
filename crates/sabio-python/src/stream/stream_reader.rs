//! `sabio.StreamReader`: the Python face of [`Reader`] (asyncio: StreamReader).
//!
//! A method of exactly this class works on the state natively. In a subclass, methods call each other by name, as
//! asyncio's do, so that what it overrides is called.

use std::rc::Rc;

use pyo3::exceptions::{PyAssertionError, PyStopAsyncIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString, PyTuple, PyType};
use sabio_sync::separator::{Invalid, Separators};

use super::errors::{consumed_of, not_a_separator, partial_of};
use super::parameters::{self, event_loop, source_traceback};
use super::reader::{DEFAULT_LIMIT, Reader};
use super::{This, is_exactly, public_class, read};
use crate::coroutine::{create_for, create_with_for};
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ReadBuffer, Ref, Signature, Visit,
    call_method,
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
            reader.with_buffer(py, |buffer| buffer.push(message))?;
            return reader.received(py);
        }
        if !data.is_truthy()? {
            return Ok(());
        }
        match ReadBuffer::new(data) {
            Ok(bytes) => reader.with_buffer(py, |buffer| buffer.extend(py, bytes.as_slice()))?,
            Err(_) => {
                // Whatever else a bytearray can be extended by, with its errors.
                let array = py.get_type::<PyByteArray>().call0()?;
                array.call_method1("extend", (data,))?;
                let bytes = ReadBuffer::new(&array)?;
                reader.with_buffer(py, |buffer| buffer.extend(py, bytes.as_slice()))?;
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

/// Whether the methods of this very object are ours.
#[inline]
fn is_exact(slf: &Ref<StreamReader>, py: Python<'_>) -> bool {
    is_exactly(&CLASS, slf.bind(py))
}

/// A coroutine of this reader.
#[inline]
fn reading<F>(
    slf: &Ref<StreamReader>,
    py: Python<'_>,
    name: &'static str,
    read: impl FnOnce(Rc<Reader>) -> F,
) -> PyResult<Obj>
where
    F: Future<Output = PyResult<Obj>> + 'static,
{
    create_for(py, name, slf.as_obj().clone(), read(Rc::clone(&slf.reader)))
}

/// An index as Python means it; what is no integer is an error when the coroutine is awaited.
fn count(value: &Bound<'_, PyAny>) -> PyResult<isize> {
    match value.extract::<isize>() {
        Ok(count) => Ok(count),
        Err(_) if value.is_instance_of::<pyo3::types::PyInt>() => {
            Ok(if value.lt(0)? { -1 } else { isize::MAX })
        }
        Err(error) => Err(error),
    }
}

fn read(slf: &Ref<StreamReader>, args: Args<'_, '_>) -> PyResult<Obj> {
    const NAME: &str = "StreamReader.read";
    let py = args.py();
    let signature = Signature {
        function: NAME,
        parameters: ["n"],
        required: 0,
        positional: 1,
    };
    let [wanted] = args.parse(&signature)?;
    match wanted.map_or(Ok(-1), count) {
        Ok(wanted) if wanted >= 0 => {
            reading(slf, py, NAME, |reader| read::read(reader, wanted.unsigned_abs()))
        }
        Ok(_) if is_exact(slf, py) => reading(slf, py, NAME, read::read_all),
        Ok(_) => read_all_by_name(slf, py),
        Err(error) => create_for(py, NAME, slf.as_obj().clone(), async { Err(error) }),
    }
}

/// `read(-1)` of a subclass: reads blocks of the limit's size until there is none.
fn read_all_by_name(slf: &Ref<StreamReader>, py: Python<'_>) -> PyResult<Obj> {
    let reader = Rc::clone(&slf.reader);
    let this = This::new(slf.bind(py))?;
    create_with_for(
        py,
        "StreamReader.read",
        slf.as_obj().clone(),
        |awaiter| async move {
            let mut all = Vec::new();
            loop {
                let block = Python::attach(|py| {
                    let limit = reader.limit.get();
                    PyResult::Ok(Obj::from(this.upgrade(py)?.call_method1("read", (limit,))?))
                })?;
                let block = awaiter.wait(block).await?;
                let ended = Python::attach(|py| -> PyResult<bool> {
                    let block = block.bind(py);
                    if block.is_truthy()? {
                        all.extend_from_slice(ReadBuffer::new(block)?.as_slice());
                        return Ok(false);
                    }
                    Ok(true)
                })?;
                if ended {
                    return Ok(Python::attach(|py| Obj::from(PyBytes::new(py, &all))));
                }
            }
        },
    )
}

fn readexactly(slf: &Ref<StreamReader>, args: Args<'_, '_>) -> PyResult<Obj> {
    const NAME: &str = "StreamReader.readexactly";
    let py = args.py();
    match count(args.single(NAME, "n")?) {
        Ok(wanted) => reading(slf, py, NAME, |reader| read::read_exactly(reader, wanted)),
        Err(error) => create_for(py, NAME, slf.as_obj().clone(), async { Err(error) }),
    }
}

/// The separators of `readuntil`: one, or a tuple of them.
fn separators(separator: &Bound<'_, PyAny>) -> PyResult<Separators> {
    let one = |separator: &Bound<'_, PyAny>| -> PyResult<Vec<u8>> {
        // In this order asyncio notices what is wrong.
        separator.len()?;
        match ReadBuffer::new(separator) {
            Ok(bytes) => Ok(bytes.as_slice().to_vec()),
            Err(_) => Err(not_a_separator(separator)),
        }
    };
    let list = match separator.cast::<PyTuple>() {
        Ok(tuple) => tuple
            .iter()
            .map(|separator| one(&separator))
            .collect::<PyResult<_>>()?,
        Err(_) => vec![one(separator)?],
    };
    Separators::new(list).map_err(|invalid| {
        PyValueError::new_err(match invalid {
            Invalid::None => "Separator should contain at least one element",
            Invalid::Empty => "Separator should be at least one-byte string",
        })
    })
}

fn readuntil(slf: &Ref<StreamReader>, args: Args<'_, '_>) -> PyResult<Obj> {
    const NAME: &str = "StreamReader.readuntil";
    let signature = Signature {
        function: NAME,
        parameters: ["separator"],
        required: 0,
        positional: 1,
    };
    let [separator] = args.parse(&signature)?;
    match separator.map_or(Ok(Separators::newline()), separators) {
        Ok(separators) => reading(slf, args.py(), NAME, |reader| {
            read::read_until(reader, separators)
        }),
        Err(error) => create_for(args.py(), NAME, slf.as_obj().clone(), async { Err(error) }),
    }
}

fn readline(slf: &Ref<StreamReader>, py: Python<'_>) -> PyResult<Obj> {
    if is_exact(slf, py) {
        return reading(slf, py, "StreamReader.readline", read::read_line);
    }
    let reader = Rc::clone(&slf.reader);
    let this = This::new(slf.bind(py))?;
    let owner = slf.as_obj().clone();
    create_with_for(py, "StreamReader.readline", owner, |awaiter| async move {
        let line = Python::attach(|py| {
            let newline = PyBytes::new(py, b"\n");
            PyResult::Ok(Obj::from(
                this.upgrade(py)?.call_method1("readuntil", (newline,))?,
            ))
        })?;
        let error = match awaiter.wait(line).await {
            Ok(line) => return Ok(line),
            Err(error) => error,
        };
        Python::attach(|py| {
            if let Some(partial) = partial_of(py, &error)? {
                return Ok(partial);
            }
            let Some(consumed) = consumed_of(py, &error)? else {
                return Err(error);
            };
            read::skip_line(&reader, py, consumed)?;
            Err(PyValueError::new_err(error.value(py).str()?.to_string()))
        })
    })
}

fn anext(slf: &Ref<StreamReader>, py: Python<'_>) -> PyResult<Obj> {
    const NAME: &str = "StreamReader.__anext__";
    let or_stop = |line: Obj| {
        Python::attach(|py| match line.bind(py).is_truthy()? {
            true => Ok(line),
            false => Err(PyStopAsyncIteration::new_err(())),
        })
    };
    if is_exact(slf, py) {
        return reading(slf, py, NAME, |reader| async move {
            or_stop(read::read_line(reader).await?)
        });
    }
    let this = This::new(slf.bind(py))?;
    create_with_for(py, NAME, slf.as_obj().clone(), |awaiter| async move {
        let line = Python::attach(|py| PyResult::Ok(Obj::from(this.upgrade(py)?.call_method0("readline")?)))?;
        or_stop(awaiter.wait(line).await?)
    })
}

/// `_wait_for_data(func_name)`, for subclasses.
fn wait_for_data(slf: &Ref<StreamReader>, args: Args<'_, '_>) -> PyResult<Obj> {
    let name: String = args.single("_wait_for_data", "func_name")?.str()?.to_string();
    reading(
        slf,
        args.py(),
        "StreamReader._wait_for_data",
        |reader| async move {
            reader.wait_for_data(&name, 0).await?;
            Ok(Python::attach(Obj::none))
        },
    )
}

fn replace_transport(slf: &Ref<StreamReader>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    if slf.reader.transport.is_none() {
        return Err(PyAssertionError::new_err("Transport not set"));
    }
    slf.reader.transport.set(Some(Obj::from(transport)));
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

fn define_reading(table: &mut MethodTable<StreamReader>) {
    table
        .fast_method(
            c"read",
            c"read($self, n=-1)\n--\n\nRead up to n bytes, or everything up to the end. A coroutine.",
            read,
        )
        .fast_method(
            c"readexactly",
            c"readexactly($self, n)\n--\n\nRead exactly n bytes; IncompleteReadError if the stream ends before. A coroutine.",
            readexactly,
        )
        .fast_method(
            c"readuntil",
            c"readuntil($self, separator=b'\\n')\n--\n\nRead up to a separator, or the first of a tuple of them. A coroutine.",
            readuntil,
        )
        .fast_noargs(
            c"readline",
            c"readline($self, /)\n--\n\nRead a line, or what is left. A coroutine.",
            readline,
        )
        .fast_noargs(c"__aiter__", c"__aiter__($self, /)\n--\n\nThe lines.", |slf, _py| Ok(slf.clone()))
        .fast_noargs(c"__anext__", c"__anext__($self, /)\n--\n\nThe next line. A coroutine.", anext)
        .method(
            c"_wait_for_data",
            c"_wait_for_data($self, func_name)\n--\n\nWait until data or its end comes. A coroutine.",
            wait_for_data,
        );
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
                    buffer.extend(py, &bytes);
                })
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
            define_reading(table);
            define_feeding(table);
            define_attributes(table);
        })
        .constructor(|_class, _args, _kwargs| Ok(StreamReader::default()))
        .initializer(initialize)
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc = "StreamReader(limit=65536, loop=None)\n\nReads bytes from a stream (asyncio: StreamReader).";
    public_class(module, &CLASS, "StreamReader", &core, doc)
}
