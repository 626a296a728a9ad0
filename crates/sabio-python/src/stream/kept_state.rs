//! What a protocol of a subclass shows of its state in `__dict__`, where asyncio has all of it.
//!
//! aioconsole copies that dictionary before it calls `connection_lost()`, and puts the copy back afterwards: standard
//! output goes on when standard input has ended, though one protocol serves both. So a protocol whose instances have a
//! dictionary writes there what a loss takes away, and one that is lost looks whether it is there again.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::protocol::StreamReaderProtocol;
use crate::ffi::{Obj, Ref};

/// The names under which asyncio has it.
const LOST: &str = "_connection_lost";
const READER: &str = "_stream_reader_wr";
const TRANSPORT: &str = "_transport";

/// The dictionary of an instance of a subclass that has one.
fn dictionary<'py>(slf: &Ref<StreamReaderProtocol>, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if StreamReaderProtocol::exact(slf.bind(py)).is_some() {
        return Ok(None);
    }
    let dictionary = slf.bind(py).getattr_opt("__dict__")?;
    Ok(dictionary.and_then(|dictionary| dictionary.cast_into::<PyDict>().ok()))
}

/// Writes the state down.
pub(super) fn note(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<()> {
    if let Some(dictionary) = dictionary(slf, py)? {
        let or_none = |object: Option<Obj>| object.unwrap_or_else(|| Obj::none(py));
        dictionary.set_item(LOST, slf.flow().is_lost())?;
        dictionary.set_item(READER, or_none(slf.reader_reference().get()).bind(py))?;
        dictionary.set_item(TRANSPORT, or_none(slf.transport().get()).bind(py))?;
    }
    Ok(())
}

/// Takes back the loss of the connection, if the state from before it was put back.
#[cold]
pub(super) fn recall(slf: &Ref<StreamReaderProtocol>, py: Python<'_>) -> PyResult<()> {
    let Some(dictionary) = dictionary(slf, py)? else {
        return Ok(());
    };
    let is_lost = match dictionary.get_item(LOST)? {
        Some(lost) => lost.is_truthy()?,
        None => true,
    };
    if is_lost {
        return Ok(());
    }
    slf.flow().regain();
    for (name, slot) in [(READER, slf.reader_reference()), (TRANSPORT, slf.transport())] {
        let value = dictionary.get_item(name)?.filter(|value| !value.is_none());
        slot.set(value.map(Obj::from));
    }
    Ok(())
}
