//! Waiting for a time on an event loop that is not ours: a future over its `call_later`.
//!
//! The loop's timer calls the alarm, which wakes whoever polls; dropping the future cancels the timer, as asyncio's
//! `sleep` does.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;

use crate::ffi::{
    Base, BoundFunction, Class, ClassBuilder, ClassCell, FunctionDef, FunctionDefinition, Obj, ObjCell, Ref,
    Visit,
};
use crate::waker::visit_waker;

/// What the timer calls.
pub(crate) struct Alarm {
    fired: Cell<bool>,
    waker: Cell<Option<Waker>>,
    timer: ObjCell,
}

static ALARM: ClassCell = ClassCell::new();

impl Class for Alarm {
    const NAME: &'static std::ffi::CStr = c"sabio._Alarm";

    fn cell() -> &'static ClassCell {
        &ALARM
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.timer);
        let waker = self.waker.take();
        if let Some(waker) = &waker {
            visit_waker(visit, waker);
        }
        self.waker.set(waker);
    }

    fn clear(&self) {
        self.timer.set(None);
        drop(self.waker.take());
    }
}

struct Ring;

static RING: FunctionDefinition = FunctionDefinition::new::<Ring>();

impl FunctionDef for Ring {
    const NAME: &'static std::ffi::CStr = c"wake_sleeper";

    fn definition() -> &'static FunctionDefinition {
        &RING
    }

    fn call(py: Python<'_>, slf: &Obj, _arg: &Obj) -> PyResult<Obj> {
        if let Some(alarm) = Ref::<Alarm>::downcast(slf.bind(py)) {
            alarm.fired.set(true);
            if let Some(waker) = alarm.waker.take() {
                waker.wake();
            }
        }
        Ok(Obj::none(py))
    }
}

/// A future that ends when `delay` has passed on this loop.
pub(crate) struct Alarmed(Ref<Alarm>);

impl Alarmed {
    /// Sets the timer. Whatever the loop's `call_later` raises.
    pub(crate) fn start(event_loop: &Bound<'_, PyAny>, delay: &Bound<'_, PyAny>) -> PyResult<Alarmed> {
        let py = delay.py();
        let alarm = Ref::create(
            py,
            Alarm {
                fired: Cell::new(false),
                waker: Cell::new(None),
                timer: ObjCell::new(None),
            },
        )?;
        let ring = BoundFunction::<Ring>::create(py, alarm.as_obj())?;
        let timer = event_loop.call_method1("call_later", (delay, ring.bind(py), py.None()))?;
        alarm.timer.set(Some(timer.into()));
        Ok(Alarmed(alarm))
    }
}

impl Future for Alarmed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.fired.get() {
            return Poll::Ready(());
        }
        drop(self.0.waker.replace(Some(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Alarmed {
    fn drop(&mut self) {
        drop(self.0.waker.take());
        let Some(timer) = self.0.timer.take() else { return };
        Python::attach(|py| {
            if let Err(error) = timer.bind(py).call_method0("cancel") {
                error.write_unraisable(py, Some(timer.bind(py)));
            }
        });
    }
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Alarm>::new(c"Wakes a sleeper on another loop.").build(py, &Base::Object)?;
    Ok(())
}
