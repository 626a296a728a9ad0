//! `wait`: until the first, the first failed or the last of several futures is done (asyncio: Waiting Primitives).
//!
//! One observer watches the futures and owns everything; the Rust future shares its state. Leaving in any way, by
//! cancellation too, stops the watching and the timer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PySet, PyString};

use super::ensure::{is_coroutine, is_future};
use super::{add_awaiter, awaiting_task, discard_awaiter};
use crate::coroutine::create_for;
use crate::ffi::{Args, Obj, ObjCell, Ref, Signature, Slot, Visit, add_function, call_method};
use crate::names::names;
use crate::observer::{Observe, Observer, unwatch, watch};
use crate::outcome;
use crate::running_loop::running_loop;
use crate::waker::visit_waker;

/// When a wait ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    FirstCompleted,
    FirstException,
    AllCompleted,
}

/// What the observer and the coroutine share.
struct Waiting {
    /// What the caller gave, until the coroutine is first awaited.
    given: ObjCell,
    timeout: ObjCell,
    return_when: ObjCell,

    /// The observer itself, until the waiting ends.
    observer: Slot<Ref<Observer>>,
    futures: RefCell<Vec<Obj>>,
    until: Cell<Until>,
    pending: Cell<usize>,
    waiter: ObjCell,
    timer: ObjCell,
    released: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Observe for Rc<Waiting> {
    /// A future is done, or (None in its place) the time is up.
    fn done(&self, py: Python<'_>, _slf: &Ref<Observer>, future: &Obj) -> PyResult<()> {
        if future.bind(py).is_none() {
            self.release();
            return Ok(());
        }
        let pending = self.pending.get().saturating_sub(1);
        self.pending.set(pending);
        let ends = pending == 0
            || match self.until.get() {
                Until::FirstCompleted => true,
                Until::AllCompleted => false,
                Until::FirstException => {
                    !outcome::is_cancelled(py, future)? && outcome::exception(py, future)?.is_some()
                }
            };
        if ends {
            self.cancel_timer(py)?;
            self.release();
        }
        discard_awaiter(py, future, self.waiter.get().as_ref())
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        for slot in [
            &self.given,
            &self.timeout,
            &self.return_when,
            &self.waiter,
            &self.timer,
        ] {
            visit.slot(slot);
        }
        visit.slot(&self.observer);
        self.futures.borrow().iter().for_each(|future| visit.obj(future));
        let waker = self.waker.take();
        if let Some(waker) = &waker {
            visit_waker(visit, waker);
        }
        self.waker.set(waker);
    }

    fn clear(&self) {
        self.given.set(None);
        self.waiter.set(None);
        self.timer.set(None);
        self.observer.set(None);
        drop(self.futures.take());
        drop(self.waker.take());
    }
}

impl Waiting {
    fn release(&self) {
        self.released.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn cancel_timer(&self, py: Python<'_>) -> PyResult<()> {
        match self.timer.take() {
            Some(timer) => call_method(py, &timer, &names(py)?.cancel, &[])
                .map(drop)
                .map_err(PyErr::from),
            None => Ok(()),
        }
    }

    /// Checks what was given; the futures without those that were given twice.
    ///
    /// # Errors
    /// asyncio's: TypeError for a single future or coroutine, ValueError for none at all or an unknown
    /// `return_when`, TypeError for coroutines among the futures.
    fn check(&self, py: Python<'_>) -> PyResult<Vec<Obj>> {
        let given = self.given.take().unwrap_or_else(|| Obj::none(py));
        let given = given.bind(py);
        if is_future(given)? || is_coroutine(given)? {
            return Err(PyTypeError::new_err(format!(
                "expect a list of futures, not {}",
                given.get_type().name()?
            )));
        }
        if !given.is_truthy()? {
            return Err(PyValueError::new_err("Set of Tasks/Futures is empty."));
        }
        self.until.set(self.parse_return_when(py)?);
        let distinct = py.get_type::<PySet>().call1((given,))?;
        let mut futures = Vec::new();
        for future in distinct.try_iter()? {
            let future = future?;
            if is_coroutine(&future)? {
                return Err(PyTypeError::new_err(
                    "Passing coroutines is forbidden, use tasks explicitly.",
                ));
            }
            futures.push(Obj::from(future));
        }
        Ok(futures)
    }

    fn parse_return_when(&self, py: Python<'_>) -> PyResult<Until> {
        let Some(return_when) = self.return_when.take() else {
            return Ok(Until::AllCompleted);
        };
        let return_when = return_when.bind(py);
        let text = return_when
            .cast::<PyString>()
            .ok()
            .and_then(|text| text.to_str().ok());
        match text {
            Some("FIRST_COMPLETED") => Ok(Until::FirstCompleted),
            Some("FIRST_EXCEPTION") => Ok(Until::FirstException),
            Some("ALL_COMPLETED") => Ok(Until::AllCompleted),
            _ => Err(PyValueError::new_err(format!(
                "Invalid return_when value: {}",
                return_when.str()?
            ))),
        }
    }
}

/// The coroutine's hold on the waiting: dropping it ends everything.
struct Watch(Rc<Waiting>);

impl Watch {
    /// Begins, when the coroutine is first awaited.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let state = &self.0;
        let futures = state.check(py)?;
        let event_loop = running_loop(py)?;
        if futures.is_empty() {
            return Err(PyAssertionError::new_err("Set of Futures is empty."));
        }
        let Some(observer) = state.observer.get() else {
            return Err(PyRuntimeError::new_err(
                "wait() was cleared by the garbage collector",
            ));
        };
        let timeout = state.timeout.take();
        if let Some(timeout) = timeout.filter(|timeout| !timeout.bind(py).is_none()) {
            let callback = Observer::callback(&observer, py)?;
            let timer = event_loop
                .bind(py)
                .call_method1("call_later", (timeout.bind(py), callback.bind(py), py.None()))?;
            state.timer.set(Some(timer.into()));
        }
        let waiter = awaiting_task(py, &event_loop)?;
        state.pending.set(futures.len());
        state.waiter.set(waiter.clone());
        for future in &futures {
            watch(py, future, &observer)?;
            state.futures.borrow_mut().push(future.clone());
            add_awaiter(py, future, waiter.as_ref())?;
        }
        Ok(())
    }

    /// Stops watching; the futures, the first time.
    fn end(&self, py: Python<'_>) -> PyResult<Vec<Obj>> {
        let state = &self.0;
        let cancelled = state.cancel_timer(py);
        let futures = state.futures.take();
        let waiter = state.waiter.take();
        if let Some(observer) = state.observer.take() {
            for future in &futures {
                unwatch(py, future, &observer)?;
                discard_awaiter(py, future, waiter.as_ref())?;
            }
        }
        cancelled?;
        Ok(futures)
    }

    /// The futures that are done, and those that are not.
    fn sort(&self, py: Python<'_>) -> PyResult<Obj> {
        let (done, pending) = (PySet::empty(py)?, PySet::empty(py)?);
        for future in &self.end(py)? {
            let set = if outcome::is_done(py, future)? {
                &done
            } else {
                &pending
            };
            set.add(future.bind(py))?;
        }
        Ok((done, pending).into_pyobject(py)?.into_any().into())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.0.waker.take());
        Python::attach(|py| {
            if let Err(error) = self.end(py) {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// `wait(fs, *, timeout=None, return_when=ALL_COMPLETED)`.
fn wait(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [given, timeout, return_when] = args.parse(&Signature {
        function: "wait",
        parameters: ["fs", "timeout", "return_when"],
        required: 1,
        positional: 1,
    })?;
    let state = Rc::new(Waiting {
        given: ObjCell::new(given.map(Obj::from)),
        timeout: ObjCell::new(timeout.map(Obj::from)),
        return_when: ObjCell::new(return_when.map(Obj::from)),
        observer: Slot::new(None),
        futures: RefCell::new(Vec::new()),
        until: Cell::new(Until::AllCompleted),
        pending: Cell::new(0),
        waiter: ObjCell::new(None),
        timer: ObjCell::new(None),
        released: Cell::new(false),
        waker: Cell::new(None),
    });
    let observer = Observer::create(py, Rc::clone(&state))?;
    // What the collector sees; the Rust future itself holds no object.
    state.observer.set(Some(observer.clone()));
    let watching = Watch(state);
    create_for(py, "wait", observer.into_obj(), async move {
        Python::attach(|py| watching.begin(py))?;
        let state = &watching.0;
        poll_fn(|cx| {
            if state.released.get() {
                return Poll::Ready(());
            }
            drop(state.waker.replace(Some(cx.waker().clone())));
            Poll::Pending
        })
        .await;
        Python::attach(|py| watching.sort(py))
    })
}

/// Adds the function to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_function(
        module,
        c"wait",
        c"wait(fs, *, timeout=None, return_when='ALL_COMPLETED')\n--\n\nWait for futures: the sets of those that are done and of those that are not. A coroutine.",
        wait,
    )
}
