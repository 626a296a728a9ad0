//! The native coroutine: a Rust future that Python awaits.
//!
//! Under a task of ours it is polled with a waker that is the task itself; when the future is pending, the coroutine
//! yields the park marker and the task is parked until the waker is used. Under any other task it yields a real future
//! (see `foreign`). `throw` drops the Rust future: cancellation is dropping, unless the future catches it (see
//! `awaiter`).
//!
//! Invariant: the future is taken out of the coroutine while it is polled, so no borrow is held when it calls into
//! Python, and a coroutine that is resumed by its own future finds itself running.

mod method;

use std::cell::{Cell, OnceCell};
use std::future::Future as StdFuture;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use sabio_sync::Place;

use crate::awaiter::Awaiter;
use crate::begun::{Begin, BoxFuture, Wait, boxed};
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, ObjCell, Outcome, Raised, Ref, Sent, Visit,
};
use crate::ffi::{local_waker, raise_stop_iteration};
use crate::foreign::ForeignWaiter;
use crate::future_iterator::thrown;
use crate::parked::park_marker;
use crate::task;

pub(crate) use method::{create_method, create_waiting};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Created,
    Suspended,
    Running,
    Closed,
}

/// The data of a native coroutine.
pub(crate) struct Coroutine {
    name: Cell<&'static str>,
    /// What it does first, until it has; and then either the rest of it, or what it waits for in place.
    begin: Cell<Option<Begin>>,
    future: Cell<Option<BoxFuture>>,
    wait: Cell<Option<&'static Wait>>,
    /// Where it stands in the line of what it waits for.
    place: Place,
    life: Cell<Life>,
    awaiter: OnceCell<Awaiter>,
    /// The object whose method it is.
    owner: ObjCell,
    /// What the method was called with.
    argument: ObjCell,
}

static COROUTINE: ClassCell = ClassCell::new();

impl Class for Coroutine {
    const NAME: &'static std::ffi::CStr = c"sabio.Coroutine";
    const RECYCLED: bool = true;

    fn cell() -> &'static ClassCell {
        &COROUTINE
    }

    fn needs_finalizer(&self) -> bool {
        matches!(self.life.get(), Life::Created | Life::Suspended)
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        if let Some(awaiter) = self.awaiter.get() {
            awaiter.visit(visit);
        }
        visit.slot(&self.owner);
        visit.slot(&self.argument);
    }

    fn clear(&self) {
        if self.life.get() == Life::Running {
            // What runs is not garbage, and needs its object.
            return;
        }
        self.life.set(Life::Closed);
        self.give_up();
        if let Some(awaiter) = self.awaiter.get() {
            awaiter.clear();
        }
        self.owner.set(None);
        self.argument.set(None);
    }
}

impl Coroutine {
    #[inline]
    fn new(name: &'static str, future: BoxFuture, awaiter: Option<Awaiter>, owner: Option<Obj>) -> Coroutine {
        Coroutine {
            name: Cell::new(name),
            begin: Cell::new(None),
            future: Cell::new(Some(future)),
            wait: Cell::new(None),
            place: Place::default(),
            life: Cell::new(Life::Created),
            awaiter: awaiter.map_or_else(OnceCell::new, OnceCell::from),
            owner: ObjCell::new(owner),
            argument: ObjCell::new(None),
        }
    }

    /// Drops what it would have run.
    fn give_up(&self) {
        self.leave();
        self.begin.set(None);
        drop(self.future.take());
    }

    /// Leaves the line that it stands in, if any.
    fn leave(&self) {
        if let Some(wait) = self.wait.take()
            && let Some(owner) = self.owner.get()
        {
            Python::attach(|py| (wait.leave)(py, &owner, &self.place));
        }
    }
}

impl Drop for Coroutine {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

/// A new coroutine that runs `future`; `name` is its `__qualname__`.
#[inline]
pub(crate) fn create(
    py: Python<'_>,
    name: &'static str,
    future: impl StdFuture<Output = PyResult<Obj>> + 'static,
) -> PyResult<Obj> {
    let coroutine = Coroutine::new(name, boxed(future), None, None);
    Ok(Ref::create(py, coroutine)?.into_obj())
}

/// As [`create`], for a method of `owner`, which the coroutine keeps alive and shows to the garbage collector. What a
/// Rust future holds the collector does not see: `future` itself must hold no reference to `owner`, only to the state
/// behind it.
#[inline]
pub(crate) fn create_for(
    py: Python<'_>,
    name: &'static str,
    owner: Obj,
    future: impl StdFuture<Output = PyResult<Obj>> + 'static,
) -> PyResult<Obj> {
    let coroutine = Coroutine::new(name, boxed(future), None, Some(owner));
    Ok(Ref::create(py, coroutine)?.into_obj())
}

/// As [`create`], for a future that itself awaits Python objects or catches what is thrown, through the [`Awaiter`]
/// that it gets.
pub(crate) fn create_with<F>(
    py: Python<'_>,
    name: &'static str,
    make: impl FnOnce(Awaiter) -> F,
) -> PyResult<Obj>
where
    F: StdFuture<Output = PyResult<Obj>> + 'static,
{
    create_awaiting(py, name, None, make)
}

/// As [`create_with`] and [`create_for`] together.
pub(crate) fn create_with_for<F>(
    py: Python<'_>,
    name: &'static str,
    owner: Obj,
    make: impl FnOnce(Awaiter) -> F,
) -> PyResult<Obj>
where
    F: StdFuture<Output = PyResult<Obj>> + 'static,
{
    create_awaiting(py, name, Some(owner), make)
}

fn create_awaiting<F>(
    py: Python<'_>,
    name: &'static str,
    owner: Option<Obj>,
    make: impl FnOnce(Awaiter) -> F,
) -> PyResult<Obj>
where
    F: StdFuture<Output = PyResult<Obj>> + 'static,
{
    let awaiter = Awaiter::default();
    let future = boxed(make(awaiter.clone()));
    Ok(Ref::create(py, Coroutine::new(name, future, Some(awaiter), owner))?.into_obj())
}

/// Closes the coroutine when its future panics: the future is gone then.
struct Resuming<'a>(&'a Coroutine);

impl Drop for Resuming<'_> {
    fn drop(&mut self) {
        if self.0.life.get() == Life::Running {
            self.0.life.set(Life::Closed);
        }
    }
}

#[inline(always)]
fn resume(slf: &Ref<Coroutine>, py: Python<'_>, value: Option<&Obj>) -> Outcome<Sent> {
    let value = value.filter(|value| !value.bind(py).is_none());
    let life = slf.life.get();
    let goes_on = life == Life::Suspended || life == Life::Created && value.is_none();
    if goes_on && let Some(wait) = slf.wait.get() {
        return method::stand(slf, py, wait);
    }
    resume_other(slf, py, value)
}

/// A step of a coroutine that does not wait in place.
#[inline(never)]
fn resume_other(slf: &Ref<Coroutine>, py: Python<'_>, value: Option<&Obj>) -> Outcome<Sent> {
    if slf.life.get() == Life::Created {
        if value.is_some() {
            return Err(just_started());
        }
        if let Some(begin) = slf.begin.take() {
            slf.life.set(Life::Running);
            return method::resume(slf, py, begin);
        }
    }
    let (future, resuming) = start(slf)?;
    let Some(future) = future else {
        return Err(reused().into());
    };
    if let Some(awaiter) = slf.awaiter.get()
        && let Some(sent) = awaiter.send(py, value)
    {
        suspend(slf, future);
        return Ok(sent);
    }
    let result = poll(slf, py, future);
    drop(resuming);
    result
}

/// The first value that is sent is None.
#[cold]
fn just_started() -> Raised {
    PyTypeError::new_err("can't send non-None value to a just-started coroutine").into()
}

#[cold]
fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

/// Takes the future out. RuntimeError if the coroutine has ended, ValueError if it runs.
#[inline]
fn start(slf: &Ref<Coroutine>) -> PyResult<(Option<BoxFuture>, Resuming<'_>)> {
    match slf.life.get() {
        Life::Running => return Err(PyValueError::new_err("coroutine already executing")),
        Life::Closed => return Err(reused()),
        Life::Created | Life::Suspended => {}
    }
    slf.life.set(Life::Running);
    Ok((slf.future.take(), Resuming(slf)))
}

#[inline]
fn suspend(slf: &Coroutine, future: BoxFuture) {
    slf.future.set(Some(future));
    slf.life.set(Life::Suspended);
}

/// `await`: RuntimeError if somebody else is at it.
#[inline]
fn awaited(slf: &Ref<Coroutine>, _py: Python<'_>) -> PyResult<Obj> {
    match slf.life.get() {
        Life::Suspended => Err(PyRuntimeError::new_err("coroutine is being awaited already")),
        Life::Created | Life::Running | Life::Closed => Ok(slf.as_obj().clone()),
    }
}

/// Polls the future under whoever drives the coroutine.
#[inline]
fn poll(slf: &Ref<Coroutine>, py: Python<'_>, mut future: BoxFuture) -> Outcome<Sent> {
    let polled = task::with_current(|task| {
        task.map(|task| {
            local_waker(task, |waker| {
                future.as_mut().poll(&mut Context::from_waker(waker))
            })
        })
    });
    match polled {
        Some(Poll::Ready(result)) => finished(slf, future, result),
        Some(Poll::Pending) => {
            let yielded = slf.awaiter.get().and_then(Awaiter::take_yielded);
            suspend(slf, future);
            match yielded {
                Some(yielded) => Ok(Sent::Next(yielded)),
                None => Ok(Sent::Next(park_marker(py)?)),
            }
        }
        None => poll_foreign(slf, py, future),
    }
}

#[inline]
fn finished(slf: &Coroutine, future: BoxFuture, result: Outcome<Obj>) -> Outcome<Sent> {
    slf.life.set(Life::Closed);
    drop(future);
    result.map(Sent::Return)
}

/// Polls under a task that is not ours (or no task at all, by hand).
fn poll_foreign(slf: &Ref<Coroutine>, py: Python<'_>, mut future: BoxFuture) -> Outcome<Sent> {
    let waiter = match ForeignWaiter::create(py) {
        Ok(waiter) => waiter,
        Err(error) => {
            slf.life.set(Life::Closed);
            return Err(error.into());
        }
    };
    let polled = local_waker(&waiter, |waker| {
        future.as_mut().poll(&mut Context::from_waker(waker))
    });
    if let Poll::Ready(result) = polled {
        return finished(slf, future, result);
    }
    let yielded = slf.awaiter.get().and_then(Awaiter::take_yielded);
    suspend(slf, future);
    match yielded {
        Some(yielded) => Ok(Sent::Next(yielded)),
        None => Ok(Sent::Next(waiter.park(py)?)),
    }
}

/// `throw()`: into the Python object that is awaited or where the future catches; otherwise it drops the future and
/// raises.
fn throw(slf: &Ref<Coroutine>, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
    let (future, resuming) = start(slf)?;
    let Some(future) = future else {
        slf.give_up();
        return Err(error);
    };
    let thrown = match slf.awaiter.get() {
        Some(awaiter) => awaiter.throw(py, error),
        None => Err(error),
    };
    match thrown {
        Ok(Some(sent)) => {
            suspend(slf, future);
            Ok(sent)
        }
        Ok(None) => {
            let result = poll(slf, py, future);
            drop(resuming);
            Ok(result?)
        }
        Err(error) => {
            slf.life.set(Life::Closed);
            drop(future);
            Err(error)
        }
    }
}

fn close(slf: &Ref<Coroutine>, py: Python<'_>) -> PyResult<()> {
    if slf.life.get() == Life::Running {
        return Err(PyValueError::new_err("coroutine already executing"));
    }
    slf.life.set(Life::Closed);
    let delegate = slf.awaiter.get().and_then(Awaiter::take_delegate);
    slf.give_up();
    if let Some(delegate) = delegate
        && let Some(close) = delegate.bind(py).getattr_opt("close")?
    {
        close.call0()?;
    }
    Ok(())
}

fn finalize(slf: &Ref<Coroutine>, py: Python<'_>) -> PyResult<()> {
    match slf.life.get() {
        Life::Created => {
            slf.life.set(Life::Closed);
            let message =
                std::ffi::CString::new(format!("coroutine '{}' was never awaited", slf.name.get()))?;
            PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
        }
        Life::Suspended => close(slf, py),
        Life::Running | Life::Closed => Ok(()),
    }
}

/// To a caller of `send()` or `throw()`, a return is StopIteration.
fn to_caller(py: Python<'_>, sent: Sent) -> PyResult<Obj> {
    match sent {
        Sent::Next(object) => Ok(object),
        Sent::Return(object) => Err(raise_stop_iteration(py, &object)),
    }
}

fn define(table: &mut MethodTable<Coroutine>) {
    table
        .fast_onearg(c"send", c"send($self, value, /)\n--\n\nResume the coroutine.", |slf, value| {
            let py = value.py();
            let sent = resume(slf, py, Some(&Obj::from(value)))?;
            to_caller(py, sent)
        })
        .method(
            c"throw",
            c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception in the coroutine: it is cancelled.",
            |slf, args: Args<'_, '_>| {
                let sent = throw(slf, args.py(), thrown(args)?)?;
                to_caller(args.py(), sent)
            },
        )
        .noargs(c"close", c"close($self, /)\n--\n\nCancel the coroutine.", close)
        .getter(c"__name__", c"The name of the method.", |slf, py| {
            let name = slf.name.get().rsplit('.').next().unwrap_or(slf.name.get());
            Ok(Obj::from(PyString::new(py, name)))
        })
        .getter(c"__qualname__", c"Class and name of the method.", |slf, py| Ok(Obj::from(PyString::new(py, slf.name.get()))))
        .getter(c"cr_running", c"Whether the coroutine is being resumed.", |slf, _py| Ok(slf.life.get() == Life::Running))
        .getter(c"cr_suspended", c"Whether the coroutine waits.", |slf, _py| Ok(slf.life.get() == Life::Suspended))
        .getter(c"cr_await", c"The Python object that the coroutine awaits, or None.", |slf, _py| {
            Ok(slf.awaiter.get().and_then(Awaiter::delegate))
        })
        .getter(c"cr_frame", c"None: a native coroutine has no Python frame.", |_slf, _py| Ok(()))
        .getter(c"cr_origin", c"None: not tracked.", |_slf, _py| Ok(()));
}

/// Builds the classes and adds the public one to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let class = ClassBuilder::<Coroutine>::new(c"A coroutine that is written in Rust; await it.")
        .members(define)
        .awaitable(awaited)
        .resumable(resume)
        .finalizer(finalize)
        .weakrefs()
        .repr(|slf, py| {
            let text = format!(
                "<coroutine object {} at {:p}>",
                slf.name.get(),
                slf.as_obj().as_ptr()
            );
            Ok(Obj::from(PyString::new(py, &text)))
        })
        .build(py, &Base::Object)?;
    module.add("Coroutine", class)
}
