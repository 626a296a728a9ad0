//! How the Rust future of a native coroutine deals with Python while it waits: it awaits Python objects, and it
//! catches what is thrown into its coroutine.
//!
//! Invariant: at any moment at most one Python object is awaited (the delegate), and what it yields goes up to the
//! task, what the task sends or throws goes down to it, as with `await` in Python.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use sabio_sync::Catch;

use crate::asyncio::asyncio;
use crate::ffi::{Obj, ObjCell, Sent, Visit, is_cancelled_error, is_coroutine_exact, send};
use crate::held::{Held, Shelf, Shown};
use crate::names::names;

/// The coroutine's side and the future's side of one exchange. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Awaiter(Rc<Exchange>);

#[derive(Default)]
struct Exchange {
    /// The iterator that is being awaited.
    delegate: ObjCell,
    /// What it yielded when it was started.
    yielded: ObjCell,
    /// How it ended.
    outcome: Cell<Option<PyResult<Obj>>>,
    /// Whether the future waits inside of [`Awaiter::catch`].
    catching: Cell<bool>,
    /// What was thrown there.
    thrown: Cell<Option<PyErr>>,
    /// What the future uses while it waits: see [`Awaiter::keep`].
    owner: ObjCell,
    argument: ObjCell,
    /// What it holds beside them: see [`Awaiter::hold`].
    shelf: Shelf,
}

impl Awaiter {
    /// `await awaitable`. TypeError if it is none; otherwise what it returns or raises.
    pub(crate) async fn wait(&self, awaitable: Obj) -> PyResult<Obj> {
        let started = Python::attach(|py| {
            let iterator = awaitable_iterator(py, &awaitable)?;
            let sent = send(py, &iterator, &Obj::none(py))?;
            PyResult::Ok((iterator, sent))
        })?;
        match started {
            (_, Sent::Return(result)) => Ok(result),
            (iterator, Sent::Next(yielded)) => {
                // The iterator holds what it needs; what this future held, the garbage collector could not see.
                drop(awaitable);
                self.0.delegate.set(Some(iterator));
                self.0.yielded.set(Some(yielded));
                Outcome(&self.0).await
            }
        }
    }

    /// `try: await future`: an exception that is thrown into the coroutine meanwhile (a cancellation) drops `future`
    /// and comes back as an error; the coroutine goes on. `future` must not use the awaiter itself.
    pub(crate) async fn catch<F: Future>(&self, future: F) -> PyResult<F::Output> {
        debug_assert!(!self.0.catching.get(), "catch() inside of catch()");
        let mut future = pin!(future);
        let _catching = Catching::start(&self.0);
        poll_fn(|cx| match self.0.thrown.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => future.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Holds a value for the future, which has it by what is returned, where the garbage collector sees it. Nobody else
    /// may hold that.
    pub(crate) fn hold<T: Shown + 'static>(&self, value: T) -> Held<T> {
        Held::new(self, value)
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }

    /// Keeps objects for the future, where the garbage collector sees them.
    pub(crate) fn keep(&self, owner: Option<Obj>, argument: Option<Obj>) {
        self.0.owner.set(owner);
        self.0.argument.set(argument);
    }

    /// The first of the objects that were kept. RuntimeError if the coroutine has been cleared.
    pub(crate) fn owner(&self) -> PyResult<Obj> {
        self.0.owner.get().ok_or_else(cleared)
    }

    /// The second of the objects that were kept. RuntimeError if the coroutine has been cleared.
    pub(crate) fn argument(&self) -> PyResult<Obj> {
        self.0.argument.get().ok_or_else(cleared)
    }

    /// Shows what it owns.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        for slot in [&self.0.delegate, &self.0.yielded, &self.0.owner, &self.0.argument] {
            visit.slot(slot);
        }
        self.0.shelf.visit(visit);
    }

    /// Lets go of what it owns.
    pub(crate) fn clear(&self) {
        self.keep(None, None);
        self.0.yielded.set(None);
        drop((self.0.outcome.take(), self.0.thrown.take()));
        drop(self.take_delegate());
    }

    /// Lets go of the delegate, and gives it to who wants to close it.
    pub(crate) fn take_delegate(&self) -> Option<Obj> {
        self.0.delegate.take()
    }

    /// The object that is awaited.
    pub(crate) fn delegate(&self) -> Option<Obj> {
        self.0.delegate.get()
    }

    /// What the object that the future has just begun to await yielded first.
    #[inline]
    pub(crate) fn take_yielded(&self) -> Option<Obj> {
        self.0.yielded.take()
    }

    /// Resumes the delegate, if there is one: what it yields, or None when the future is to be polled.
    pub(crate) fn send(&self, py: Python<'_>, value: Option<&Obj>) -> Option<Sent> {
        let delegate = self.0.delegate.get()?;
        let sent = match value {
            Some(value) => send(py, &delegate, value),
            None => send(py, &delegate, &Obj::none(py)),
        };
        self.delegated(sent.map_err(PyErr::from))
    }

    /// Throws into the delegate or into a `catch`: what the delegate yields, or None when the future is to be polled.
    /// Without either the exception is the caller's again.
    pub(crate) fn throw(&self, py: Python<'_>, error: PyErr) -> Result<Option<Sent>, PyErr> {
        let Some(delegate) = self.0.delegate.get() else {
            if self.0.catching.get() {
                self.0.thrown.set(Some(error));
                return Ok(None);
            }
            return Err(error);
        };
        let sent = match delegate.bind(py).getattr_opt("throw")? {
            None => Err(error),
            Some(throw) => match throw.call1((error.value(py),)) {
                Ok(yielded) => Ok(Sent::Next(yielded.into())),
                Err(stop) if stop.is_instance_of::<PyStopIteration>(py) => {
                    Ok(Sent::Return(stop.value(py).getattr("value")?.into()))
                }
                Err(error) => Err(error),
            },
        };
        Ok(self.delegated(sent))
    }

    /// Passes on what the delegate yielded, or keeps how it ended for the Rust future.
    fn delegated(&self, sent: PyResult<Sent>) -> Option<Sent> {
        let outcome = match sent {
            Ok(Sent::Next(yielded)) => return Some(Sent::Next(yielded)),
            Ok(Sent::Return(result)) => Ok(result),
            Err(error) => Err(error),
        };
        self.0.delegate.set(None);
        self.0.outcome.set(Some(outcome));
        None
    }
}

/// RuntimeError: what the future holds is gone.
#[cold]
pub(crate) fn cleared() -> PyErr {
    PyRuntimeError::new_err("the coroutine was collected while it waited")
}

/// Cancellations come as exceptions that are thrown into the coroutine.
impl Catch for Awaiter {
    type Error = PyErr;

    fn catch<F: Future>(&self, future: F) -> impl Future<Output = PyResult<F::Output>> {
        Awaiter::catch(self, future)
    }

    fn is_cancellation(&self, error: &PyErr) -> bool {
        Python::attach(|py| asyncio(py).is_ok_and(|a| is_cancelled_error(py, error, &a.cancelled_error)))
    }
}

/// Marks an exchange as catching for as long as it lives.
struct Catching<'a>(&'a Exchange);

impl Catching<'_> {
    fn start(exchange: &Exchange) -> Catching<'_> {
        exchange.catching.set(true);
        Catching(exchange)
    }
}

impl Drop for Catching<'_> {
    fn drop(&mut self) {
        self.0.catching.set(false);
    }
}

struct Outcome<'a>(&'a Exchange);

impl Future for Outcome<'_> {
    type Output = PyResult<Obj>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<PyResult<Obj>> {
        match self.0.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

/// `awaitable.__await__()`, or the object itself where it is a coroutine or an old-style generator coroutine.
fn awaitable_iterator(py: Python<'_>, awaitable: &Obj) -> PyResult<Obj> {
    let bound = awaitable.bind(py);
    if is_coroutine_exact(bound) {
        // Its own iterator, which `__await__` would only wrap.
        if bound.getattr(names(py)?.cr_suspended.text(py))?.is_truthy()? {
            return Err(PyRuntimeError::new_err("coroutine is being awaited already"));
        }
        return Ok(awaitable.clone());
    }
    if let Some(method) = bound.getattr_opt("__await__")? {
        return Ok(method.call0()?.into());
    }
    if asyncio(py)?
        .coroutines
        .bind(py)
        .call_method1("iscoroutine", (bound,))?
        .is_truthy()?
    {
        return Ok(awaitable.clone());
    }
    let name = bound.get_type().name()?;
    // As the interpreter of this version says it.
    Err(PyTypeError::new_err(if cfg!(Py_3_14) {
        format!("'{name}' object can't be awaited")
    } else {
        format!("object {name} can't be used in 'await' expression")
    }))
}
