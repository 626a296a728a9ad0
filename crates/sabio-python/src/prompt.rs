//! Coroutines that never wait: what `__aenter__` and `__aexit__` give where all is done in one go.
//!
//! A prompt coroutine acts when it is first resumed, and returns what came of it; it has no Rust future and no frame.
//! What has acted already when it was called gives the one shared coroutine that returns None, as often as it is asked.

use std::cell::Cell;

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Sent, Visit};
use crate::ffi::{Outcome, raise_stop_iteration};
use crate::future_iterator::thrown;

/// What a prompt coroutine does with the object that it was made for.
pub(crate) type Act = fn(Python<'_>, &Obj) -> PyResult<Obj>;

/// The data of a coroutine that never waits.
pub(crate) struct Prompt {
    name: &'static str,
    /// Whom it acts for; empty once it has acted.
    owner: ObjCell,
    /// `None` for the shared coroutine.
    act: Option<Act>,
    awaited: Cell<bool>,
}

static PROMPT: ClassCell = ClassCell::new();
static DONE: Global<Obj> = Global::new();

impl Class for Prompt {
    const NAME: &'static std::ffi::CStr = c"sabio._PromptCoroutine";
    const RECYCLED: bool = true;

    fn needs_finalizer(&self) -> bool {
        !self.awaited.get()
    }

    fn cell() -> &'static ClassCell {
        &PROMPT
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.owner);
    }

    fn clear(&self) {
        self.owner.set(None);
    }
}

/// A coroutine that calls `act(owner)` when it is resumed; `name` is its `__qualname__`.
#[inline]
pub(crate) fn create(py: Python<'_>, name: &'static str, owner: Obj, act: Act) -> Outcome<Obj> {
    let prompt = Prompt {
        name,
        owner: ObjCell::new(Some(owner)),
        act: Some(act),
        awaited: Cell::new(false),
    };
    Ok(Ref::create(py, prompt)?.into_obj())
}

/// The coroutine that returns None at once, for those who have acted when they were called.
#[inline]
pub(crate) fn done(py: Python<'_>) -> PyResult<Obj> {
    Ok(DONE.get(py)?.clone())
}

fn resume(slf: &Ref<Prompt>, py: Python<'_>, _value: Option<&Obj>) -> Outcome<Sent> {
    let Some(act) = slf.act else {
        return Ok(Sent::Return(Obj::none(py)));
    };
    slf.awaited.set(true);
    match slf.owner.take() {
        Some(owner) => Ok(Sent::Return(act(py, &owner)?)),
        None => Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine").into()),
    }
}

fn close(slf: &Ref<Prompt>, _py: Python<'_>) -> PyResult<()> {
    slf.awaited.set(true);
    slf.owner.set(None);
    Ok(())
}

fn finalize(slf: &Ref<Prompt>, py: Python<'_>) -> PyResult<()> {
    slf.awaited.set(true);
    let message = std::ffi::CString::new(format!("coroutine '{}' was never awaited", slf.name))?;
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
}

fn define(table: &mut MethodTable<Prompt>) {
    table
        .fast_onearg(
            c"send",
            c"send($self, value, /)\n--\n\nResume the coroutine.",
            |slf, value| match resume(slf, value.py(), None)? {
                Sent::Next(object) => Ok(object),
                Sent::Return(object) => Err(raise_stop_iteration(value.py(), &object)),
            },
        )
        .method(
            c"throw",
            c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception instead of acting.",
            |slf, args| {
                let error = thrown(args)?;
                close(slf, args.py())?;
                Err::<Obj, PyErr>(error)
            },
        )
        .noargs(c"close", c"close($self, /)\n--\n\nNever act.", close)
        .getter(c"__name__", c"The name of the method.", |slf, py| {
            let name = slf.name.rsplit('.').next().unwrap_or(slf.name);
            Ok(Obj::from(PyString::new(py, name)))
        })
        .getter(c"__qualname__", c"Class and name of the method.", |slf, py| {
            Ok(Obj::from(PyString::new(py, slf.name)))
        });
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Prompt>::new(c"A native coroutine that never waits.")
        .members(define)
        .awaitable(|slf, _py| Ok(slf.as_obj().clone()))
        .resumable(resume)
        .finalizer(finalize)
        .weakrefs()
        .repr(|slf, py| {
            let text = format!("<coroutine object {} at {:p}>", slf.name, slf.as_obj().as_ptr());
            Ok(Obj::from(PyString::new(py, &text)))
        })
        .build(py, &Base::Object)?;
    let done = Prompt {
        name: "__aexit__",
        owner: ObjCell::new(None),
        act: None,
        awaited: Cell::new(true),
    };
    DONE.set(py, Ref::create(py, done)?.into_obj());
    Ok(())
}
