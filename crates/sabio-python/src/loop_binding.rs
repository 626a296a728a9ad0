//! The loop that an object belongs to: the one under which somebody first had to wait for it, as in asyncio.

use std::task::Waker;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::ffi::{Class, MethodTable, Obj, ObjCell, Ref, Visit, waker_target};
use crate::running_loop::running_loop_if_any;
use crate::task::{self, Task};

/// The loop of an object that tasks wait for, once one has waited.
#[derive(Default)]
pub(crate) struct LoopBinding(ObjCell);

impl LoopBinding {
    /// The loop, if anybody has waited.
    pub(crate) fn get(&self) -> Option<Obj> {
        self.0.get()
    }

    /// Says which loop it is.
    pub(crate) fn set(&self, event_loop: Option<Obj>) {
        self.0.set(event_loop);
    }

    /// Binds `owner` to the running loop. RuntimeError if it is bound to another one.
    #[inline]
    pub(crate) fn bind(&self, owner: &Obj) -> PyResult<()> {
        self.bind_as(|_| Ok(owner.clone()))
    }

    /// As [`bind`](Self::bind); `owner` gives the object, for the error.
    pub(crate) fn bind_as(&self, owner: impl FnOnce(Python<'_>) -> PyResult<Obj>) -> PyResult<()> {
        Python::attach(|py| {
            if let Some(task) = task::current(py)
                && let Some(event_loop) = task.event_loop()
            {
                return self.check(event_loop.as_obj(), owner);
            }
            match running_loop_if_any(py)? {
                Some(event_loop) => self.check(&event_loop, owner),
                // Nobody can wait without a loop: whoever tries hears of it there.
                None => Ok(()),
            }
        })
    }

    /// As [`bind_as`](Self::bind_as), for the task behind `waker`, which is the current one.
    #[inline(always)]
    pub(crate) fn bind_for(
        &self,
        waker: &Waker,
        owner: impl FnOnce(Python<'_>) -> PyResult<Obj>,
    ) -> PyResult<()> {
        let is_bound = |task: &Ref<Task>| {
            task.event_loop()
                .is_some_and(|event_loop| std::ptr::eq(self.0.as_ptr(), event_loop.as_obj().as_ptr()))
        };
        if waker_target(waker, is_bound) == Some(true) {
            return Ok(());
        }
        self.bind_as(owner)
    }

    #[inline]
    fn check(&self, event_loop: &Obj, owner: impl FnOnce(Python<'_>) -> PyResult<Obj>) -> PyResult<()> {
        let bound = self.0.as_ptr();
        if std::ptr::eq(bound, event_loop.as_ptr()) {
            return Ok(());
        }
        if bound.is_null() {
            self.0.set(Some(event_loop.clone()));
            return Ok(());
        }
        Python::attach(|py| {
            let text = owner(py)?.bind(py).repr()?;
            let message = format!("{text} is bound to a different event loop");
            Err(PyRuntimeError::new_err(message))
        })
    }

    /// Shows the loop to the garbage collector.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.0);
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
        |slf: &Ref<T>, _py| Ok(slf.binding().get()),
        |slf, value| {
            slf.binding().set((!value.is_none()).then(|| Obj::from(value)));
            Ok(())
        },
    );
}
