//! The loop that an object belongs to: the one under which somebody first had to wait for it, as in asyncio.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::ffi::{Class, MethodTable, Obj, ObjCell, Ref, Visit};
use crate::task;

/// The loop of an object that tasks wait for, once one has waited.
#[derive(Default)]
pub(crate) struct LoopBinding(ObjCell);

impl LoopBinding {
    /// Binds `owner` to the running loop. RuntimeError if it is bound to another one.
    #[inline]
    pub(crate) fn bind(&self, py: Python<'_>, owner: &Obj) -> PyResult<()> {
        if let Some(task) = task::current()
            && let Some(event_loop) = task.event_loop()
        {
            return self.check(py, owner, event_loop.as_obj());
        }
        match super::running_loop(py)? {
            Some(event_loop) => self.check(py, owner, &event_loop),
            // Nobody can wait without a loop: whoever tries hears of it there.
            None => Ok(()),
        }
    }

    #[inline]
    fn check(&self, py: Python<'_>, owner: &Obj, event_loop: &Obj) -> PyResult<()> {
        let bound = self.0.as_ptr();
        if std::ptr::eq(bound, event_loop.as_ptr()) {
            return Ok(());
        }
        if bound.is_null() {
            self.0.set(Some(event_loop.clone()));
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "{} is bound to a different event loop",
            owner.bind(py).repr()?
        )))
    }

    /// Shows the loop to the garbage collector.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.0);
    }

    /// Forgets the loop.
    pub(crate) fn clear(&self) {
        self.0.set(None);
    }
}

/// A class whose objects belong to a loop.
pub(crate) trait LoopBound: Class {
    /// Its binding.
    fn binding(&self) -> &LoopBinding;
}

/// The attribute `_loop`.
pub(crate) fn define<T: LoopBound>(table: &mut MethodTable<T>) {
    table.attribute(
        c"_loop",
        c"The loop under which somebody first had to wait, or None.",
        |slf: &Ref<T>, _py| Ok(slf.binding().0.get()),
        |slf, value| {
            slf.binding().0.set((!value.is_none()).then(|| Obj::from(value)));
            Ok(())
        },
    );
}
