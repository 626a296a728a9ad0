//! `sabio.Condition` (asyncio: Synchronization Primitives, Condition).
//!
//! On a `sabio.Lock` everything is native. Any other object with asyncio's methods of a lock serves as well; it is
//! called by name.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use sabio_sync::{Catch, Monitor, Place};

use super::async_with::{self, Acquirable};
use super::lock::{self, Lock, as_plain};
use super::waited::enter;
use super::{PublicClass, describe, only_parameter, owner_as, waiter, whole_number, with_waiters};
use crate::awaiter::Awaiter;
use crate::begun::{Begun, Wait};
use crate::copying::{self, Copied};
use crate::coroutine;
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, IntoObj, MethodTable, Obj, ObjCell, Outcome, Ref, Signature,
    Visit, call_method, call0,
};
use crate::loop_binding::{self, LoopBinding, LoopBound};
use crate::names::names;
use crate::waker::{is_doomed, visit_waker};

/// The data of `sabio.Condition`.
pub(crate) struct Condition {
    state: sabio_sync::Condition,
    /// From the initialiser on.
    lock: ObjCell,
    binding: LoopBinding,
}

static CONDITION: ClassCell = ClassCell::new();
static PUBLIC: PublicClass = PublicClass::new();

impl Class for Condition {
    const NAME: &'static std::ffi::CStr = c"sabio._ConditionCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &CONDITION
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.binding.visit(visit);
        visit.slot(&self.lock);
        self.state.waiters().visit(&mut |waker| visit_waker(visit, waker));
    }

    fn clear(&self) {
        self.binding.set(None);
        self.lock.set(None);
    }
}

impl LoopBound for Condition {
    fn binding(&self) -> &LoopBinding {
        &self.binding
    }
}

impl Condition {
    fn lock(&self) -> PyResult<Obj> {
        self.lock
            .get()
            .ok_or_else(|| PyAttributeError::new_err("'Condition' object has no attribute '_lock'"))
    }

    fn locked(&self, py: Python<'_>) -> PyResult<bool> {
        is_locked(py, &self.lock()?)
    }
}

fn is_locked(py: Python<'_>, lock: &Obj) -> PyResult<bool> {
    match as_plain(py, lock) {
        Some(lock) => Ok(lock.state().locked()),
        None => call_method(py, lock, &names(py)?.locked, &[])?
            .bind(py)
            .is_truthy(),
    }
}

fn check_locked(is_locked: bool) -> PyResult<()> {
    if is_locked {
        Ok(())
    } else {
        Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"))
    }
}

/// The lock in the hands of the task that a coroutine runs in.
trait Hands: Monitor<Error = PyErr> {
    /// RuntimeError if nobody holds the lock.
    fn check_locked(&self) -> PyResult<()>;
}

/// A `sabio.Lock`: the object that the awaiter keeps.
struct NativeHands {
    awaiter: Awaiter,
}

impl NativeHands {
    /// Calls `act` with the lock. RuntimeError if the coroutine has been cleared.
    fn with_lock<R>(&self, act: impl FnOnce(&Ref<Lock>) -> R) -> PyResult<R> {
        let lock = self.awaiter.owner()?;
        Python::attach(|py| Ok(act(owner_as::<Lock>(py, &lock)?)))
    }
}

/// Takes the lock, from a place in its line.
struct Acquiring<'a> {
    hands: &'a NativeHands,
    place: Place,
}

impl Future for Acquiring<'_> {
    type Output = PyResult<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PyResult<()>> {
        let polled = self
            .hands
            .with_lock(|lock| lock.state().poll_acquire(&self.place, cx));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        // A coroutine that was cleared was dropped from here before its lock.
        let _ = self.hands.with_lock(|lock| lock.state().leave(&self.place));
    }
}

impl Catch for NativeHands {
    type Error = PyErr;

    fn catch<F: Future>(&self, future: F) -> impl Future<Output = PyResult<F::Output>> {
        self.awaiter.catch(future)
    }

    fn is_cancellation(&self, error: &PyErr) -> bool {
        self.awaiter.is_cancellation(error)
    }
}

impl Monitor for NativeHands {
    fn release(&self) -> PyResult<()> {
        self.with_lock(|lock| lock.release())?
    }

    async fn acquire(&self) -> PyResult<()> {
        let acquiring = Acquiring {
            hands: self,
            place: Place::default(),
        };
        self.awaiter.catch(acquiring).await?
    }

    fn try_acquire(&self) -> bool {
        self.with_lock(|lock| lock.state().try_acquire()).unwrap_or(false)
    }
}

impl Hands for NativeHands {
    fn check_locked(&self) -> PyResult<()> {
        check_locked(self.with_lock(|lock| lock.state().locked())?)
    }
}

/// Any other lock: the object that the awaiter keeps.
struct OtherHands {
    awaiter: Awaiter,
}

impl Catch for OtherHands {
    type Error = PyErr;

    fn catch<F: Future>(&self, future: F) -> impl Future<Output = PyResult<F::Output>> {
        self.awaiter.catch(future)
    }

    fn is_cancellation(&self, error: &PyErr) -> bool {
        self.awaiter.is_cancellation(error)
    }
}

impl Monitor for OtherHands {
    fn release(&self) -> PyResult<()> {
        let lock = self.awaiter.owner()?;
        Python::attach(|py| {
            call_method(py, &lock, &names(py)?.release, &[])?;
            Ok(())
        })
    }

    async fn acquire(&self) -> PyResult<()> {
        let lock = self.awaiter.owner()?;
        let acquiring = Python::attach(|py| PyResult::Ok(call_method(py, &lock, &names(py)?.acquire, &[])?))?;
        drop(lock);
        self.awaiter.wait(acquiring).await?;
        Ok(())
    }

    fn try_acquire(&self) -> bool {
        // Who closes a coroutine can not await: the lock stays with whoever has it.
        false
    }
}

impl Hands for OtherHands {
    fn check_locked(&self) -> PyResult<()> {
        let lock = self.awaiter.owner()?;
        check_locked(Python::attach(|py| is_locked(py, &lock))?)
    }
}

async fn wait(state: sabio_sync::Condition, hands: impl Hands) -> PyResult<Obj> {
    state.wait(&hands).await?;
    Python::attach(|py| true.into_obj(py))
}

/// Waits until the predicate, which the awaiter keeps, holds; gives what it returned.
async fn wait_for(state: sabio_sync::Condition, hands: impl Hands, awaiter: Awaiter) -> PyResult<Obj> {
    loop {
        hands.check_locked()?;
        state.wait(&hands).await?;
        if let Some(result) = ask(&awaiter)? {
            return Ok(result);
        }
    }
}

/// As [`wait_for`], for a subclass, which may have replaced `wait()`.
async fn wait_for_by_name(awaiter: Awaiter) -> PyResult<Obj> {
    loop {
        let condition = awaiter.owner()?;
        let waiting = Python::attach(|py| PyResult::Ok(call_method(py, &condition, &names(py)?.wait, &[])?))?;
        drop(condition);
        awaiter.wait(waiting).await?;
        if let Some(result) = ask(&awaiter)? {
            return Ok(result);
        }
    }
}

fn ask(awaiter: &Awaiter) -> PyResult<Option<Obj>> {
    let predicate = awaiter.argument()?;
    Python::attach(|py| ask_predicate(py, &predicate))
}

/// What the predicate returns, if it is true.
fn ask_predicate(py: Python<'_>, predicate: &Obj) -> PyResult<Option<Obj>> {
    let result = call0(py, predicate)?;
    Ok(result.bind(py).is_truthy()?.then_some(result))
}

/// Before a task waits: RuntimeError if nobody holds the lock, or if the objects belong to another loop.
fn prepare(py: Python<'_>, owner: &Obj, condition: &Ref<Condition>) -> PyResult<Obj> {
    let lock = condition.lock()?;
    check_locked(is_locked(py, &lock)?)?;
    condition.binding.bind(owner)?;
    if let Some(plain) = as_plain(py, &lock) {
        plain.binding().bind(&lock)?;
    }
    Ok(lock)
}

fn begin_wait(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    let condition = owner_as::<Condition>(py, owner)?;
    let lock = prepare(py, owner, condition)?;
    let state = condition.state.clone();
    let is_native = as_plain(py, &lock).is_some();
    Ok(if is_native {
        Begun::awaits(|awaiter| {
            awaiter.keep(Some(lock), None);
            wait(state, NativeHands { awaiter })
        })
    } else {
        Begun::awaits(|awaiter| {
            awaiter.keep(Some(lock), None);
            wait(state, OtherHands { awaiter })
        })
    })
}

fn begin_wait_for(py: Python<'_>, owner: &Obj, argument: &ObjCell) -> Outcome<Begun> {
    let condition = owner_as::<Condition>(py, owner)?;
    let predicate = argument.take().unwrap_or_else(|| Obj::none(py));
    if let Some(result) = ask_predicate(py, &predicate)? {
        return Ok(Begun::Done(result));
    }
    if !PUBLIC.is_exact(py, owner) {
        return Ok(Begun::awaits(|awaiter| {
            awaiter.keep(Some(owner.clone()), Some(predicate));
            wait_for_by_name(awaiter)
        }));
    }
    let lock = prepare(py, owner, condition)?;
    let state = condition.state.clone();
    let is_native = as_plain(py, &lock).is_some();
    Ok(if is_native {
        Begun::awaits(|awaiter| {
            awaiter.keep(Some(lock), Some(predicate));
            let hands = NativeHands {
                awaiter: awaiter.clone(),
            };
            wait_for(state, hands, awaiter)
        })
    } else {
        Begun::awaits(|awaiter| {
            awaiter.keep(Some(lock), Some(predicate));
            let hands = OtherHands {
                awaiter: awaiter.clone(),
            };
            wait_for(state, hands, awaiter)
        })
    })
}

impl Acquirable for Condition {
    const ENTER: &'static str = "Condition.__aenter__";
    const EXIT: &'static str = "Condition.__aexit__";
    const WAIT: &'static Wait = enter::<Lock>();

    fn waited_for(slf: &Ref<Condition>) -> PyResult<Obj> {
        slf.lock()
    }

    fn is_plain(slf: &Ref<Condition>, py: Python<'_>) -> bool {
        async_with::is_plain(slf, py, &[&PUBLIC])
            && slf.lock.get().is_some_and(|lock| as_plain(py, &lock).is_some())
    }

    fn try_acquire(slf: &Ref<Condition>, py: Python<'_>) -> bool {
        slf.lock
            .get()
            .is_some_and(|lock| as_plain(py, &lock).is_some_and(|lock| lock.state().try_acquire()))
    }

    fn release(slf: &Ref<Condition>, py: Python<'_>) -> PyResult<()> {
        let lock = slf.lock()?;
        match as_plain(py, &lock) {
            Some(lock) => Lock::release(lock),
            None => {
                call_method(py, &lock, &names(py)?.release, &[])?;
                Ok(())
            }
        }
    }
}

fn acquire(slf: &Ref<Condition>, py: Python<'_>) -> PyResult<Obj> {
    let lock = slf.lock()?;
    match as_plain(py, &lock) {
        Some(lock) => lock::acquire(lock, py),
        None => Ok(call_method(py, &lock, &names(py)?.acquire, &[])?),
    }
}

fn check_notifier(slf: &Ref<Condition>, py: Python<'_>) -> PyResult<()> {
    if slf.locked(py)? {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"))
}

/// `notify(n=1)`.
fn notify(slf: &Ref<Condition>, args: Args<'_, '_>) -> PyResult<()> {
    let [count] = args.parse(&Signature {
        function: "notify",
        parameters: ["n"],
        required: 0,
        positional: 1,
    })?;
    check_notifier(slf, args.py())?;
    let count = count.map_or(Ok(1), whole_number)?;
    slf.state.notify(usize::try_from(count).unwrap_or(0));
    Ok(())
}

/// `notify_all()`. A subclass may have replaced `notify()`.
fn notify_all(slf: &Ref<Condition>, py: Python<'_>) -> PyResult<()> {
    if !PUBLIC.is_exact(py, slf.as_obj()) {
        let count = slf.state.waiters().len().into_obj(py)?;
        call_method(py, slf.as_obj(), &names(py)?.notify, &[&count])?;
        return Ok(());
    }
    check_notifier(slf, py)?;
    slf.state.notify_all();
    Ok(())
}

/// `Condition(lock=None)`.
fn initialize(
    slf: &Ref<Condition>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    let lock = only_parameter(slf.as_obj(), Some("lock"), args, kwargs)?;
    let lock = match lock.filter(|lock| !lock.is_none()) {
        Some(lock) => {
            // What is no lock is noticed here, as in asyncio.
            for name in [&names(py)?.locked, &names(py)?.acquire, &names(py)?.release] {
                lock.getattr(name.text(py))?;
            }
            Obj::from(lock)
        }
        None => Lock::create(py)?.into_obj(),
    };
    slf.lock.set(Some(lock));
    Ok(())
}

fn repr(slf: &Ref<Condition>, py: Python<'_>) -> PyResult<Obj> {
    let state = if slf.locked(py)? { "locked" } else { "unlocked" };
    let state = with_waiters(state.to_owned(), slf.state.waiters());
    describe(py, slf.as_obj(), &state)
}

impl Copied for Condition {
    const STATE: &'static [&'static str] = &["_lock", "_loop"];

    fn is_in_use(&self) -> bool {
        self.state.waiters().inside() > 0
    }
}

fn define(table: &mut MethodTable<Condition>) {
    loop_binding::define(table);
    async_with::define(table);
    copying::define(table);
    table
        .fast_noargs(c"acquire", c"acquire($self, /)\n--\n\nWait until the lock is free and take it.", acquire)
        .method(
            c"release",
            c"release($self, /)\n--\n\nGive the lock back. RuntimeError if it is not locked.",
            |slf, args| <Condition as Acquirable>::release(slf, args.py()),
        )
        .noargs(c"locked", c"locked($self, /)\n--\n\nWhether the lock is locked.", Condition::locked_by_python)
        .fast_noargs(
            c"wait",
            c"wait($self, /)\n--\n\nGive the lock back, wait until notified, and take it again; gives True. RuntimeError if it is not locked.",
            |slf, py| coroutine::create_method(py, "Condition.wait", slf.as_obj(), None, begin_wait),
        )
        .fast_method(
            c"wait_for",
            c"wait_for($self, predicate)\n--\n\nWait until predicate() is true; gives what it returned.",
            |slf, args| {
                let predicate = Obj::from(args.single("wait_for", "predicate")?);
                coroutine::create_method(args.py(), "Condition.wait_for", slf.as_obj(), Some(predicate), begin_wait_for)
            },
        )
        .method(
            c"notify",
            c"notify($self, n=1)\n--\n\nWake n of the tasks that wait. RuntimeError if the lock is not locked.",
            notify,
        )
        .noargs(
            c"notify_all",
            c"notify_all($self, /)\n--\n\nWake all tasks that wait. RuntimeError if the lock is not locked.",
            notify_all,
        )
        .attribute(
            c"_lock",
            c"The lock.",
            |slf, _py| slf.lock(),
            |slf, value| {
                slf.lock.set(Some(Obj::from(value)));
                Ok(())
            },
        )
        .getter(c"_waiters", c"Who waits, at this moment.", |slf, py| waiter::list(py, slf.state.waiters()));
}

impl Condition {
    fn locked_by_python(slf: &Ref<Condition>, py: Python<'_>) -> PyResult<Obj> {
        let lock = slf.lock()?;
        match as_plain(py, &lock) {
            Some(lock) => lock.state().locked().into_obj(py),
            None => Ok(call_method(py, &lock, &names(py)?.locked, &[])?),
        }
    }
}

/// Builds the class and adds it to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<Condition>::new(c"The native part of sabio.Condition.")
        .members(define)
        .constructor(|_class, _args, _kwargs| {
            Ok(Condition {
                state: sabio_sync::Condition::with_doomed(is_doomed),
                lock: ObjCell::new(None),
                binding: LoopBinding::default(),
            })
        })
        .initializer(initialize)
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc = "Condition(lock=None)\n--\n\nA lock and a way to wait for a change of what it protects (asyncio: Condition).";
    PUBLIC.publish(module, "Condition", doc, &core)?;
    Ok(())
}
