//! What a native coroutine runs: a Rust future, or a method that finishes at once where it can and waits in place where
//! it must.

use std::future::Future as StdFuture;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;
use sabio_sync::Place;

use crate::awaiter::Awaiter;
use crate::ffi::{Obj, ObjCell, Outcome};

/// A Rust future of a coroutine. An error is set in the interpreter, not carried: results travel in registers.
pub(crate) type BoxFuture = Pin<Box<dyn StdFuture<Output = Outcome<Obj>>>>;

#[inline]
pub(crate) fn boxed(future: impl StdFuture<Output = PyResult<Obj>> + 'static) -> BoxFuture {
    Box::pin(async move { Ok(future.await?) })
}

/// What a method does when its coroutine is first resumed: see `coroutine::create_method`. Gets the object and the
/// argument, which it may take.
pub(crate) type Begin = fn(Python<'_>, &Obj, &ObjCell) -> Outcome<Begun>;

/// How far a method came at once.
pub(crate) enum Begun {
    /// It has finished, with this result.
    Done(Obj),
    /// The rest of it, which awaits Python objects or catches what is thrown.
    Awaits(Box<(Awaiter, BoxFuture)>),
}

impl Begun {
    /// The rest of the method is the future that `make` gives.
    pub(crate) fn awaits<F>(make: impl FnOnce(Awaiter) -> F) -> Begun
    where
        F: StdFuture<Output = PyResult<Obj>> + 'static,
    {
        let awaiter = Awaiter::default();
        let future = make(awaiter.clone());
        Begun::Awaits(Box::new((awaiter, boxed(future))))
    }
}

/// Waiting for a primitive. All that there is of it, the object and the place in its line, lies in the coroutine: no
/// future has to be made.
pub(crate) struct Wait {
    /// Finishes the method if nothing has to be waited for, for who is driven by no task of ours and may not be able to
    /// wait. Gets the object and the argument, as [`Begin`].
    pub(crate) at_once: fn(Python<'_>, &Obj, &ObjCell) -> Outcome<Option<Obj>>,
    /// Polls from the place, where the method may just begin, and finishes it.
    pub(crate) poll: fn(Python<'_>, &Obj, &ObjCell, &Place, &mut Context<'_>) -> Poll<Outcome<Obj>>,
    /// Takes the waker of who waits in the place, which is polled from again, or given up, at once.
    pub(crate) take_waker: fn(Python<'_>, &Obj, &Place) -> Option<Waker>,
    /// Gives the place up: the coroutine will not go on.
    pub(crate) leave: fn(Python<'_>, &Obj, &Place),
}
