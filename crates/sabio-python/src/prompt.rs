//! Coroutines that never wait: what `__aenter__` and `__aexit__` give where all is done in one go.
//!
//! A prompt coroutine acts when it is first resumed, and returns what came of it; it has no Rust future and no frame.
//! What has acted already when it was called gives the one shared coroutine that returns None, as often as it is asked.

use std::cell::Cell;

use pyo3::prelude::*;

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Global, Obj, ObjCell, Outcome, Ref, Sent, Visit};
use crate::native_coroutine::{NativeCoroutine, define, repr, reused, warn_never_awaited};

/// What a prompt coroutine does with the object that it was made for.
pub(crate) type Act = fn(Python<'_>, &Obj) -> PyResult<Obj>;

/// The data of a coroutine that never waits.
pub(crate) struct Prompt {
    name: &'static str,
    /// Whom it acts for; empty once it has acted.
    owner: ObjCell,
    /// `None` for the shared coroutine.
    act: Option<Act>,
    /// Whether somebody has resumed or closed it, so that nobody need be warned.
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

impl NativeCoroutine for Prompt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn resume(slf: &Ref<Prompt>, py: Python<'_>, _value: Option<&Obj>) -> Outcome<Sent> {
        let Some(act) = slf.act else {
            return Ok(Sent::Return(Obj::none(py)));
        };
        slf.awaited.set(true);
        match slf.owner.take() {
            Some(owner) => Ok(Sent::Return(act(py, &owner)?)),
            None => Err(reused().into()),
        }
    }

    fn throw(slf: &Ref<Prompt>, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
        Self::close(slf, py)?;
        Err(error)
    }

    fn close(slf: &Ref<Prompt>, _py: Python<'_>) -> PyResult<()> {
        slf.awaited.set(true);
        slf.owner.set(None);
        Ok(())
    }

    /// The shared one never ends.
    fn is_closed(&self) -> bool {
        self.act.is_some() && self.awaited.get()
    }
}

fn finalize(slf: &Ref<Prompt>, py: Python<'_>) -> PyResult<()> {
    slf.awaited.set(true);
    warn_never_awaited(slf, py)
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Prompt>::new(c"A native coroutine that never waits.")
        .members(define)
        .coroutine(|slf, _py| Ok(slf.as_obj().clone()), Prompt::resume)
        .finalizer(finalize)
        .weakrefs()
        .repr(repr)
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
