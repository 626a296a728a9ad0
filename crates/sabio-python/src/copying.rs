//! Copies and pickles of locks, queues and their like, as asyncio's allow them: `copy`, `pickle` and whatever copies an
//! object with its attributes (`dataclasses.asdict()`) ask for its state and put that into a new one.
//!
//! The state is a dictionary of what asyncio's object has, under the same names, and of what a program has given it.
//! Invariant: nothing in which tasks wait is copied, since they wait for this one. A copy that was made without its
//! initialiser is whole once it has got the state.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::ffi::{Class, MethodTable, Obj, Ref};

/// A class whose objects can be copied.
pub(crate) trait Copied: Class {
    /// The attributes that are the state of the native part.
    const STATE: &'static [&'static str];

    /// Whether tasks wait in it.
    fn is_in_use(&self) -> bool;

    /// The value of one of the attributes, for the copy.
    fn value<'py>(slf: &Ref<Self>, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        slf.bind(py).getattr(name)
    }

    /// Makes an object that was not initialised one that can take attributes.
    fn prepare(_slf: &Ref<Self>, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }
}

/// `__getstate__()`. TypeError if tasks wait in it.
fn state<T: Copied>(slf: &Ref<T>, py: Python<'_>) -> PyResult<Obj> {
    let object = slf.bind(py);
    if slf.is_in_use() {
        let class = object.get_type().name()?;
        let message = format!("cannot pickle '{class}' object that tasks wait in");
        return Err(PyTypeError::new_err(message));
    }
    let state = PyDict::new(py);
    for name in T::STATE {
        let value = T::value(slf, py, name)?;
        if !value.is_none() {
            state.set_item(*name, value)?;
        }
    }
    state.update(object.getattr("__dict__")?.cast()?)?;
    Ok(Obj::from(&state))
}

/// `__setstate__(state)`.
fn set_state<T: Copied>(slf: &Ref<T>, state: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = state.py();
    T::prepare(slf, py)?;
    let object = slf.bind(py);
    let own = object.getattr("__dict__")?;
    for (name, value) in state.cast::<PyDict>()? {
        let name = name.cast_into::<PyString>()?;
        if T::STATE.contains(&name.to_str()?) {
            object.setattr(name, value)?;
        } else {
            own.set_item(name, value)?;
        }
    }
    Ok(())
}

/// `__getstate__` and `__setstate__`.
pub(crate) fn define<T: Copied>(table: &mut MethodTable<T>) {
    table
        .noargs(
            c"__getstate__",
            c"__getstate__($self, /)\n--\n\nThe state, for a copy. TypeError if tasks wait in it.",
            state::<T>,
        )
        .method(
            c"__setstate__",
            c"__setstate__($self, state)\n--\n\nTake over the state of another one.",
            |slf, args| set_state(slf, args.single("__setstate__", "state")?),
        );
}
