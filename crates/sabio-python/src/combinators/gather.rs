//! `gather`: awaitables side by side, their results in one list (asyncio: Running Tasks Concurrently).
//!
//! One observer watches all children. It counts those that are done, passes on the first exception and, after the
//! last child, collects the results; the outer future (see `gathering`) holds the children.

use std::cell::Cell;
use std::rc::Rc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::distinct::Distinct;
use super::ensure::{ensure, loop_of};
use super::gathering::{self, Gathering, as_future};
use super::{add_awaiter, awaiting_task, discard_awaiter, event_loop_of_caller};
use crate::asyncio::asyncio;
use crate::ffi::{Args, Obj, ObjCell, Ref, Slot, Visit, add_function, call_method};
use crate::future;
use crate::names::names;
use crate::observer::{Observe, Observer, watch};
use crate::outcome;

/// What the observer of the children knows.
struct Gather {
    return_exceptions: bool,
    /// How many different children there are, and how many of them are done.
    count: Cell<usize>,
    finished: Cell<usize>,
    /// Missing while the children are being made, for one of them may be refused.
    outer: Slot<Ref<Gathering>>,
    waiter: ObjCell,
}

impl Observe for Rc<Gather> {
    fn done(&self, py: Python<'_>, _slf: &Ref<Observer>, future: &Obj) -> PyResult<()> {
        self.child_done(py, future)
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.outer);
        visit.slot(&self.waiter);
    }

    fn clear(&self) {
        self.outer.set(None);
        self.waiter.set(None);
    }
}

impl Gather {
    fn child_done(&self, py: Python<'_>, child: &Obj) -> PyResult<()> {
        self.finished.set(self.finished.get() + 1);
        discard_awaiter(py, child, self.waiter.get().as_ref())?;
        let Some(outer) = self.outer.get() else {
            return outcome::retrieve(py, child);
        };
        if outcome::is_done(py, outer.as_obj())? {
            return outcome::retrieve(py, child);
        }
        if !self.return_exceptions {
            let exception = if outcome::is_cancelled(py, child)? {
                Some(outcome::cancelled_error(py, child)?)
            } else {
                outcome::exception(py, child)?
            };
            if let Some(exception) = exception {
                return self.fail(py, &outer, &exception);
            }
        }
        if self.finished.get() == self.count.get() {
            self.complete(py, &outer)?;
        }
        Ok(())
    }

    /// Ends the outer future; nobody awaits the children any more.
    fn fail(&self, py: Python<'_>, outer: &Ref<Gathering>, exception: &Obj) -> PyResult<()> {
        future::set_exception(as_future(py, outer)?, exception.bind(py))?;
        if let Some(waiter) = self.waiter.take() {
            for child in outer.children().iter() {
                discard_awaiter(py, child, Some(&waiter))?;
            }
        }
        Ok(())
    }

    /// All children are done.
    fn complete(&self, py: Python<'_>, outer: &Ref<Gathering>) -> PyResult<()> {
        let children = outer.children();
        let mut results = Vec::with_capacity(children.len());
        for child in children.iter() {
            results.push(self.result_of(py, child)?);
        }
        if let (true, Some(last)) = (outer.is_cancel_requested(), children.last()) {
            // A cancellation is passed on even where exceptions count as results.
            let error = outcome::cancelled_error(py, last)?;
            return self.fail(py, outer, &error);
        }
        let results = PyList::new(py, results.iter().map(|result| result.bind(py)))?;
        future::set_result(as_future(py, outer)?, results.as_any())
    }

    fn result_of(&self, py: Python<'_>, child: &Obj) -> PyResult<Obj> {
        if outcome::is_cancelled(py, child)? {
            let message = child.bind(py).getattr("_cancel_message")?;
            let class = asyncio(py)?.cancelled_error.bind(py);
            return Ok(match message.is_none() {
                true => class.call1(("",))?,
                false => class.call1((message,))?,
            }
            .into());
        }
        match outcome::exception(py, child)? {
            Some(exception) => Ok(exception),
            None => outcome::result(py, child),
        }
    }
}

/// The loop that the first argument is made a future on, if it is known by then, and who awaits.
fn surroundings(py: Python<'_>) -> PyResult<(Option<Obj>, Option<Obj>)> {
    #[cfg(Py_3_14)]
    {
        let event_loop = crate::running_loop::running_loop_if_any(py)?;
        let waiter = match &event_loop {
            Some(event_loop) => awaiting_task(py, event_loop)?,
            None => None,
        };
        Ok((event_loop, waiter))
    }
    #[cfg(not(Py_3_14))]
    {
        let _ = (py, awaiting_task);
        Ok((None, None))
    }
}

/// `gather(*coros_or_futures, return_exceptions=False)`.
fn gather(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let return_exceptions = keyword(&args)?;
    let names = names(py)?;
    if args.len() == 0 {
        let event_loop = event_loop_of_caller(py)?;
        let outer = call_method(py, &event_loop, &names.create_future, &[])?;
        call_method(py, &outer, &names.set_result, &[&Obj::from(&PyList::empty(py))])?;
        return Ok(outer);
    }
    let (mut event_loop, waiter) = surroundings(py)?;
    let state = Rc::new(Gather {
        return_exceptions,
        count: Cell::new(0),
        finished: Cell::new(0),
        outer: Slot::new(None),
        waiter: ObjCell::new(waiter.clone()),
    });
    let observer = Observer::create(py, Rc::clone(&state))?;
    let mut distinct = Distinct::with_capacity(args.len());
    let mut children: Vec<Obj> = Vec::with_capacity(args.len());
    let mut done = Vec::new();
    let mut count = 0;
    for argument in args.positional_from(0) {
        if let Some(before) = distinct.insert(argument, children.len())? {
            children.push(children[before].clone());
            continue;
        }
        let child = ensure(argument, event_loop.as_ref())?;
        if event_loop.is_none() {
            event_loop = Some(loop_of(child.bind(py))?);
        }
        if child.as_ptr() != argument.as_ptr() {
            // Made for this argument, which the caller has no hand on: no warning if it is destroyed while pending.
            child
                .bind(py)
                .setattr(names.log_destroy_pending.text(py), false)?;
        }
        count += 1;
        if cfg!(Py_3_12) && outcome::is_done(py, &child)? {
            done.push(child.clone());
        } else {
            add_awaiter(py, &child, waiter.as_ref())?;
            watch(py, &child, &observer)?;
        }
        children.push(child);
    }
    let Some(event_loop) = event_loop else {
        return Err(PyTypeError::new_err("gather() without a loop"));
    };
    let outer = gathering::create(py, &event_loop, children)?;
    state.count.set(count);
    state.outer.set(Some(outer.clone()));
    // Children that have ended already, eager tasks among them, end the gathering at once if they are all.
    for child in &done {
        state.child_done(py, child)?;
    }
    Ok(outer.into_obj())
}

/// The only keyword.
fn keyword(args: &Args<'_, '_>) -> PyResult<bool> {
    let mut return_exceptions = false;
    for (name, value) in args.keywords() {
        if name.extract::<&str>()? != "return_exceptions" {
            return Err(PyTypeError::new_err(format!(
                "gather() got an unexpected keyword argument '{name}'"
            )));
        }
        return_exceptions = value.is_truthy()?;
    }
    Ok(return_exceptions)
}

/// Adds the function to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_function(
        module,
        c"gather",
        c"gather(*coros_or_futures, return_exceptions=False)\n--\n\nRun awaitables side by side; a future of the list of their results.",
        gather,
    )
}
