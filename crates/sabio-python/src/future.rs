//! `sabio.Future`: a subclass of `_asyncio.Future` that can have one *native waiter*, a task that is put back on the
//! ready queue without a callback, a handle or a call.
//!
//! Invariants: the base's state is always in step with ours; the native waiter is only used while the future has no
//! other callback, so that it is woken first, in the order in which asyncio promises to call them. A future of a loop
//! that is not ours is left to its base entirely.

use std::cell::{Cell, OnceCell};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use crate::asyncio::asyncio;
use crate::event_loop::wrap_future::cancel_work;
use crate::event_loop::{Loop, Ready};
use crate::ffi::Outcome;
use crate::ffi::{
    Args, Base, BoundFunction, Class, ClassBuilder, ClassCell, MethodTable, Obj, ObjCell, Ref, Sent, Slot,
    Visit,
};
use crate::ffi::{call_method, context_copy_current};
use crate::names::names;
use crate::task::{Task, Wakeup};

/// Where a future is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    #[default]
    Pending,
    Cancelled,
    Finished,
}

/// What futures and tasks have in common.
#[derive(Default)]
pub(crate) struct FutureCore {
    /// The loop, if it is one of ours.
    event_loop: OnceCell<Ref<Loop>>,
    state: Cell<State>,
    /// `_asyncio_future_blocking`: set by `await`, read by whoever steps the coroutine.
    blocking: Cell<bool>,
    has_callbacks: Cell<bool>,
    waiter: Slot<Ref<Task>>,
    result: ObjCell,
}

impl FutureCore {
    /// Binds the future to a loop of ours.
    #[inline]
    pub(crate) fn set_event_loop(&self, event_loop: Ref<Loop>) {
        // A future stays with its first loop, whatever its initialiser is called with again.
        let _ = self.event_loop.set(event_loop);
    }

    /// The loop, if it is one of ours.
    #[inline]
    pub(crate) fn event_loop(&self) -> Option<&Ref<Loop>> {
        self.event_loop.get()
    }

    /// Whether it is bound to a loop of ours: everything is done natively then.
    #[inline]
    pub(crate) fn is_native(&self) -> bool {
        self.event_loop.get().is_some()
    }

    /// Whether it is bound to this loop.
    #[inline]
    pub(crate) fn belongs_to(&self, event_loop: &Ref<Loop>) -> bool {
        self.event_loop.get().is_some_and(|own| own.same(event_loop))
    }

    /// Pending, cancelled or finished.
    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// The result, if it finished with one (not with an exception).
    #[inline]
    pub(crate) fn result(&self) -> Option<Obj> {
        self.result.get()
    }

    /// Whether somebody awaits it who has not been stepped since.
    #[inline]
    pub(crate) fn blocking(&self) -> &Cell<bool> {
        &self.blocking
    }

    /// Takes `task` as the native waiter, if there is nobody before it.
    #[inline]
    pub(crate) fn park(&self, task: &Ref<Task>) -> bool {
        let free = self.state.get() == State::Pending && !self.has_callbacks.get() && self.waiter.is_none();
        if free {
            self.waiter.set(Some(task.clone()));
        }
        free
    }

    /// Ends the future: our state first, then the native waiter onto the ready queue, then the base with its
    /// callbacks. `end` makes the base's transition.
    pub(crate) fn finish(
        &self,
        _slf: &Obj,
        state: State,
        result: Option<Obj>,
        end: impl FnOnce() -> Outcome<Obj>,
    ) -> Outcome<Obj> {
        let waiter = self.waiter.take();
        self.state.set(state);
        self.result.set(result);
        let Some(waiter) = waiter else { return end() };
        match waiter.event_loop().cloned() {
            Some(event_loop) => {
                event_loop.push(Ready::Wakeup(waiter));
                let ended = end()?;
                event_loop.check_closed()?;
                Ok(ended)
            }
            None => end(),
        }
    }

    /// Shows what it owns.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit.option(self.event_loop.get().map(Ref::as_obj));
        visit.slot(&self.waiter);
        visit.slot(&self.result);
    }

    /// Lets go of what may be part of a cycle. The loop stays: finalizers need it.
    pub(crate) fn clear(&self) {
        self.waiter.set(None);
        self.result.set(None);
    }
}

/// A class that has a [`FutureCore`].
pub(crate) trait FutureLike: Class {
    /// The common part.
    fn core(&self) -> &FutureCore;

    /// What an iterator over it holds.
    fn awaited(slf: &Ref<Self>) -> Awaited;
}

/// The data of `sabio.Future`.
#[derive(Default)]
pub(crate) struct Future {
    core: FutureCore,
    /// The work of an executor that this is the outcome of: cancelled with it.
    work: ObjCell,
}

impl Future {
    /// Names the `concurrent.futures.Future` that is to be cancelled with this one.
    pub(crate) fn set_work(&self, work: Obj) {
        self.work.set(Some(work));
    }

    /// Takes back what [`Future::set_work`] named.
    pub(crate) fn take_work(&self) -> Option<Obj> {
        self.work.take()
    }
}

static FUTURE: ClassCell = ClassCell::new();

impl Class for Future {
    const NAME: &'static std::ffi::CStr = c"sabio.Future";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &FUTURE
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.core.visit(visit);
        visit.slot(&self.work);
    }

    fn clear(&self) {
        self.core.clear();
        self.work.set(None);
    }
}

impl FutureLike for Future {
    #[inline]
    fn core(&self) -> &FutureCore {
        &self.core
    }

    #[inline]
    fn awaited(slf: &Ref<Future>) -> Awaited {
        Awaited::Future(slf.clone())
    }
}

/// A new future of this loop, as `loop.create_future()` gives it.
#[inline]
pub(crate) fn create(py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<Ref<Future>> {
    let future = Ref::<Future>::create_uninitialised(py, event_loop.no_args(py))?;
    let kwargs = event_loop.loop_kwargs(py)?;
    asyncio(py)?
        .future
        .class
        .init(py, future.as_obj(), event_loop.no_args(py), Some(&kwargs))?;
    future.core.set_event_loop(event_loop.clone());
    Ok(future)
}

fn initialize(
    slf: &Ref<Future>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    let base = &asyncio(py)?.future;
    base.class.init(py, slf.as_obj(), args, kwargs)?;
    let event_loop = base.get_loop.call(py, [slf.as_obj()])?;
    if let Some(event_loop) = Ref::<Loop>::downcast(event_loop.bind(py)) {
        slf.core.set_event_loop(event_loop.clone());
    }
    slf.core.state.set(State::Pending);
    slf.core.result.set(None);
    Ok(())
}

fn set_result(slf: &Ref<Future>, result: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = result.py();
    let result = Obj::from(result);
    let base = || -> Outcome<Obj> { asyncio(py)?.future.set_result.call(py, [slf.as_obj(), &result]) };
    if slf.core.state.get() == State::Pending && slf.core.is_native() {
        slf.core
            .finish(slf.as_obj(), State::Finished, Some(result.clone()), base)?;
    } else {
        base()?;
    }
    Ok(())
}

fn set_exception(slf: &Ref<Future>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = exception.py();
    let base = asyncio(py)?.future.set_exception.object();
    // The base checks the exception (a StopIteration, for one, is refused): its state must change first.
    let waiter = if slf.core.is_native() {
        slf.core.waiter.take()
    } else {
        None
    };
    let parked = waiter.and_then(|waiter| {
        waiter
            .event_loop()
            .cloned()
            .map(|event_loop| (waiter, event_loop))
    });
    if let Some((waiter, event_loop)) = &parked {
        event_loop.push(Ready::Wakeup(waiter.clone()));
    }
    match crate::ffi::call_args(py, base, &[slf.as_obj().clone(), Obj::from(exception)]) {
        Ok(_) => {
            slf.core.state.set(State::Finished);
            if let Some((_, event_loop)) = parked {
                event_loop.check_closed()?;
            }
            Ok(())
        }
        Err(error) => {
            if let Some((waiter, event_loop)) = parked {
                if slf.bind(py).call_method0("done")?.is_truthy()? {
                    slf.core.state.set(State::Finished);
                } else {
                    // The base refused before it scheduled anything: the wake-up is still the newest entry.
                    drop(event_loop.pop_newest());
                    slf.core.waiter.set(Some(waiter));
                }
            }
            Err(error.into())
        }
    }
}

fn cancel(slf: &Ref<Future>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let message = args
        .only_keyword("cancel", &names(py)?.msg_keyword)?
        .or_else(|| args.get(0));
    let message = message.map_or_else(|| Obj::none(py), Obj::from);
    let base = || -> Outcome<Obj> { asyncio(py)?.future.cancel.call(py, [slf.as_obj(), &message]) };
    if slf.core.state.get() == State::Pending && slf.core.is_native() {
        let cancelled = slf.core.finish(slf.as_obj(), State::Cancelled, None, base)?;
        if let (Some(work), Some(event_loop)) = (slf.work.take(), slf.core.event_loop()) {
            cancel_work(event_loop, work);
        }
        Ok(cancelled)
    } else {
        Ok(base()?)
    }
}

/// `add_done_callback(fn, *, context=None)` of futures and tasks: later callbacks come after the native waiter.
pub(crate) fn add_done_callback<T: FutureLike>(slf: &Ref<T>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let Some(callback) = args.get(0) else {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "add_done_callback() missing required argument: 'fn'",
        ));
    };
    let context = match args.only_keyword("add_done_callback", &names(py)?.context_keyword)? {
        Some(context) if !context.is_none() => Obj::from(context),
        _ => context_copy_current(py)?,
    };
    add_callback(py, slf, &Obj::from(callback), &context)
}

/// Adds a callback through the base.
pub(crate) fn add_callback<T: FutureLike>(
    py: Python<'_>,
    slf: &Ref<T>,
    callback: &Obj,
    context: &Obj,
) -> PyResult<()> {
    slf.core().has_callbacks.set(true);
    let kwargs = PyDict::new(py);
    kwargs.set_item(names(py)?.context.bind(py), context.bind(py))?;
    let base = asyncio(py)?.future.add_done_callback.object();
    base.bind(py)
        .call((slf.bind(py), callback.bind(py)), Some(&kwargs))?;
    Ok(())
}

/// `_callbacks` of futures and tasks: the native waiter first, as the callback that it stands for.
fn callbacks<T: FutureLike>(slf: &Ref<T>, py: Python<'_>) -> PyResult<Obj> {
    let base = asyncio(py)?.future.callbacks.call(py, [slf.as_obj()])?;
    let Some(waiter) = slf.core().waiter.get() else {
        return Ok(base);
    };
    let list = PyList::empty(py);
    list.append((
        BoundFunction::<Wakeup>::create(py, waiter.as_obj())?.bind(py),
        waiter.context().map(|context| context.bind(py)),
    ))?;
    if !base.bind(py).is_none() {
        for callback in base.bind(py).try_iter()? {
            list.append(callback?)?;
        }
    }
    Ok(list.into())
}

/// `await future`.
pub(crate) fn iterate<T: FutureLike>(slf: &Ref<T>, py: Python<'_>) -> PyResult<Obj> {
    if !slf.core().is_native() {
        return Ok(asyncio(py)?.future.iter.call(py, [slf.as_obj()])?);
    }
    let awaited = T::awaited(slf);
    Ok(Ref::create(
        py,
        FutureIterator {
            awaited: Cell::new(Some(awaited)),
        },
    )?
    .into_obj())
}

/// The attributes that futures and tasks share.
pub(crate) fn define_common<T: FutureLike>(table: &mut MethodTable<T>) {
    table
        .fast_method(
            c"add_done_callback",
            c"add_done_callback($self, fn, /, *, context=None)\n--\n\nCall fn(self) soon after the future is done.",
            add_done_callback::<T>,
        )
        .getter(c"_callbacks", c"Callbacks and their contexts, or None.", callbacks::<T>)
        .attribute(
            c"_asyncio_future_blocking",
            c"Whether the future is being awaited by a coroutine that has just yielded it.",
            |slf, py| {
                if slf.core().is_native() {
                    return crate::ffi::IntoObj::into_obj(slf.core().blocking.get(), py);
                }
                Ok(asyncio(py)?.future.blocking.bind(py).call_method1("__get__", (slf.bind(py),))?.into())
            },
            |slf, value| {
                if slf.core().is_native() {
                    slf.core().blocking.set(value.is_truthy()?);
                    return Ok(());
                }
                let py = value.py();
                asyncio(py)?.future.blocking.bind(py).call_method1("__set__", (slf.bind(py), value))?;
                Ok(())
            },
        );
}

fn define(table: &mut MethodTable<Future>) {
    define_common(table);
    table
        .fast_onearg(
            c"set_result",
            c"set_result($self, result, /)\n--\n\nMark the future done and set its result. InvalidStateError if it is done.",
            set_result,
        )
        .fast_onearg(
            c"set_exception",
            c"set_exception($self, exception, /)\n--\n\nMark the future done and set an exception. InvalidStateError if it is done.",
            set_exception,
        )
        .fast_method(
            c"cancel",
            c"cancel($self, /, msg=None)\n--\n\nCancel the future. False if it is done already.",
            cancel,
        );
}

/// What is awaited.
pub(crate) enum Awaited {
    Future(Ref<Future>),
    Task(Ref<Task>),
}

impl Awaited {
    #[inline]
    fn core(&self) -> &FutureCore {
        match self {
            Awaited::Future(future) => &future.core,
            Awaited::Task(task) => task.core(),
        }
    }

    #[inline]
    fn object(&self) -> &Obj {
        match self {
            Awaited::Future(future) => future.as_obj(),
            Awaited::Task(task) => task.as_obj(),
        }
    }
}

/// The iterator behind `await future`: yields the future while it is pending, then returns its result.
pub(crate) struct FutureIterator {
    awaited: Cell<Option<Awaited>>,
}

static FUTURE_ITERATOR: ClassCell = ClassCell::new();

impl Class for FutureIterator {
    const NAME: &'static std::ffi::CStr = c"sabio._FutureIterator";
    const RECYCLED: bool = true;

    fn cell() -> &'static ClassCell {
        &FUTURE_ITERATOR
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        let awaited = self.awaited.take();
        if let Some(awaited) = &awaited {
            visit.obj(awaited.object());
        }
        self.awaited.set(awaited);
    }

    fn clear(&self) {
        drop(self.awaited.take());
    }
}

fn resume(slf: &Ref<FutureIterator>, py: Python<'_>, _value: Option<&Obj>) -> PyResult<Sent> {
    let Some(awaited) = slf.awaited.take() else {
        return Ok(Sent::Return(Obj::none(py)));
    };
    let core = awaited.core();
    match core.state.get() {
        // Once for each task that resumes the coroutine: whoever got the future has taken note of it by then.
        State::Pending if !core.blocking.get() => {
            core.blocking.set(true);
            let object = awaited.object().clone();
            slf.awaited.set(Some(awaited));
            Ok(Sent::Next(object))
        }
        State::Pending => {
            slf.awaited.set(Some(awaited));
            Err(PyRuntimeError::new_err("await wasn't used with future"))
        }
        State::Finished if !core.result.is_none() => match core.result() {
            Some(result) => Ok(Sent::Return(result)),
            None => Ok(Sent::Return(Obj::none(py))),
        },
        // An exception: asked for by name, so that it counts as retrieved and a subclass may answer.
        _ => Ok(Sent::Return(call_method(
            py,
            awaited.object(),
            &names(py)?.result,
            &[],
        )?)),
    }
}

/// The exception that `throw(type, value, traceback)` or `throw(exception)` stands for.
pub(crate) fn thrown(args: Args<'_, '_>) -> PyResult<PyErr> {
    let py = args.py();
    let Some(first) = args.get(0) else {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "throw() missing required argument: 'typ'",
        ));
    };
    let given = |index: usize| args.get(index).filter(|argument| !argument.is_none());
    let error = if let Ok(class) = first.cast::<PyType>() {
        match given(1) {
            Some(value) if value.is_instance(class)? => PyErr::from_value(value.clone()),
            Some(value) => match value.cast::<PyTuple>() {
                Ok(arguments) => PyErr::from_value(class.call1(arguments.clone())?),
                Err(_) => PyErr::from_value(class.call1((value,))?),
            },
            None => PyErr::from_value(class.call0()?),
        }
    } else {
        if given(1).is_some() {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "instance exception may not have a separate value",
            ));
        }
        PyErr::from_value(first.clone())
    };
    if let Some(traceback) = given(2) {
        let Ok(traceback) = traceback.cast::<pyo3::types::PyTraceback>() else {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "throw() third argument must be a traceback object",
            ));
        };
        error.set_traceback(py, Some(traceback.clone()));
    }
    Ok(error)
}

/// Builds both classes and adds the public one to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = asyncio(py)?
        .future
        .class
        .class()
        .bind(py)
        .cast::<PyType>()?
        .clone();
    let class = ClassBuilder::<Future>::new(
        c"Future(*, loop=None)\n--\n\nA result that is not there yet (asyncio: Futures); subclass of asyncio.Future.",
    )
    .members(define)
    .derived_constructor()
    .initializer(initialize)
    .awaitable(iterate::<Future>)
    .build(py, &Base::Native(base))?;
    ClassBuilder::<FutureIterator>::new(c"The iterator behind `await future`.")
        .awaitable(|slf, _py| Ok(slf.as_obj().clone()))
        .resumable(resume)
        .members(|table| {
            table
                .fast_onearg(
                    c"send",
                    c"send($self, value, /)\n--\n\nResume.",
                    |slf, value| match resume(slf, value.py(), None)? {
                        Sent::Next(object) => Ok(object),
                        Sent::Return(object) => Err(crate::ffi::raise_stop_iteration(value.py(), &object)),
                    },
                )
                .method(
                    c"throw",
                    c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception.",
                    |slf, args| {
                        let error = thrown(args)?;
                        drop(slf.awaited.take());
                        Err::<Obj, PyErr>(error)
                    },
                )
                .noargs(
                    c"close",
                    c"close($self, /)\n--\n\nForget the future.",
                    |slf, _py| {
                        drop(slf.awaited.take());
                        Ok(())
                    },
                );
        })
        .build(py, &Base::Object)?;
    module.add("Future", class)
}
