//! The callback by which a future wakes a task where its native waiter slot cannot be used.

use pyo3::prelude::*;

use crate::ffi::{FunctionDef, FunctionDefinition, Obj, Ref};
use crate::step;
use crate::task::Task;

/// The callback by which a future that has other callbacks, or that is not ours, wakes a task.
pub(crate) struct Wakeup;

static WAKEUP: FunctionDefinition = FunctionDefinition::new::<Wakeup>();

impl FunctionDef for Wakeup {
    const NAME: &'static std::ffi::CStr = c"task_wakeup";

    fn definition() -> &'static FunctionDefinition {
        &WAKEUP
    }

    fn call(py: Python<'_>, slf: &Obj, future: &Obj) -> PyResult<Obj> {
        // Called by somebody else than a loop of ours (which recognises the callback): in a handle of its own.
        if let Some(task) = Ref::<Task>::downcast(slf.bind(py))
            && let Some(event_loop) = task.event_loop()
        {
            step::wake(event_loop, task, future.bind(py));
        }
        Ok(Obj::none(py))
    }
}
