//! The coroutine methods of `StreamReader`, over the operations of `read`.
//!
//! A method of exactly our class works on the state natively. In a subclass, methods call each other by name, as
//! asyncio's do, so that what it overrides is called.

use std::rc::Rc;

use pyo3::exceptions::{PyStopAsyncIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};
use sabio_sync::separator::{Invalid, Separators};

use super::errors::{consumed_of, not_a_separator, partial_of};
use super::reader::Reader;
use super::stream_reader::StreamReader;
use super::{This, read};
use crate::coroutine::{create_for, create_with_for};
use crate::ffi::{Args, MethodTable, Obj, ReadBuffer, Ref, Signature};

/// Whether the methods of this very object are ours.
#[inline]
fn is_exact(slf: &Ref<StreamReader>, py: Python<'_>) -> bool {
    StreamReader::exact(slf.bind(py)).is_some()
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
    create_for(py, name, slf.as_obj().clone(), read(Rc::clone(slf.state())))
}

/// An index as Python means it; what is none is an error when the coroutine is awaited, in the words of the comparison or
/// of the slice that asyncio makes.
fn count(value: &Bound<'_, PyAny>) -> PyResult<isize> {
    if let Ok(count) = value.extract::<isize>() {
        return Ok(count);
    }
    if value.lt(0)? {
        return Ok(-1);
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(isize::MAX);
    }
    Err(PyTypeError::new_err(
        "slice indices must be integers or None or have an __index__ method",
    ))
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
    let reader = Rc::clone(slf.state());
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
        if separator.len()? == 0 {
            return Ok(Vec::new());
        }
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
    let reader = Rc::clone(slf.state());
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
            Err(read::line_too_long(&reader, py, error, consumed))
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

/// Adds the methods.
pub(super) fn define(table: &mut MethodTable<StreamReader>) {
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
