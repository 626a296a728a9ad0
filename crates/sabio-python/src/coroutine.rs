//! The native coroutine: a Rust future that Python awaits.
//!
//! Under a task of ours it is polled with a waker that is the task itself; when the future is pending, the coroutine
//! yields the park marker and the task is parked until the waker is used. Under any other task it yields a real future
//! (see `foreign`). Who waits is remembered, so that a second one does not push the first aside (see `several`). `throw`
//! drops the Rust future: cancellation is dropping, unless the future catches it (see `awaiter`).
//!
//! Invariants: the future is taken out of the coroutine while it is polled, so no borrow is held when it calls into
//! Python, and a coroutine that is resumed by its own future finds itself running. One that has ended holds nothing.

mod driver;
mod method;
mod several;
mod stander;

use std::cell::{Cell, OnceCell};
use std::future::Future as StdFuture;
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use sabio_sync::Place;

use crate::awaiter::Awaiter;
use crate::begun::{Begin, BoxFuture, Wait, boxed};
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Obj, ObjCell, Outcome, Raised, Ref, Sent, Visit};
use crate::held::Held;
use crate::native_coroutine::{NativeCoroutine, define, repr, reused, warn_never_awaited};
use crate::parked::park_marker;

pub(crate) use method::{create_method, create_waiting};
pub(crate) use several::Several;
use stander::Stander;

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
    /// Where it stands in the line of what it waits for, and who does there.
    place: Place,
    stander: Cell<Stander>,
    life: Cell<Life>,
    awaiter: OnceCell<Awaiter>,
    /// The object whose method it is.
    owner: ObjCell,
    /// What the method was called with.
    argument: ObjCell,
    /// Who waits in its future, or has waited last: see `driver`.
    driver: ObjCell,
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
        for slot in [&self.owner, &self.argument, &self.driver] {
            visit.slot(slot);
        }
    }

    fn clear(&self) {
        if self.life.get() == Life::Running {
            // What runs is not garbage, and needs its object.
            return;
        }
        self.life.set(Life::Closed);
        self.forget_driver();
        self.give_up();
        self.let_go();
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
            stander: Cell::new(Stander::NOBODY),
            life: Cell::new(Life::Created),
            awaiter: awaiter.map_or_else(OnceCell::new, OnceCell::from),
            owner: ObjCell::new(owner),
            argument: ObjCell::new(None),
            driver: ObjCell::new(None),
        }
    }

    /// Drops what it would have run, and tells those who wait in it that there is nothing to wait for.
    fn give_up(&self) {
        self.leave(several::tell_behind);
        self.begin.set(None);
        drop(self.future.take());
    }

    /// Lets go of all that it has, having ended, as a coroutine of the interpreter does with its frame: whoever still
    /// holds it may hold it for long.
    fn let_go(&self) {
        if let Some(awaiter) = self.awaiter.get() {
            awaiter.clear();
        }
        self.argument.set(None);
        self.owner.set(None);
        self.dismiss();
    }

    /// Tells those who still wait in it, if any, that there is nothing to wait for: they hear of the end when they run.
    #[inline]
    fn dismiss(&self) {
        if let Some(driver) = self.driver.take() {
            driver::tell(&driver);
        }
    }

    /// Whoever waits in it is garbage as it is, and hears of nothing.
    fn forget_driver(&self) {
        self.leave(drop);
        self.driver.set(None);
    }

    /// Leaves the line that it stands in, if any; `tell` gets the waker of who waits there.
    fn leave(&self, tell: fn(Waker)) {
        if let Some(wait) = self.wait.take()
            && let Some(owner) = self.owner.get()
        {
            Python::attach(|py| {
                let waker = (wait.take_waker)(py, &owner, &self.place);
                (wait.leave)(py, &owner, &self.place);
                if let Some(waker) = waker {
                    tell(waker);
                }
            });
        }
    }
}

impl Drop for Coroutine {
    #[inline]
    fn drop(&mut self) {
        if self.wait.get().is_some() {
            self.leave(drop);
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

/// As [`create_with`], for a method of an object, which the future holds where the collector sees it.
pub(crate) fn create_with_held<T, F>(
    py: Python<'_>,
    name: &'static str,
    owner: &Ref<T>,
    make: impl FnOnce(Held<Ref<T>>, Awaiter) -> F,
) -> PyResult<Obj>
where
    T: Class,
    F: StdFuture<Output = PyResult<Obj>> + 'static,
{
    create_with(py, name, |awaiter| make(awaiter.hold(owner.clone()), awaiter))
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

/// Closes the coroutine unless it goes on: also when its future panics, which is gone then.
struct Resuming<'a>(&'a Coroutine);

impl Drop for Resuming<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.life.get() == Life::Running {
            self.0.life.set(Life::Closed);
            self.0.let_go();
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
    let mut poll = |waker: &Waker| future.as_mut().poll(&mut Context::from_waker(waker));
    let (polled, waiter) = match driver::poll_native(slf, py, &mut poll) {
        Some(polled) => (polled, None),
        None => match driver::poll_foreign(slf, py, &mut poll) {
            Ok((polled, waiter)) => (polled, Some(waiter)),
            Err(raised) => (Poll::Ready(Err(raised)), None),
        },
    };
    if let Poll::Ready(result) = polled {
        ended(slf, future);
        return result.map(Sent::Return);
    }
    let yielded = slf.awaiter.get().and_then(Awaiter::take_yielded);
    suspend(slf, future);
    match (yielded, waiter) {
        (Some(yielded), _) => {
            // What is awaited tells the task itself.
            slf.driver.set(None);
            Ok(Sent::Next(yielded))
        }
        (None, None) => Ok(Sent::Next(park_marker(py)?)),
        (None, Some(waiter)) => Ok(Sent::Next(waiter.park(py)?)),
    }
}

/// The coroutine is over, with what its future left behind.
#[inline]
fn ended(slf: &Coroutine, future: BoxFuture) {
    slf.life.set(Life::Closed);
    drop(future);
    slf.let_go();
}

/// `throw()`: into the Python object that is awaited or where the future catches; otherwise it drops the future and
/// raises.
fn throw(slf: &Ref<Coroutine>, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
    let (future, resuming) = start(slf)?;
    let Some(future) = future else {
        slf.give_up();
        drop(resuming);
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
            ended(slf, future);
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
    let closed = match delegate {
        Some(delegate) => close_delegate(delegate.bind(py)),
        None => Ok(()),
    };
    slf.let_go();
    closed
}

fn close_delegate(delegate: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(close) = delegate.getattr_opt("close")? {
        close.call0()?;
    }
    Ok(())
}

fn finalize(slf: &Ref<Coroutine>, py: Python<'_>) -> PyResult<()> {
    match slf.life.get() {
        Life::Created => {
            slf.life.set(Life::Closed);
            warn_never_awaited(slf, py)
        }
        Life::Suspended => {
            slf.forget_driver();
            close(slf, py)
        }
        Life::Running | Life::Closed => Ok(()),
    }
}

impl NativeCoroutine for Coroutine {
    fn name(&self) -> &'static str {
        self.name.get()
    }

    fn resume(slf: &Ref<Coroutine>, py: Python<'_>, value: Option<&Obj>) -> Outcome<Sent> {
        resume(slf, py, value)
    }

    fn throw(slf: &Ref<Coroutine>, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
        throw(slf, py, error)
    }

    fn close(slf: &Ref<Coroutine>, py: Python<'_>) -> PyResult<()> {
        close(slf, py)
    }

    fn is_running(&self) -> bool {
        self.life.get() == Life::Running
    }

    fn is_suspended(&self) -> bool {
        self.life.get() == Life::Suspended
    }

    fn is_closed(&self) -> bool {
        self.life.get() == Life::Closed
    }

    fn awaited(&self) -> Option<Obj> {
        self.awaiter.get().and_then(Awaiter::delegate)
    }
}

/// Builds the classes and adds the public one to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    several::init(py)?;
    let class = ClassBuilder::<Coroutine>::new(c"A coroutine that is written in Rust; await it.")
        .members(define)
        .coroutine(awaited, resume)
        .finalizer(finalize)
        .weakrefs()
        .repr(repr)
        .build(py, &Base::Object)?;
    module.add("Coroutine", class)
}
