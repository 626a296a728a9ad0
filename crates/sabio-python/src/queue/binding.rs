//! The loop that a queue belongs to: the first one on which somebody waits for it (asyncio's rule for all primitives).

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::asyncio::asyncio;
use crate::ffi::{Obj, ObjCell, Visit};
use crate::task;

/// The loop, from the first wait on.
#[derive(Default)]
pub(super) struct LoopBinding(ObjCell);

impl LoopBinding {
    /// The loop, if anybody has waited.
    pub(super) fn get(&self) -> Option<Obj> {
        self.0.get()
    }

    /// Says which loop it is.
    pub(super) fn set(&self, event_loop: Option<Obj>) {
        self.0.set(event_loop);
    }

    /// Binds to the running loop, or checks that it is the one.
    ///
    /// # Errors
    /// RuntimeError if it is another loop; `describe` gives the object that is bound.
    #[inline]
    pub(super) fn check(&self, describe: impl FnOnce(Python<'_>) -> PyResult<Obj>) -> PyResult<()> {
        let known = task::current().is_some_and(|task| {
            task.event_loop()
                .is_some_and(|event_loop| std::ptr::eq(event_loop.as_obj().as_ptr(), self.0.as_ptr()))
        });
        if known {
            return Ok(());
        }
        Python::attach(|py| self.check_slowly(py, describe))
    }

    #[cold]
    fn check_slowly(
        &self,
        py: Python<'_>,
        describe: impl FnOnce(Python<'_>) -> PyResult<Obj>,
    ) -> PyResult<()> {
        let running = asyncio(py)?.events.bind(py).call_method0("get_running_loop")?;
        match self.0.get() {
            None => self.0.set(Some(running.into())),
            Some(bound) if bound.is(&running) => {}
            Some(_) => {
                let text = describe(py)?.bind(py).repr()?;
                return Err(PyRuntimeError::new_err(format!(
                    "{text} is bound to a different event loop"
                )));
            }
        }
        Ok(())
    }

    /// Shows the loop to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.0);
    }
}
