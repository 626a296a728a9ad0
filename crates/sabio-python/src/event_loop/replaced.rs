//! Methods of the loop that a program has put others in the place of, by an attribute, a mock or a change of the class.
//!
//! What of ours has a shorter way than by the loop's method must not go that way then. Whether there is such a method is
//! found out where it can come about: when an attribute is set or deleted, and when the loop begins to run. So the short
//! ways pay for one flag.

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyString};

use super::{Loop, clock, tasks};
use crate::ffi::Ref;
use crate::names::Name;

/// An attribute of the loop was set or deleted.
pub(super) fn attribute_changed(slf: &Ref<Loop>, name: &Bound<'_, PyAny>) -> PyResult<()> {
    let changed = name.cast::<PyString>()?;
    if changed == "time" {
        clock::find(slf, name.py())
    } else if changed == "create_task" {
        tasks::find(slf, name.py())
    } else {
        Ok(())
    }
}

/// Finds out which methods the loop has now.
pub(super) fn find(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    clock::find(slf, py)?;
    tasks::find(slf, py)
}

/// Whether the loop's method of this name is another than ours.
pub(super) fn is_replaced(slf: &Ref<Loop>, py: Python<'_>, name: &Name) -> PyResult<bool> {
    let slf = slf.bind(py);
    let method = slf.getattr(name.text(py))?;
    let is_ours = method.cast_exact::<PyCFunction>().is_ok() && method.getattr("__self__")?.is(slf);
    Ok(!is_ours)
}
