//! Reading: `read`, `readexactly`, `readuntil` and `readline` over the state of a reader (asyncio: StreamReader).
//!
//! Each looks at the buffer first, so that what is there is read without waiting, and an exception that was set before
//! is raised even then, as in asyncio.

use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use sabio_sync::separator::{Progress, Search, Separators};

use super::buffer::Bytes;
use super::errors::{incomplete, no_bytes, overrun};
use super::reader::Reader;
use crate::ffi::Obj;

const UNFOUND: &str = "Separator is not found, and chunk exceed the limit";
const TOO_LONG: &str = "Separator is found, but chunk is longer than limit";

/// `read(n)` for n of zero or more: waits only while nothing is there.
pub(super) async fn read(reader: Rc<Reader>, count: usize) -> PyResult<Obj> {
    let there = Python::attach(|py| {
        reader.check(py)?;
        if count == 0 {
            return Ok(Some(no_bytes(py)));
        }
        if reader.eof.get() || reader.len(py)? > 0 {
            return reader.take(py, count).map(Some);
        }
        PyResult::Ok(None)
    })?;
    if let Some(there) = there {
        return Ok(there);
    }
    reader.wait_for_data("read", 0).await?;
    Python::attach(|py| reader.take(py, count))
}

/// `read(-1)`: everything up to the end of the stream.
pub(super) async fn read_all(reader: Rc<Reader>) -> PyResult<Obj> {
    let mut blocks = Vec::new();
    loop {
        let block = read(Rc::clone(&reader), usize::MAX).await?;
        let ended = Python::attach(|py| block.bind(py).is_empty())?;
        if ended {
            return Python::attach(|py| join(py, blocks, block));
        }
        blocks.push(block);
    }
}

fn join(py: Python<'_>, mut blocks: Vec<Obj>, nothing: Obj) -> PyResult<Obj> {
    if blocks.len() <= 1 {
        return Ok(blocks.pop().unwrap_or(nothing));
    }
    let list = PyList::new(py, blocks.iter().map(|block| block.bind(py)))?;
    Ok(PyBytes::new(py, b"").call_method1("join", (list,))?.into())
}

/// `readexactly(n)`. IncompleteReadError, with what there was, if the stream ends before.
pub(super) async fn read_exactly(reader: Rc<Reader>, count: isize) -> PyResult<Obj> {
    let Ok(count) = usize::try_from(count) else {
        return Err(PyValueError::new_err(
            "readexactly size can not be less than zero",
        ));
    };
    let mut first = true;
    loop {
        let there = Python::attach(|py| {
            if first {
                reader.check(py)?;
            }
            if reader.len(py)? >= count {
                return reader.take(py, count).map(Some);
            }
            if reader.eof.get() {
                return Err(incomplete(py, &reader.take_all(py)?, Some(count)));
            }
            Ok(None)
        })?;
        if let Some(there) = there {
            return Ok(there);
        }
        first = false;
        reader.wait_for_data("readexactly", count).await?;
    }
}

/// How a search for the end of a message ended.
enum Until {
    /// The message with its separator.
    Message(Obj),
    /// The stream ended before: what there was.
    Ended(Obj),
    /// Nothing was taken: why, and how many bytes belong to what is too long.
    Overrun(&'static str, usize),
}

async fn until(reader: &Reader, separators: &Separators) -> PyResult<Until> {
    Python::attach(|py| reader.check(py))?;
    let mut search = Search::new();
    loop {
        let found = Python::attach(|py| {
            let limit = reader.limit.get();
            let progress = reader.with_buffer(py, |buffer| {
                search.advance(buffer.as_slice(Bytes(py)), separators, limit)
            })?;
            Ok(match progress {
                Progress::Found(size) => Some(Until::Message(reader.take(py, size)?)),
                Progress::Unfound(consumed) => Some(Until::Overrun(UNFOUND, consumed)),
                Progress::TooLong(consumed) => Some(Until::Overrun(TOO_LONG, consumed)),
                Progress::NotYet if reader.eof.get() => Some(Until::Ended(reader.take_all(py)?)),
                Progress::NotYet => None,
            })
        });
        match found {
            Ok(None) => reader.wait_for_data("readuntil", 0).await?,
            Ok(Some(found)) => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

/// `readuntil(separator)`. IncompleteReadError if the stream ends before; LimitOverrunError if the message is too
/// long, which stays in the buffer.
pub(super) async fn read_until(reader: Rc<Reader>, separators: Separators) -> PyResult<Obj> {
    match until(&reader, &separators).await? {
        Until::Message(message) => Ok(message),
        Until::Ended(partial) => Err(Python::attach(|py| incomplete(py, &partial, None))),
        Until::Overrun(message, consumed) => Err(Python::attach(|py| overrun(py, message, consumed))),
    }
}

/// `readline()`: what is left when the stream ends counts as a line. ValueError for a line that is too long.
pub(super) async fn read_line(reader: Rc<Reader>) -> PyResult<Obj> {
    match until(&reader, &Separators::newline()).await? {
        Until::Message(line) | Until::Ended(line) => Ok(line),
        Until::Overrun(message, consumed) => Python::attach(|py| {
            Err(line_too_long(
                &reader,
                py,
                overrun(py, message, consumed),
                consumed,
            ))
        }),
    }
}

/// What `readline()` raises for a line that is too long, of which it drops what has come: a ValueError that tells the
/// same as the LimitOverrunError in its context.
pub(super) fn line_too_long(reader: &Reader, py: Python<'_>, overrun: PyErr, consumed: usize) -> PyErr {
    let text = skip_line(reader, py, consumed).and_then(|()| Ok(overrun.value(py).str()?.to_string()));
    match text {
        Ok(text) => {
            let error = PyValueError::new_err(text);
            error.set_context(py, Some(overrun));
            error
        }
        Err(error) => error,
    }
}

/// Drops a line that is too long: it alone if its end is there, otherwise everything.
fn skip_line(reader: &Reader, py: Python<'_>, consumed: usize) -> PyResult<()> {
    reader.with_buffer(py, |buffer| {
        if buffer.as_slice(Bytes(py)).get(consumed) == Some(&b'\n') {
            buffer.consume(Bytes(py), consumed + 1);
        } else {
            buffer.clear();
        }
    })?;
    reader.maybe_resume(py)
}
