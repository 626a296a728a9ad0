//! Python objects that a Rust future needs and that the garbage collector must see.
//!
//! What a Rust future owns is invisible to the collector, so a cycle through it would never be freed. The future
//! therefore shares the objects with a [`Held`], which owns and shows them and is itself owned by the coroutine.

use std::rc::Rc;

use pyo3::prelude::*;

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Obj, ObjCell, Outcome, Ref, Visit};

/// The shared objects; taken out when the future needs them for good.
pub(crate) struct Objects<const N: usize>([ObjCell; N]);

impl<const N: usize> Objects<N> {
    /// Takes an object out. RuntimeError if the collector has cleared it.
    pub(crate) fn take(&self, index: usize) -> PyResult<Obj> {
        self.0.get(index).and_then(ObjCell::take).ok_or_else(cleared)
    }

    /// An object that stays here: the future must let go of it before it waits. RuntimeError as for `take`.
    pub(crate) fn get(&self, index: usize) -> PyResult<Obj> {
        self.0.get(index).and_then(ObjCell::get).ok_or_else(cleared)
    }
}

#[cold]
fn cleared() -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err("this coroutine was cleared by the garbage collector")
}

/// How the collector looks at [`Objects`] of any number.
trait Collected {
    fn visit(&self, visit: &mut Visit<'_>);
    fn clear(&self);
}

impl<const N: usize> Collected for Objects<N> {
    fn visit(&self, visit: &mut Visit<'_>) {
        self.0.iter().for_each(|object| visit.slot(object));
    }

    fn clear(&self) {
        self.0.iter().for_each(|object| object.set(None));
    }
}

/// The owner of a coroutine's objects.
pub(crate) struct Held {
    objects: Rc<dyn Collected>,
}

static HELD: ClassCell = ClassCell::new();

impl Class for Held {
    const NAME: &'static std::ffi::CStr = c"sabio._Held";

    fn cell() -> &'static ClassCell {
        &HELD
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.objects.visit(visit);
    }

    fn clear(&self) {
        self.objects.clear();
    }
}

/// The owner for a coroutine, and the objects for its future. MemoryError.
pub(crate) fn hold<const N: usize>(py: Python<'_>, objects: [Obj; N]) -> Outcome<(Obj, Rc<Objects<N>>)> {
    let objects = Rc::new(Objects(objects.map(|object| ObjCell::new(Some(object)))));
    let collected = Rc::clone(&objects);
    let owner = Ref::create(py, Held { objects: collected })?;
    Ok((owner.into_obj(), objects))
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Held>::new(c"What a native coroutine holds.").build(py, &Base::Object)?;
    Ok(())
}
