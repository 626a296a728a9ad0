//! The end of a group's block: wait for the children, then raise what there is to raise.

use std::rc::Rc;

use pyo3::exceptions::PyGeneratorExit;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::TaskGroup;
use super::group::{Group, is_base_error};
use crate::any_task;
use crate::asyncio::asyncio;
use crate::awaiter::Awaiter;
use crate::coroutine;
use crate::ffi::{IntoObj, Obj, Ref, is_cancelled_error};
use crate::prompt;

/// `__aexit__(class, exception, ...)`: what is to be awaited. A group without children ends in this call.
pub(super) fn exit(
    slf: &Ref<TaskGroup>,
    class: &Bound<'_, PyAny>,
    exception: &Bound<'_, PyAny>,
) -> PyResult<Obj> {
    let py = class.py();
    let group = slf.group();
    group.exiting.set(true);
    if !exception.is_none() {
        let error = Obj::from(exception);
        if is_base_error(py, &error) && group.base_error.is_none() {
            group.base_error.set(Some(error.clone()));
        }
        group.body_error.set(Some(error));
    }
    if !class.is_none() {
        if any_task::is_cancellation(class)? {
            group.propagate.set(group.body_error.get());
        }
        if !group.aborting.get() {
            group.abort(py)?;
        }
    }
    if group.is_empty(py) {
        return match Leaving(Rc::clone(group)).finish(py)? {
            false => prompt::done(py),
            true => Ok(prompt::create(
                py,
                "TaskGroup.__aexit__",
                PyBool::new(py, true).to_owned().into(),
                |_, owner| Ok(owner.clone()),
            )?),
        };
    }
    let group = Rc::clone(group);
    coroutine::create_with_for(
        py,
        "TaskGroup.__aexit__",
        slf.as_obj().clone(),
        |awaiter| async move {
            let leaving = Leaving(group);
            leaving.wait(&awaiter).await?;
            Python::attach(|py| leaving.finish(py)?.into_obj(py))
        },
    )
}

/// A block that is being left: whatever way that ends, the group lets go of what it has gathered.
struct Leaving(Rc<Group>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl Leaving {
    /// Waits until every child has ended, however often the parent is cancelled meanwhile.
    async fn wait(&self, awaiter: &Awaiter) -> PyResult<()> {
        let group = &self.0;
        while !Python::attach(|py| group.is_empty(py)) {
            let Err(error) = awaiter.catch(group.waiters.wait()).await else {
                continue;
            };
            Python::attach(|py| {
                if !is_cancelled_error(py, &error, &asyncio(py)?.cancelled_error) {
                    return Err(error);
                }
                let error = Obj::from(error.into_value(py).into_bound(py));
                group.pending.set(Some(error.clone()));
                if !group.aborting.get() {
                    group.propagate.set(Some(error));
                    group.abort(py)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// All children have ended. Raises what the block is to raise; true if its own exception ends here.
    fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        let group = &self.0;
        let body = group.body_error.get();
        if let Some(error) = group.base_error.get() {
            return Err(raise(py, error, body.as_ref())?);
        }
        if let Some(parent) = group.parent() {
            self.take_back(py, &parent)?;
        }
        let is_cancellation = match &body {
            Some(body) => any_task::is_cancellation(body.bind(py).get_type().as_any())?,
            None => false,
        };
        if let Some(error) = group.propagate.get()
            && group.errors(py).is_none()
        {
            return Err(raise(py, error, body.as_ref())?);
        }
        if let Some(body) = &body
            && !is_cancellation
        {
            group.add_error(py, body)?;
        }
        match group.errors(py) {
            Some(errors) => Err(self.failed(py, errors.bind(py), body.as_ref())?),
            None => Ok(body.is_some()),
        }
    }

    /// Takes back the cancellation by which the group itself has ended the block. If somebody else wants the parent
    /// cancelled as well, the cancellation goes on.
    fn take_back(&self, py: Python<'_>, parent: &Obj) -> PyResult<()> {
        let group = &self.0;
        if !group.parent_cancel_requested.get() {
            return Ok(());
        }
        if any_task::uncancel(py, parent)? == 0 {
            group.propagate.set(None);
        } else if group.propagate.is_none() {
            group.propagate.set(group.pending.get());
        }
        Ok(())
    }

    /// The exception for the errors of a group: a group of them, but for the end of an asynchronous generator.
    #[cold]
    fn failed(&self, py: Python<'_>, errors: &Bound<'_, PyAny>, body: Option<&Obj>) -> PyResult<PyErr> {
        if let Some(parent) = self.0.parent()
            && any_task::cancelling(py, &parent)? > 0
        {
            // A cancellation from outside that the errors hide is delivered at the next await, and counted once.
            any_task::uncancel(py, &parent)?;
            any_task::cancel(py, &parent)?;
        }
        if let Some(body) = body
            && body.bind(py).is_instance_of::<PyGeneratorExit>()
            && errors.len()? == 1
        {
            return Ok(PyErr::from_value(body.bind(py).clone()));
        }
        let class = py.import("builtins")?.getattr("BaseExceptionGroup")?;
        let group = class.call1(("unhandled errors in a TaskGroup", errors))?;
        let error = raise(py, group.into(), body)?;
        error.set_cause(py, None);
        Ok(error)
    }
}

/// `raise error` while `handled` is being handled.
fn raise(py: Python<'_>, error: Obj, handled: Option<&Obj>) -> PyResult<PyErr> {
    let error = error.into_bound(py);
    if let Some(handled) = handled.map(|handled| handled.bind(py)) {
        // As the interpreter does it: never an exception in its own context.
        let mut context = handled.clone();
        loop {
            if context.is(&error) {
                return Ok(PyErr::from_value(error));
            }
            context = match context.getattr_opt("__context__")? {
                Some(inner) if !inner.is_none() => inner,
                _ => break,
            };
        }
        error.setattr("__context__", handled)?;
    }
    Ok(PyErr::from_value(error))
}
