//! The native coroutine: a Rust future that Python awaits.
//!
//! Under a task of ours it is polled with a waker that is the task itself; when the future is pending, the coroutine
//! yields the park marker and the task is parked until the waker is used. Under any other task it yields a real future
//! of the running loop, which the waker resolves. `throw` drops the Rust future: cancellation is dropping.
//!
//! Invariant: the future is taken out of the coroutine while it is polled, so no borrow is held when it calls into
//! Python, and a coroutine that is resumed by its own future finds itself running.

use std::cell::Cell;
use std::future::Future as StdFuture;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready};
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Global, LocalWake, MethodTable, Obj, ObjCell, Ref, Sent,
    Visit,
};
use crate::ffi::{call_method, local_waker, raise_stop_iteration, send};
use crate::future_core::FutureLike;
use crate::future_iterator::thrown;
use crate::names::names;
use crate::task;

/// What a native coroutine runs.
pub(crate) type BoxFuture = Pin<Box<dyn StdFuture<Output = PyResult<Obj>>>>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Created,
    Suspended,
    Running,
    Closed,
}

/// The data of a native coroutine.
pub(crate) struct Coroutine {
    name: &'static str,
    future: Cell<Option<BoxFuture>>,
    life: Cell<Life>,
    awaiter: Option<Awaiter>,
}

static COROUTINE: ClassCell = ClassCell::new();
static PARKED: Global<Obj> = Global::new();

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
        if let Some(awaiter) = &self.awaiter {
            visit.slot(&awaiter.0.delegate);
        }
    }

    fn clear(&self) {
        let future = self.future.take();
        self.life.set(Life::Closed);
        drop(future);
        if let Some(awaiter) = &self.awaiter {
            awaiter.0.delegate.set(None);
        }
    }
}

/// A new coroutine that runs `future`; `name` is its `__qualname__`.
#[inline]
pub(crate) fn create(
    py: Python<'_>,
    name: &'static str,
    future: impl StdFuture<Output = PyResult<Obj>> + 'static,
) -> PyResult<Obj> {
    let coroutine = Coroutine {
        name,
        future: Cell::new(Some(Box::pin(future))),
        life: Cell::new(Life::Created),
        awaiter: None,
    };
    Ok(Ref::create(py, coroutine)?.into_obj())
}

/// As [`create`], for a future that itself awaits Python objects, through the [`Awaiter`] that it gets.
pub(crate) fn create_with<F>(
    py: Python<'_>,
    name: &'static str,
    make: impl FnOnce(Awaiter) -> F,
) -> PyResult<Obj>
where
    F: StdFuture<Output = PyResult<Obj>> + 'static,
{
    let awaiter = Awaiter::default();
    let future: BoxFuture = Box::pin(make(awaiter.clone()));
    let coroutine = Coroutine {
        name,
        future: Cell::new(Some(future)),
        life: Cell::new(Life::Created),
        awaiter: Some(awaiter),
    };
    Ok(Ref::create(py, coroutine)?.into_obj())
}

/// Whether `object` is what a native coroutine yields to park the task.
#[inline]
pub(crate) fn is_park_marker(object: &Bound<'_, PyAny>) -> bool {
    PARKED.get(object.py()).is_ok_and(|marker| marker.is(object))
}

/// Lets a Rust future await Python objects, one at a time: what they yield goes up to the task, what the task sends or
/// throws goes down to them, as with `await` in Python.
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
                self.0.delegate.set(Some(iterator));
                self.0.yielded.set(Some(yielded));
                Outcome(&self.0).await
            }
        }
    }
}

struct Outcome<'a>(&'a Exchange);

impl StdFuture for Outcome<'_> {
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
    Err(PyTypeError::new_err(format!(
        "object {} can't be used in 'await' expression",
        bound.get_type().name()?
    )))
}

/// What a native coroutine under a foreign task waits on: the waker resolves the future that the task was given.
pub(crate) struct ForeignWaiter {
    event_loop: Ref<Loop>,
    future: ObjCell,
    woken: Cell<bool>,
}

static FOREIGN_WAITER: ClassCell = ClassCell::new();

impl Class for ForeignWaiter {
    const NAME: &'static std::ffi::CStr = c"sabio._ForeignWaiter";

    fn cell() -> &'static ClassCell {
        &FOREIGN_WAITER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.obj(self.event_loop.as_obj());
        visit.slot(&self.future);
    }

    fn clear(&self) {
        self.future.set(None);
    }
}

impl LocalWake for ForeignWaiter {
    fn wake(slf: &Ref<ForeignWaiter>) {
        if !slf.woken.replace(true) && !slf.future.is_none() {
            slf.event_loop.push(Ready::Resolve(slf.clone()));
        }
    }
}

impl ForeignWaiter {
    /// Resolves the future, unless it was cancelled meanwhile.
    pub(crate) fn resolve(&self, py: Python<'_>) -> PyResult<()> {
        let Some(future) = self.future.take() else {
            return Ok(());
        };
        let names = names(py)?;
        if !call_method(py, &future, &names.done, &[])?.bind(py).is_truthy()? {
            call_method(py, &future, &names.set_result, &[&Obj::none(py)])?;
        }
        Ok(())
    }
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

fn resume(slf: &Ref<Coroutine>, py: Python<'_>, value: Option<&Obj>) -> PyResult<Sent> {
    let value = value.filter(|value| !value.bind(py).is_none());
    if slf.life.get() == Life::Created && value.is_some() {
        return Err(PyTypeError::new_err(
            "can't send non-None value to a just-started coroutine",
        ));
    }
    let (future, resuming) = start(slf)?;
    if let Some(awaiter) = &slf.awaiter
        && let Some(delegate) = awaiter.0.delegate.get()
    {
        let none = Obj::none(py);
        let sent = send(py, &delegate, value.unwrap_or(&none));
        if let Some(sent) = delegated(awaiter, sent.map_err(PyErr::from)) {
            suspend(slf, future);
            return Ok(sent);
        }
    }
    let result = poll(slf, py, future);
    drop(resuming);
    result
}

/// Takes the future out. RuntimeError if the coroutine has ended, ValueError if it runs.
#[inline]
fn start(slf: &Ref<Coroutine>) -> PyResult<(BoxFuture, Resuming<'_>)> {
    match slf.life.get() {
        Life::Running => return Err(PyValueError::new_err("coroutine already executing")),
        Life::Closed => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
        Life::Created | Life::Suspended => {}
    }
    let Some(future) = slf.future.take() else {
        return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
    };
    slf.life.set(Life::Running);
    Ok((future, Resuming(slf)))
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

/// Passes on what the delegate yielded, or keeps how it ended for the Rust future.
fn delegated(awaiter: &Awaiter, sent: PyResult<Sent>) -> Option<Sent> {
    let outcome = match sent {
        Ok(Sent::Next(yielded)) => return Some(Sent::Next(yielded)),
        Ok(Sent::Return(result)) => Ok(result),
        Err(error) => Err(error),
    };
    awaiter.0.delegate.set(None);
    awaiter.0.outcome.set(Some(outcome));
    None
}

/// Polls the future under whoever drives the coroutine.
#[inline]
fn poll(slf: &Ref<Coroutine>, py: Python<'_>, mut future: BoxFuture) -> PyResult<Sent> {
    match task::current() {
        Some(task) => {
            let polled = local_waker(&task, |waker| {
                future.as_mut().poll(&mut Context::from_waker(waker))
            });
            match polled {
                Poll::Ready(result) => finished(slf, future, result),
                Poll::Pending => {
                    let yielded = slf.awaiter.as_ref().and_then(|awaiter| awaiter.0.yielded.take());
                    suspend(slf, future);
                    match yielded {
                        Some(yielded) => Ok(Sent::Next(yielded)),
                        None => Ok(Sent::Next(PARKED.get(py)?.clone())),
                    }
                }
            }
        }
        None => poll_foreign(slf, py, future),
    }
}

#[inline]
fn finished(slf: &Coroutine, future: BoxFuture, result: PyResult<Obj>) -> PyResult<Sent> {
    slf.life.set(Life::Closed);
    drop(future);
    Ok(Sent::Return(result?))
}

/// Polls under a task that is not ours (or no task at all, by hand).
fn poll_foreign(slf: &Ref<Coroutine>, py: Python<'_>, mut future: BoxFuture) -> PyResult<Sent> {
    let event_loop = match crate::event_loop::running(py) {
        Ok(event_loop) => event_loop,
        Err(error) => {
            slf.life.set(Life::Closed);
            return Err(error);
        }
    };
    let waiter = Ref::create(
        py,
        ForeignWaiter {
            event_loop: event_loop.clone(),
            future: ObjCell::new(None),
            woken: Cell::new(false),
        },
    )?;
    let polled = local_waker(&waiter, |waker| {
        future.as_mut().poll(&mut Context::from_waker(waker))
    });
    if let Poll::Ready(result) = polled {
        return finished(slf, future, result);
    }
    if let Some(yielded) = slf.awaiter.as_ref().and_then(|awaiter| awaiter.0.yielded.take()) {
        suspend(slf, future);
        return Ok(Sent::Next(yielded));
    }
    suspend(slf, future);
    if waiter.woken.get() {
        return Ok(Sent::Next(Obj::none(py)));
    }
    let resolved = crate::future::create(py, &event_loop)?;
    waiter.future.set(Some(resolved.as_obj().clone()));
    resolved.core().blocking().set(true);
    Ok(Sent::Next(resolved.into_obj()))
}

/// `throw()`: into the Python object that is awaited, if any; otherwise it drops the future and raises.
fn throw(slf: &Ref<Coroutine>, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
    let (future, resuming) = start(slf)?;
    if let Some(awaiter) = &slf.awaiter
        && let Some(delegate) = awaiter.0.delegate.get()
    {
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
        if let Some(sent) = delegated(awaiter, sent) {
            suspend(slf, future);
            return Ok(sent);
        }
        let result = poll(slf, py, future);
        drop(resuming);
        return result;
    }
    slf.life.set(Life::Closed);
    drop(future);
    Err(error)
}

fn close(slf: &Ref<Coroutine>, py: Python<'_>) -> PyResult<()> {
    if slf.life.get() == Life::Running {
        return Err(PyValueError::new_err("coroutine already executing"));
    }
    slf.life.set(Life::Closed);
    let future = slf.future.take();
    let delegate = slf.awaiter.as_ref().and_then(|awaiter| awaiter.0.delegate.take());
    drop(future);
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
            let message = std::ffi::CString::new(format!("coroutine '{}' was never awaited", slf.name))?;
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
            let name = slf.name.rsplit('.').next().unwrap_or(slf.name);
            Ok(Obj::from(PyString::new(py, name)))
        })
        .getter(c"__qualname__", c"Class and name of the method.", |slf, py| Ok(Obj::from(PyString::new(py, slf.name))))
        .getter(c"cr_running", c"Whether the coroutine is being resumed.", |slf, _py| Ok(slf.life.get() == Life::Running))
        .getter(c"cr_suspended", c"Whether the coroutine waits.", |slf, _py| Ok(slf.life.get() == Life::Suspended))
        .getter(c"cr_await", c"The Python object that the coroutine awaits, or None.", |slf, _py| {
            Ok(slf.awaiter.as_ref().and_then(|awaiter| awaiter.0.delegate.get()))
        })
        .getter(c"cr_frame", c"None: a native coroutine has no Python frame.", |_slf, _py| Ok(()))
        .getter(c"cr_origin", c"None: not tracked.", |_slf, _py| Ok(()));
}

/// The park marker's class: one instance, without anything.
pub(crate) struct Parked;

static PARKED_CLASS: ClassCell = ClassCell::new();

impl Class for Parked {
    const NAME: &'static std::ffi::CStr = c"sabio._Parked";
    const COLLECTED: bool = false;

    fn cell() -> &'static ClassCell {
        &PARKED_CLASS
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
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
            let text = format!("<coroutine object {} at {:p}>", slf.name, slf.as_obj().as_ptr());
            Ok(Obj::from(PyString::new(py, &text)))
        })
        .build(py, &Base::Object)?;
    ClassBuilder::<ForeignWaiter>::new(c"Wakes a foreign task.").build(py, &Base::Object)?;
    ClassBuilder::<Parked>::new(c"What a native coroutine yields to park its task.")
        .build(py, &Base::Object)?;
    PARKED.set(py, Ref::create(py, Parked)?.into_obj());
    module.add("Coroutine", class)
}
