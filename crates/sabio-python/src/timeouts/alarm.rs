//! What a loop holds while a timeout runs: the waker on the heap of its timers, or the callback of its handle.
//!
//! An alarm shares the state of its timeout and shows none of it to the garbage collector: that is done by the timeout
//! itself, or by the coroutine that waits, each of which takes the alarm back when it goes.

use std::rc::Rc;
use std::task::RawWakerVTable;

use pyo3::prelude::*;

use super::expiry::Expiry;
use crate::event_loop::Loop;
use crate::event_loop::errors::exit_or_report;
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, FunctionDef, FunctionDefinition, LocalWake, Obj, Outcome, Ref,
    Visit, waker_table,
};

/// The data of an alarm.
pub(crate) struct Alarm {
    expiry: Rc<Expiry>,
}

static ALARM: ClassCell = ClassCell::new();

impl Class for Alarm {
    const NAME: &'static std::ffi::CStr = c"sabio._TimeoutAlarm";
    const COLLECTED: bool = false;
    const RECYCLED: bool = true;

    fn cell() -> &'static ClassCell {
        &ALARM
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

static WAKER: RawWakerVTable = waker_table::<Alarm>();

impl LocalWake for Alarm {
    fn table() -> &'static RawWakerVTable {
        &WAKER
    }

    fn wake(slf: Ref<Alarm>) {
        slf.expiry.queue(&slf);
    }
}

impl Alarm {
    /// A new alarm of a timeout.
    #[inline]
    pub(super) fn create(py: Python<'_>, expiry: &Rc<Expiry>) -> Outcome<Ref<Alarm>> {
        Ref::create_with(py, || Alarm {
            expiry: Rc::clone(expiry),
        })
    }

    /// The alarm's entry of the ready queue has its turn. What a task of a foreign kind raises is reported.
    pub(crate) fn ring(&self, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
        self.expiry.run(py).or_else(|error| {
            let message = "Exception while cancelling a task whose time is up";
            exit_or_report(py, event_loop, error, message, &[])
        })
    }
}

/// The callback on another loop, bound to the alarm.
pub(super) struct OnTimeout;

static ON_TIMEOUT: FunctionDefinition = FunctionDefinition::new::<OnTimeout>();

impl FunctionDef for OnTimeout {
    const NAME: &'static std::ffi::CStr = c"_on_timeout";

    fn definition() -> &'static FunctionDefinition {
        &ON_TIMEOUT
    }

    fn call(py: Python<'_>, slf: &Obj, _none: &Obj) -> PyResult<Obj> {
        if let Some(alarm) = Ref::<Alarm>::downcast(slf.bind(py)) {
            alarm.expiry.expire(py)?;
        }
        Ok(Obj::none(py))
    }
}

/// Builds the class.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Alarm>::new(c"Ends a timeout.").build(py, &Base::Object)?;
    Ok(())
}
