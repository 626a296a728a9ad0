//! The coroutine of `sleep(0)`: one bare yield, which gives up one turn of the loop, and then None.
//!
//! Programs call it in tight loops, so it has no Rust future and no memory besides the object, and one that has ended is
//! used again; to Python it is a coroutine like any other.

use std::cell::Cell;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Kept, Obj, Outcome, Ref, Sent, Visit};
use crate::native_coroutine::{NativeCoroutine, define, repr, reused, warn_never_awaited};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Created,
    Suspended,
    Closed,
}

/// The data of the coroutine.
pub(crate) struct Pause {
    life: Cell<Life>,
}

static PAUSE: ClassCell = ClassCell::new();
static KEPT: Kept<Pause, 1> = Kept::new();

impl Class for Pause {
    const NAME: &'static std::ffi::CStr = c"sabio._Pause";
    const COLLECTED: bool = false;
    const RECYCLED: bool = true;

    fn cell() -> &'static ClassCell {
        &PAUSE
    }

    fn needs_finalizer(&self) -> bool {
        self.life.get() == Life::Created
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

/// A new coroutine that gives up one turn. MemoryError.
#[inline]
pub(crate) fn create(py: Python<'_>) -> Outcome<Obj> {
    if let Some(pause) = KEPT.take(py) {
        pause.life.set(Life::Created);
        return Ok(pause.into_obj());
    }
    let pause = Ref::create_with(py, || Pause {
        life: Cell::new(Life::Created),
    })?;
    Ok(pause.into_obj())
}

impl NativeCoroutine for Pause {
    fn name(&self) -> &'static str {
        "sleep"
    }

    #[inline]
    fn resume(slf: &Ref<Pause>, py: Python<'_>, value: Option<&Obj>) -> Outcome<Sent> {
        match slf.life.get() {
            Life::Created if value.is_some_and(|value| !value.bind(py).is_none()) => {
                Err(PyTypeError::new_err("can't send non-None value to a just-started coroutine").into())
            }
            Life::Created => {
                slf.life.set(Life::Suspended);
                Ok(Sent::Next(Obj::none(py)))
            }
            Life::Suspended => {
                slf.life.set(Life::Closed);
                KEPT.keep(slf);
                Ok(Sent::Return(Obj::none(py)))
            }
            Life::Closed => Err(reused().into()),
        }
    }

    fn throw(slf: &Ref<Pause>, _py: Python<'_>, error: PyErr) -> PyResult<Sent> {
        match slf.life.replace(Life::Closed) {
            Life::Closed => Err(reused()),
            Life::Created | Life::Suspended => Err(error),
        }
    }

    fn close(slf: &Ref<Pause>, _py: Python<'_>) -> PyResult<()> {
        slf.life.set(Life::Closed);
        Ok(())
    }

    fn is_suspended(&self) -> bool {
        self.life.get() == Life::Suspended
    }

    fn is_closed(&self) -> bool {
        self.life.get() == Life::Closed
    }
}

/// `await`: RuntimeError if somebody else is at it.
#[inline]
fn awaited(slf: &Ref<Pause>, _py: Python<'_>) -> PyResult<Obj> {
    match slf.life.get() {
        Life::Suspended => Err(PyRuntimeError::new_err("coroutine is being awaited already")),
        Life::Created | Life::Closed => Ok(slf.as_obj().clone()),
    }
}

fn finalize(slf: &Ref<Pause>, py: Python<'_>) -> PyResult<()> {
    slf.life.set(Life::Closed);
    warn_never_awaited(slf, py)
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Pause>::new(c"The coroutine of sleep(0); await it.")
        .members(define)
        .coroutine(awaited, Pause::resume)
        .finalizer(finalize)
        .weakrefs()
        .repr(repr)
        .build(py, &Base::Object)?;
    Ok(())
}
