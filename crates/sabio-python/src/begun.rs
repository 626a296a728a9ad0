//! What a native coroutine runs: a Rust future, or a method that finishes at once where it can.

use std::future::Future as StdFuture;
use std::pin::Pin;
use std::task::{Context, Poll};

use pyo3::prelude::*;

use crate::awaiter::Awaiter;
use crate::ffi::{Obj, Outcome};

/// What a native coroutine runs. An error is set in the interpreter, not carried: results travel in registers.
pub(crate) type BoxFuture = Pin<Box<dyn StdFuture<Output = Outcome<Obj>>>>;

#[inline]
pub(crate) fn boxed(future: impl StdFuture<Output = PyResult<Obj>> + 'static) -> BoxFuture {
    Box::pin(async move { Ok(future.await?) })
}

/// What a method does when its coroutine is first resumed: see `coroutine::create_method`. Gets the object and the argument.
pub(crate) type Begin = fn(Python<'_>, &Obj, Option<Obj>) -> PyResult<Begun>;

/// How far a method came at once.
pub(crate) enum Begun {
    /// It has finished, with this result.
    Done(Obj),
    /// The rest of it.
    Waits(BoxFuture),
    /// The rest of it, which awaits Python objects or catches what is thrown.
    Awaits(Awaiter, BoxFuture),
}

impl Begun {
    /// The rest of the method is `future`.
    #[inline]
    pub(crate) fn waits(future: impl StdFuture<Output = PyResult<Obj>> + 'static) -> Begun {
        Begun::Waits(boxed(future))
    }

    /// The rest of the method is `wait`. It returns `result`, one of CPython's constants: the garbage collector does not
    /// see it.
    #[inline]
    pub(crate) fn waits_then(wait: impl StdFuture<Output = ()> + Unpin + 'static, result: Obj) -> Begun {
        Begun::Waits(Box::pin(Then { wait, result }))
    }

    /// As [`Begun::waits`], with an [`Awaiter`].
    pub(crate) fn awaits<F>(make: impl FnOnce(Awaiter) -> F) -> Begun
    where
        F: StdFuture<Output = PyResult<Obj>> + 'static,
    {
        let awaiter = Awaiter::default();
        let future = make(awaiter.clone());
        Begun::Awaits(awaiter, boxed(future))
    }
}

/// The future of [`Begun::waits_then`].
struct Then<F> {
    wait: F,
    result: Obj,
}

impl<F: StdFuture<Output = ()> + Unpin> StdFuture for Then<F> {
    type Output = Outcome<Obj>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<Obj>> {
        match Pin::new(&mut self.wait).poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(self.result.clone())),
            Poll::Pending => Poll::Pending,
        }
    }
}
