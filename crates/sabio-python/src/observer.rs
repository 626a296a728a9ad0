//! The native done-callback: what watches a future without a handle, a context or a call of Python's.
//!
//! Every future of ours has room for one observer, which is used while nobody else waits for the future, so that it is
//! told first, in the order in which asyncio promises to call callbacks. It is told one turn after the future is done,
//! as a callback would be. Where the room is taken, or the future is not ours, the observer is a callback like others.

use pyo3::prelude::*;

use crate::event_loop::errors::call_failed;
use crate::event_loop::{Loop, Ready};
use crate::ffi::{
    Base, BoundFunction, Class, ClassBuilder, ClassCell, FunctionDef, FunctionDefinition, Obj, Outcome, Ref,
    Visit, context_copy_current,
};
use crate::future::{Future, add_callback};
use crate::future_core::{State, native_core};
use crate::names::names;
use crate::task::Task;

/// What an observer does. It owns what it needs for that.
pub(crate) trait Observe: 'static {
    /// `future` is done. An exception goes to the loop's exception handler, as with any callback.
    fn done(&self, py: Python<'_>, slf: &Ref<Observer>, future: &Obj) -> PyResult<()>;

    /// Shows every Python object that it owns to the garbage collector. Runs no Python code.
    fn visit(&self, visit: &mut Visit<'_>);

    /// Lets go of what can be part of a reference cycle.
    fn clear(&self);
}

/// Watches any number of futures.
pub(crate) struct Observer {
    observe: Box<dyn Observe>,
}

static OBSERVER: ClassCell = ClassCell::new();

impl Class for Observer {
    const NAME: &'static std::ffi::CStr = c"sabio._Observer";

    fn cell() -> &'static ClassCell {
        &OBSERVER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.observe.visit(visit);
    }

    fn clear(&self) {
        self.observe.clear();
    }
}

/// The observer as a callback.
struct Notify;

static NOTIFY: FunctionDefinition = FunctionDefinition::new::<Notify>();

impl FunctionDef for Notify {
    const NAME: &'static std::ffi::CStr = c"done_callback";

    fn definition() -> &'static FunctionDefinition {
        &NOTIFY
    }

    fn call(py: Python<'_>, slf: &Obj, future: &Obj) -> PyResult<Obj> {
        if let Some(observer) = Ref::<Observer>::downcast(slf.bind(py)) {
            observer.observe.done(py, observer, future)?;
        }
        Ok(Obj::none(py))
    }
}

impl Observer {
    /// An observer that does what `observe` says.
    pub(crate) fn create(py: Python<'_>, observe: impl Observe) -> PyResult<Ref<Observer>> {
        let observe = Box::new(observe);
        Ok(Ref::create(py, Observer { observe })?)
    }

    /// The observer as a callable, which equals every other one made of it.
    pub(crate) fn callback(slf: &Ref<Observer>, py: Python<'_>) -> Outcome<Obj> {
        BoundFunction::<Notify>::create(py, slf.as_obj())
    }
}

/// `future.add_done_callback(observer)`.
///
/// # Errors
/// Whatever `add_done_callback` of a foreign future raises; RuntimeError if the future is done and its loop closed.
pub(crate) fn watch(py: Python<'_>, future: &Obj, observer: &Ref<Observer>) -> PyResult<()> {
    let bound = future.bind(py);
    if let Some(core) = native_core(bound)
        && let Some(event_loop) = core.event_loop()
    {
        if core.observe(observer) {
            if core.state() != State::Pending {
                event_loop.check_closed()?;
                event_loop.push(Ready::Observed(future.clone()));
            }
            return Ok(());
        }
        let callback = Observer::callback(observer, py)?;
        let context = context_copy_current(py)?;
        return match (Ref::<Future>::downcast(bound), Ref::<Task>::downcast(bound)) {
            (Some(future), _) => add_callback(py, future, &callback, &context),
            (_, Some(task)) => add_callback(py, task, &callback, &context),
            _ => Ok(()),
        };
    }
    let callback = Observer::callback(observer, py)?;
    bound.call_method1(names(py)?.add_done_callback.text(py), (callback.bind(py),))?;
    Ok(())
}

/// `future.remove_done_callback(observer)`: as there, a future that is done tells its observers all the same.
///
/// # Errors
/// Whatever `remove_done_callback` of a foreign future raises.
pub(crate) fn unwatch(py: Python<'_>, future: &Obj, observer: &Ref<Observer>) -> PyResult<()> {
    let bound = future.bind(py);
    if let Some(core) = native_core(bound)
        && core.is_native()
        && (core.state() != State::Pending || core.stop_observing(observer))
    {
        return Ok(());
    }
    let callback = Observer::callback(observer, py)?;
    bound.call_method1("remove_done_callback", (callback.bind(py),))?;
    Ok(())
}

/// Tells the observer of a future that is done; one that raises is reported as a callback is.
pub(crate) fn tell(py: Python<'_>, event_loop: &Ref<Loop>, future: Obj) -> PyResult<()> {
    let Some(observer) = native_core(future.bind(py)).and_then(|core| core.take_observer()) else {
        return Ok(());
    };
    observed(py, event_loop, &observer, future)
}

/// Tells an observer of a future in the next turn, outside of the future's own list.
pub(crate) fn tell_soon(event_loop: &Ref<Loop>, observer: Ref<Observer>, future: Obj) {
    if !event_loop.is_closed() {
        event_loop.push(Ready::job(future.clone(), move |py, event_loop| {
            observed(py, event_loop, &observer, future)
        }));
    }
}

fn observed(py: Python<'_>, event_loop: &Ref<Loop>, observer: &Ref<Observer>, future: Obj) -> PyResult<()> {
    match observer.observe.done(py, observer, &future) {
        Ok(()) => Ok(()),
        Err(error) => {
            let callback = Observer::callback(observer, py)?;
            call_failed(py, event_loop, &callback, &[future], error)
        }
    }
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Observer>::new(c"Watches futures.").build(py, &Base::Object)?;
    Ok(())
}
