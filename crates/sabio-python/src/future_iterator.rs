//! `await future`: the iterator that yields the future once and then returns its result.

use std::cell::Cell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::ffi::Outcome;
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Obj, Ref, Sent, Visit, call_method};
use crate::future::Future;
use crate::future_core::{FutureCore, FutureLike, State};
use crate::names::names;
use crate::task::Task;
use crate::thrown::Thrown;

/// What is awaited.
pub(crate) enum Awaited {
    Future(Ref<Future>),
    Task(Ref<Task>),
}

impl Awaited {
    #[inline]
    fn core(&self) -> &FutureCore {
        match self {
            Awaited::Future(future) => future.core(),
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

fn resume(slf: &Ref<FutureIterator>, py: Python<'_>, _value: Option<&Obj>) -> Outcome<Sent> {
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
            Err(PyRuntimeError::new_err("await wasn't used with future").into())
        }
        State::Finished if !core.result.is_none() => match core.result() {
            Some(result) => Ok(Sent::Return(result)),
            None => Ok(Sent::Return(Obj::none(py))),
        },
        // An exception: asked for by name, so that it counts as retrieved and a subclass may answer.
        _ => {
            let result = call_method(py, awaited.object(), &names(py)?.result, &[]).map_err(PyErr::from);
            // Perhaps the last reference: its finalizer must not find an exception set.
            drop(awaited);
            Ok(Sent::Return(result?))
        }
    }
}

/// A new iterator.
#[inline]
pub(crate) fn create(py: Python<'_>, awaited: Awaited) -> PyResult<Obj> {
    let data = FutureIterator {
        awaited: Cell::new(Some(awaited)),
    };
    Ok(Ref::create(py, data)?.into_obj())
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
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
                        let error = Thrown::new(args)?.into_error();
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
    Ok(())
}
