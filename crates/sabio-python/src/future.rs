//! `sabio.Future`: a subclass of `_asyncio.Future` that can have one *native waiter*, a task that is put back on the
//! ready queue without a callback, a handle or a call.
//!
//! Invariants: the base's state is always in step with ours; the native waiter is only used while the future has no
//! other callback, so that it is woken first, in the order in which asyncio promises to call them. A future of a loop
//! that is not ours is left to its base entirely.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use crate::asyncio::asyncio;
use crate::event_loop::Loop;
use crate::event_loop::wrap_future::cancel_work;
use crate::ffi::Outcome;
use crate::ffi::context_copy_current;
use crate::ffi::{
    Args, Base, BoundFunction, Class, ClassBuilder, ClassCell, MethodTable, Obj, ObjCell, Ref, Visit,
};
use crate::future_core::{FutureCore, FutureLike, State};
use crate::future_iterator::{self, Awaited};
use crate::image;
use crate::names::names;
use crate::observer::{Observer, tell_soon};
use crate::wakeup::Wakeup;

/// The data of `sabio.Future`.
#[derive(Default)]
pub(crate) struct Future {
    core: FutureCore,
    /// The work of an executor that this is the outcome of, cancelled with it; or an observer that hears of a
    /// cancellation, and of no other end, one turn later.
    work: ObjCell,
}

impl Future {
    /// Names the `concurrent.futures.Future` that is to be cancelled with this one.
    pub(crate) fn set_work(&self, work: Obj) {
        self.work.set(Some(work));
    }

    /// Names the observer that hears of a cancellation, in place of a callback.
    pub(crate) fn tell_of_cancellation(&self, observer: &Ref<Observer>) {
        self.work.set(Some(observer.as_obj().clone()));
    }

    /// Takes back what [`Future::set_work`] or [`Future::tell_of_cancellation`] named.
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
    if let Some(image) = image::futures(py)
        && event_loop.is_plain(py)
        && !event_loop.debug()
    {
        let future = image.create(py, event_loop.as_obj().clone())?;
        future.core.set_event_loop(event_loop.clone());
        return Ok(future);
    }
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

pub(crate) fn set_result(slf: &Ref<Future>, result: &Bound<'_, PyAny>) -> PyResult<()> {
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

pub(crate) fn set_exception(slf: &Ref<Future>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = exception.py();
    let base = asyncio(py)?.future.set_exception.object();
    // The base checks the exception (a StopIteration, for one, is refused): its state must change first.
    let notified = if slf.core.is_native() && slf.core.state() == State::Pending {
        slf.core.notify(slf.as_obj())
    } else {
        None
    };
    match crate::ffi::call_args(py, base, &[slf.as_obj().clone(), Obj::from(exception)]) {
        Ok(_) => {
            slf.core.state.set(State::Finished);
            if let Some(notified) = notified {
                notified.event_loop.check_closed()?;
            }
            Ok(())
        }
        Err(raised) => {
            // Nothing is called while an exception is set.
            let error = PyErr::from(raised);
            if let Some(notified) = notified {
                if slf.bind(py).call_method0("done")?.is_truthy()? {
                    slf.core.state.set(State::Finished);
                } else {
                    // The base refused before it scheduled anything: the wake-up is still the newest entry.
                    drop(notified.event_loop.pop_newest());
                    slf.core.waiter.set(notified.waiter);
                }
            }
            Err(error)
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
            match Ref::<Observer>::downcast(work.bind(py)) {
                Some(observer) => tell_soon(event_loop, observer.clone(), slf.as_obj().clone()),
                None => cancel_work(event_loop, work),
            }
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
            "add_done_callback() missing required argument 'fn' (pos 1)",
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
    asyncio(py)?.future.add_done_callback.call_with_keyword(
        py,
        [slf.as_obj(), callback, context],
        &names(py)?.with_context,
    )?;
    Ok(())
}

/// `_callbacks` of futures and tasks: the native waiter or observer first, as the callback that it stands for.
fn callbacks<T: FutureLike>(slf: &Ref<T>, py: Python<'_>) -> PyResult<Obj> {
    let base = asyncio(py)?.future.callbacks.call(py, [slf.as_obj()])?;
    let list = PyList::empty(py);
    if let Some(waiter) = slf.core().waiter.get() {
        let callback = BoundFunction::<Wakeup>::create(py, waiter.as_obj())?;
        list.append((
            callback.bind(py),
            waiter.context().map(|context| context.bind(py)),
        ))?;
    } else if let Some(observer) = slf.core().observer() {
        list.append((Observer::callback(&observer, py)?.bind(py), py.None()))?;
    } else {
        return Ok(base);
    }
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
    future_iterator::create(py, awaited)
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

/// The class.
pub(crate) fn class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    FUTURE.class(py)
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
    future_iterator::init(py)?;
    module.add("Future", class)
}
