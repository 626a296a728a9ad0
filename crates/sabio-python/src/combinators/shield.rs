//! `shield`: awaiting a future that a cancellation of the awaiting task does not reach (asyncio: Shielding From
//! Cancellation).
//!
//! One observer watches the inner future, and hears of a cancellation of the outer one: from then on nobody awaits the
//! inner future, and from 3.14 on its exception is logged.

use pyo3::prelude::*;

use super::ensure::{ensure, loop_of};
use super::{add_awaiter, awaiting_task, discard_awaiter};
use crate::asyncio::asyncio;
use crate::ffi::{Args, Obj, ObjCell, Ref, Visit, add_function, call_method};
use crate::future::Future;
use crate::future_core::FutureLike;
use crate::names::names;
use crate::observer::{Observe, Observer, unwatch, watch};
use crate::outcome;

/// What the observer knows.
struct Shield {
    inner: ObjCell,
    outer: ObjCell,
    waiter: ObjCell,
}

impl Observe for Shield {
    fn done(&self, py: Python<'_>, slf: &Ref<Observer>, future: &Obj) -> PyResult<()> {
        let (Some(inner), Some(outer)) = (self.inner.get(), self.outer.get()) else {
            return Ok(());
        };
        if std::ptr::eq(future.as_ptr(), inner.as_ptr()) {
            self.inner_done(py, &inner, &outer)
        } else {
            self.outer_done(py, slf, &inner)
        }
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.inner);
        visit.slot(&self.outer);
        visit.slot(&self.waiter);
    }

    fn clear(&self) {
        self.inner.set(None);
        self.outer.set(None);
        self.waiter.set(None);
    }
}

impl Shield {
    /// Passes on how the inner future has ended.
    fn inner_done(&self, py: Python<'_>, inner: &Obj, outer: &Obj) -> PyResult<()> {
        discard_awaiter(py, inner, self.waiter.take().as_ref())?;
        if outcome::is_cancelled(py, outer)? {
            return match log_on_exception(py)? {
                Some(_) => Ok(()),
                None => outcome::retrieve(py, inner),
            };
        }
        if outcome::is_done(py, outer)? {
            // Somebody else has ended it, so that nobody hears of the inner future any more.
            return match log_on_exception(py)? {
                Some(log) => log.call1((inner.bind(py),)).map(drop),
                None => Ok(()),
            };
        }
        let names = names(py)?;
        if let Some(future) = Ref::<Future>::downcast_exact(outer.bind(py)) {
            drop(future.take_work());
        }
        if outcome::is_cancelled(py, inner)? {
            call_method(py, outer, &names.cancel, &[])?;
        } else if let Some(exception) = outcome::exception(py, inner)? {
            call_method(py, outer, &names.set_exception, &[&exception])?;
        } else {
            let result = outcome::result(py, inner)?;
            call_method(py, outer, &names.set_result, &[&result])?;
        }
        Ok(())
    }

    /// The outer future has ended by itself: the inner one goes on without it.
    fn outer_done(&self, py: Python<'_>, slf: &Ref<Observer>, inner: &Obj) -> PyResult<()> {
        if outcome::is_done(py, inner)? {
            return Ok(());
        }
        unwatch(py, inner, slf)?;
        if let Some(log) = log_on_exception(py)? {
            let inner = inner.bind(py);
            inner.call_method1("remove_done_callback", (&log,))?;
            inner.call_method1(names(py)?.add_done_callback.text(py), (&log,))?;
        }
        discard_awaiter(py, inner, self.waiter.take().as_ref())
    }
}

/// What asyncio calls with an inner future that nobody awaits any more, to log its exception; versions before 3.14 drop
/// it. asyncio's own function, so that however many shields there were of whatever kind, it is logged once.
fn log_on_exception(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    asyncio(py)?.tasks.bind(py).getattr_opt("_log_on_exception")
}

/// `shield(arg)`.
fn shield(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let argument = args.single("shield", "arg")?;
    let inner = ensure(argument, None)?;
    if outcome::is_done(py, &inner)? {
        return Ok(inner);
    }
    let event_loop = loop_of(inner.bind(py))?;
    let outer = call_method(py, &event_loop, &names(py)?.create_future, &[])?;
    let waiter = awaiting_task(py, &event_loop)?;
    add_awaiter(py, &inner, waiter.as_ref())?;
    let observer = Observer::create(
        py,
        Shield {
            inner: ObjCell::new(Some(inner.clone())),
            outer: ObjCell::new(Some(outer.clone())),
            waiter: ObjCell::new(waiter),
        },
    )?;
    watch(py, &inner, &observer)?;
    match Ref::<Future>::downcast_exact(outer.bind(py)) {
        Some(future) if future.core().is_native() => future.tell_of_cancellation(&observer),
        _ => watch(py, &outer, &observer)?,
    }
    Ok(outer)
}

/// Adds the function to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_function(
        module,
        c"shield",
        c"shield(arg)\n--\n\nAwait a future which is not cancelled when the awaiting task is.",
        shield,
    )
}
