//! The park marker: what a native coroutine yields to a task of ours, which then counts as parked until it is woken.

use pyo3::prelude::*;

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Global, Obj, Ref, Visit};

static MARKER: Global<Obj> = Global::new();

/// The one marker.
#[inline(always)]
pub(crate) fn park_marker(py: Python<'_>) -> PyResult<Obj> {
    Ok(MARKER.get(py)?.clone())
}

/// Whether `object` is what a native coroutine yields to park the task.
#[inline(always)]
pub(crate) fn is_park_marker(object: &Bound<'_, PyAny>) -> bool {
    MARKER.get(object.py()).is_ok_and(|marker| marker.is(object))
}

/// The park marker's class: one instance, without anything.
struct Parked;

static PARKED_CLASS: ClassCell = ClassCell::new();

impl Class for Parked {
    const NAME: &'static std::ffi::CStr = c"sabio._Parked";
    const COLLECTED: bool = false;

    fn cell() -> &'static ClassCell {
        &PARKED_CLASS
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

/// Builds the class and its instance.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Parked>::new(c"What a native coroutine yields to park its task.")
        .build(py, &Base::Object)?;
    MARKER.set(py, Ref::create(py, Parked)?.into_obj());
    Ok(())
}
