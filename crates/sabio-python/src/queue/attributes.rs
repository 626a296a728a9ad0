//! What can be looked at: `maxsize`, `repr()`, and the underscored attributes that subclasses and libraries use.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use sabio_sync::WaitQueue;

use super::Queue;
use super::items::deque;
use crate::copying::{self, Copied};
use crate::ffi::{MethodTable, Obj, Ref, call_method};
use crate::names::names;
use crate::waker::waker_owner;

/// `<Queue at 0x... maxsize=0>`.
pub(super) fn repr(slf: &Ref<Queue>, py: Python<'_>) -> PyResult<Obj> {
    let class = slf.bind(py).get_type().name()?;
    let format = call_method(py, slf.as_obj(), &names(py)?.format, &[])?;
    let text = format!("<{class} at {:p} {}>", slf.as_obj().as_ptr(), format.bind(py));
    Ok(Obj::from(PyString::new(py, &text)))
}

/// `_format()`: what `repr()` and `str()` have in common.
fn format_state(slf: &Ref<Queue>, py: Python<'_>) -> PyResult<Obj> {
    let items = slf.items();
    let maxsize = items.maxsize().unwrap_or_else(|| Obj::none(py));
    let mut text = format!("maxsize={}", maxsize.bind(py).repr()?);
    let shown = items.shown(py)?;
    if shown.bind(py).is_truthy()? {
        let list = PyList::empty(py);
        for item in shown.bind(py).try_iter()? {
            list.append(item?)?;
        }
        text.push_str(&format!(" _queue={}", list.repr()?));
    }
    for (name, waiters) in [
        ("_getters", slf.state.getters()),
        ("_putters", slf.state.putters()),
    ] {
        if !waiters.is_empty() {
            text.push_str(&format!(" {name}[{}]", waiters.len()));
        }
    }
    if slf.state.unfinished() > 0 {
        text.push_str(&format!(" tasks={}", slf.state.unfinished()));
    }
    if slf.state.is_shut_down() {
        text.push_str(" shutdown");
    }
    Ok(Obj::from(PyString::new(py, &text)))
}

/// A deque of who waits: a task of ours, or the future that another task waits for.
fn waiting(py: Python<'_>, waiters: &WaitQueue) -> PyResult<Obj> {
    let mut owners = Vec::new();
    waiters.visit(&mut |waker| owners.push(waker_owner(waker)));
    let list = PyList::empty(py);
    for owner in owners {
        list.append(owner.as_ref().map(|owner| owner.bind(py)))?;
    }
    deque(py, &list)
}

impl Copied for Queue {
    const STATE: &'static [&'static str] =
        &["_maxsize", "_queue", "_unfinished_tasks", "_is_shutdown", "_loop"];

    fn is_in_use(&self) -> bool {
        let state = &self.state;
        [state.getters(), state.putters(), state.joiners()]
            .iter()
            .any(|waiters| waiters.inside() > 0)
    }

    fn value<'py>(slf: &Ref<Queue>, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match name {
            "_queue" => Ok(slf.items().copied(py)?.into_bound(py)),
            _ => slf.bind(py).getattr(name),
        }
    }

    fn prepare(slf: &Ref<Queue>, py: Python<'_>) -> PyResult<()> {
        if !slf.items().overrides.is_empty() {
            slf.items().know(py, slf.as_obj())?;
        }
        slf.items().reset(py);
        Ok(())
    }
}

/// `_wakeup_next(waiters)`: wakes who has waited longest in the line that was looked at as `_getters` or `_putters`, and
/// takes it out of what was looked at. Subclasses call it when they have changed the items by themselves.
fn wakeup_next(slf: &Ref<Queue>, waiters: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = waiters.py();
    if !waiters.is_truthy()? {
        return Ok(());
    }
    let first = waiters.call_method0("popleft")?;
    for line in [slf.state.getters(), slf.state.putters()] {
        let shown = waiting(py, line)?;
        if shown.bind(py).contains(&first)? {
            // It looks for itself what there is for it, and stands in line again if there is nothing.
            line.wake_one();
            return Ok(());
        }
    }
    Ok(())
}

/// Adds the attributes to the class.
pub(super) fn define(table: &mut MethodTable<Queue>) {
    copying::define(table);
    table
        .noargs(
            c"_format",
            c"_format($self, /)\n--\n\nThe state, for repr() and str().",
            format_state,
        )
        .method(
            c"_wakeup_next",
            c"_wakeup_next($self, waiters, /)\n--\n\nWake the first of _getters or _putters.",
            |slf, args| wakeup_next(slf, args.single("_wakeup_next", "waiters")?),
        )
        .getter(
            c"maxsize",
            c"How many items may wait; zero and less stand for no limit.",
            |slf, _py| Ok(slf.items().maxsize()),
        )
        .attribute(
            c"_maxsize",
            c"As maxsize.",
            |slf, _py| Ok(slf.items().maxsize()),
            |slf, value| {
                slf.items().set_maxsize(value);
                Ok(())
            },
        )
        .attribute(
            c"_queue",
            c"The items, in a deque or list that the queue uses from now on.",
            |slf, py| slf.items().object(py),
            |slf, value| {
                slf.items().set_object(Obj::from(value));
                Ok(())
            },
        )
        .getter(
            c"_getters",
            c"A deque of those who wait for an item.",
            |slf, py| waiting(py, slf.state.getters()),
        )
        .getter(c"_putters", c"A deque of those who wait for room.", |slf, py| {
            waiting(py, slf.state.putters())
        })
        .attribute(
            c"_unfinished_tasks",
            c"How many items that were put are not dealt with.",
            |slf, _py| Ok(slf.state.unfinished()),
            |slf, value| {
                let count = value.extract::<isize>()?;
                let count = usize::try_from(count)
                    .map_err(|_| PyValueError::new_err("_unfinished_tasks cannot be negative"))?;
                slf.state.set_unfinished(count);
                Ok(())
            },
        )
        .attribute(
            c"_is_shutdown",
            c"Whether shutdown() was called, which can not be taken back.",
            |slf, _py| Ok(slf.state.is_shut_down()),
            |slf, value| {
                if value.is_truthy()? {
                    slf.state.shutdown(false)?;
                }
                Ok(())
            },
        )
        .attribute(
            c"_loop",
            c"The loop on which somebody has waited, or None.",
            |slf, _py| Ok(slf.items().event_loop.get()),
            |slf, value| {
                let event_loop = (!value.is_none()).then(|| Obj::from(value));
                slf.items().event_loop.set(event_loop);
                Ok(())
            },
        );
}
