//! The state of a task group: its children, their exceptions, who cancels whom.

use std::cell::Cell;

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet};
use sabio_sync::Waiters;

use super::TaskGroup;
use crate::any_task::{self, RunningLoop};
use crate::combinators::{add_awaiter, discard_awaiter};
use crate::event_loop::Loop;
use crate::ffi::{Obj, ObjCell, Ref, Slot, Visit};
use crate::names::names;
use crate::observer::{self, Observe, Observer};
use crate::outcome;
use crate::waker::visit_waker;

/// What a group knows. All flags are asyncio's.
#[derive(Default)]
pub(super) struct Group {
    pub(super) entered: Cell<bool>,
    pub(super) exiting: Cell<bool>,
    pub(super) aborting: Cell<bool>,
    pub(super) cancel_on_enter: Cell<bool>,
    /// Whether the group itself has cancelled the parent, and must take that back.
    pub(super) parent_cancel_requested: Cell<bool>,
    /// The loop, in one of two slots.
    ours: Slot<Ref<Loop>>,
    other: ObjCell,
    parent: ObjCell,
    /// The children that are not done, or not yet heard of: a Python set.
    tasks: ObjCell,
    /// Their exceptions: a Python list.
    errors: ObjCell,
    /// The first SystemExit or KeyboardInterrupt.
    pub(super) base_error: ObjCell,
    /// The exception that ended the block.
    pub(super) body_error: ObjCell,
    /// The cancellation to be raised in the end, and the last one that came while the group waited.
    pub(super) propagate: ObjCell,
    pub(super) pending: ObjCell,
    observer: Slot<Ref<Observer>>,
    /// The parent, while it waits for the children.
    pub(super) waiters: Waiters,
}

impl Group {
    /// The block begins.
    pub(super) fn enter(&self, event_loop: RunningLoop, parent: Obj) {
        match event_loop {
            RunningLoop::Ours(event_loop) => self.ours.set(Some(event_loop)),
            RunningLoop::Other(event_loop) => self.other.set(Some(event_loop)),
        }
        self.parent.set(Some(parent));
        self.entered.set(true);
    }

    /// The loop that the group was entered on.
    #[inline]
    pub(super) fn event_loop(&self) -> PyResult<RunningLoop> {
        if let Some(event_loop) = self.ours.get() {
            return Ok(RunningLoop::Ours(event_loop));
        }
        match self.other.get() {
            Some(event_loop) => Ok(RunningLoop::Other(event_loop)),
            None => Err(PyRuntimeError::new_err("TaskGroup has no event loop")),
        }
    }

    /// The task that has entered the group, until it has left it.
    #[inline]
    pub(super) fn parent(&self) -> Option<Obj> {
        self.parent.get()
    }

    /// The children that are not done, as a set.
    pub(super) fn tasks(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(tasks) = self.tasks.get() {
            return Ok(tasks);
        }
        let tasks = Obj::from(PySet::empty(py)?);
        self.tasks.set(Some(tasks.clone()));
        Ok(tasks)
    }

    /// How many children are not done.
    #[inline]
    fn len(&self, py: Python<'_>) -> usize {
        let tasks = self.tasks.get();
        tasks
            .and_then(|tasks| tasks.bind(py).cast::<PySet>().map(|tasks| tasks.len()).ok())
            .unwrap_or(0)
    }

    /// Whether all children are done.
    #[inline]
    pub(super) fn is_empty(&self, py: Python<'_>) -> bool {
        self.len(py) == 0
    }

    /// What `repr` says of it.
    pub(super) fn describe(&self, py: Python<'_>) -> String {
        let mut text = String::new();
        let (tasks, errors) = (self.len(py), self.error_count(py));
        if tasks > 0 {
            text += &format!(" tasks={tasks}");
        }
        if errors > 0 {
            text += &format!(" errors={errors}");
        }
        if self.aborting.get() {
            text += " cancelling";
        } else if self.entered.get() {
            text += " entered";
        }
        text
    }

    /// Takes a new task among the children.
    #[inline]
    pub(super) fn add(&self, py: Python<'_>, owner: &Ref<TaskGroup>, task: &Obj) -> PyResult<()> {
        if let Some(parent) = self.parent.get() {
            add_awaiter(py, task, Some(&parent))?;
        }
        let observer = match self.observer.get() {
            Some(observer) => observer,
            None => {
                let observer = Observer::create(py, Child(owner.clone()))?;
                self.observer.set(Some(observer.clone()));
                observer
            }
        };
        let tasks = self.tasks(py)?;
        let tasks = tasks.bind(py).cast::<PySet>()?;
        tasks.add(task.bind(py))?;
        // Also for a task that has ended at once: its exception cancels the block later, not inside of this call.
        if let Err(error) = observer::watch(py, task, &observer) {
            // The group would wait for ever for a child whose end it does not hear of.
            tasks.discard(task.bind(py))?;
            return Err(error);
        }
        if self.aborting.get() && !outcome::is_done(py, task)? {
            any_task::cancel(py, task)?;
        }
        Ok(())
    }

    /// The exceptions of the children, and of the block: a list.
    pub(super) fn errors(&self, py: Python<'_>) -> Option<Obj> {
        self.errors
            .get()
            .filter(|errors| errors.bind(py).len().is_ok_and(|len| len > 0))
    }

    fn error_count(&self, py: Python<'_>) -> usize {
        self.errors
            .get()
            .map_or(0, |errors| errors.bind(py).len().unwrap_or(0))
    }

    /// Adds an exception to those that the group raises.
    pub(super) fn add_error(&self, py: Python<'_>, error: &Obj) -> PyResult<()> {
        match self.errors.get() {
            Some(errors) => errors.bind(py).cast::<PyList>()?.append(error.bind(py)),
            None => {
                self.errors.set(Some(PyList::new(py, [error.bind(py)])?.into()));
                Ok(())
            }
        }
    }

    /// Cancels the children that are not done.
    pub(super) fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.aborting.set(true);
        let Some(tasks) = self.tasks.get() else {
            return Ok(());
        };
        // Cancelling may end tasks, and so change the set.
        let tasks: Vec<Obj> = tasks
            .bind(py)
            .try_iter()?
            .map(|task| task.map(Obj::from))
            .collect::<PyResult<_>>()?;
        for task in &tasks {
            if !outcome::is_done(py, task)? {
                any_task::cancel(py, task)?;
            }
        }
        Ok(())
    }

    /// `TaskGroup.cancel()`.
    pub(super) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        if !self.entered.get() {
            self.cancel_on_enter.set(true);
            return Ok(());
        }
        if (self.exiting.get() && self.is_empty(py)) || self.aborting.get() {
            return Ok(());
        }
        self.abort(py)?;
        match self.parent.get() {
            Some(parent) if !self.parent_cancel_requested.replace(true) => any_task::cancel(py, &parent),
            _ => Ok(()),
        }
    }

    /// A child has ended.
    fn child_done(&self, py: Python<'_>, task: &Obj) -> PyResult<()> {
        if let Some(tasks) = self.tasks.get() {
            tasks.bind(py).cast::<PySet>()?.discard(task.bind(py))?;
        }
        let parent = self.parent.get();
        if self.is_empty(py) {
            self.waiters.wake_all();
        }
        if let Some(parent) = &parent {
            discard_awaiter(py, task, Some(parent))?;
        }
        let Some(error) = failure(py, task)? else {
            return Ok(());
        };
        self.add_error(py, &error)?;
        if is_base_error(py, &error) && self.base_error.is_none() {
            self.base_error.set(Some(error.clone()));
        }
        let Some(parent) = parent else { return Ok(()) };
        if outcome::is_done(py, &parent)? {
            return self.report(py, task, &parent, &error);
        }
        if !self.aborting.get() && !self.parent_cancel_requested.get() {
            // Whatever the block is at now has no future; `exit` takes the cancellation back.
            self.abort(py)?;
            self.parent_cancel_requested.set(true);
            any_task::cancel(py, &parent)?;
        }
        Ok(())
    }

    /// Nobody is left who would hear of the exception.
    #[cold]
    fn report(&self, py: Python<'_>, task: &Obj, parent: &Obj, error: &Obj) -> PyResult<()> {
        let context = PyDict::new(py);
        let message = format!(
            "Task {} has errored out but its parent task {} is already completed",
            task.bind(py).repr()?,
            parent.bind(py).str()?
        );
        context.set_item("message", message)?;
        context.set_item("exception", error.bind(py))?;
        context.set_item("task", task.bind(py))?;
        let event_loop = self.event_loop()?;
        let name = names(py)?.call_exception_handler.text(py);
        event_loop.as_obj().bind(py).call_method1(name, (context,))?;
        Ok(())
    }

    /// Shows what it owns.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.ours);
        visit.slot(&self.observer);
        for slot in [
            &self.other,
            &self.parent,
            &self.tasks,
            &self.errors,
            &self.base_error,
            &self.body_error,
            &self.propagate,
            &self.pending,
        ] {
            visit.slot(slot);
        }
        self.waiters.visit(&mut |waker| visit_waker(visit, waker));
    }

    /// Lets go of what can be part of a cycle.
    pub(super) fn clear(&self) {
        self.forget();
        self.other.set(None);
        self.tasks.set(None);
    }

    /// The block has ended: exceptions hold frames, and frames hold everything.
    pub(super) fn forget(&self) {
        // It refers to the group; children that are left, if any, hold it themselves.
        self.observer.set(None);
        for slot in [
            &self.parent,
            &self.errors,
            &self.base_error,
            &self.body_error,
            &self.propagate,
            &self.pending,
        ] {
            slot.set(None);
        }
    }
}

/// The exception of a child that has ended with one.
fn failure(py: Python<'_>, task: &Obj) -> PyResult<Option<Obj>> {
    if outcome::is_cancelled(py, task)? {
        return Ok(None);
    }
    outcome::exception(py, task)
}

/// Whether an exception goes out of the group by itself.
pub(super) fn is_base_error(py: Python<'_>, error: &Obj) -> bool {
    let error = error.bind(py);
    error.is_instance_of::<PySystemExit>() || error.is_instance_of::<PyKeyboardInterrupt>()
}

/// Tells a group that a child has ended.
struct Child(Ref<TaskGroup>);

impl Observe for Child {
    fn done(&self, py: Python<'_>, _slf: &Ref<Observer>, future: &Obj) -> PyResult<()> {
        self.0.group().child_done(py, future)
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.obj(self.0.as_obj());
    }

    fn clear(&self) {}
}
