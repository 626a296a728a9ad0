//! Whether somebody is told of exceptions as they are raised: a debugger, or any other tracer.
//!
//! The StopIteration by which an `await` ends is one that they pass over, and they know it by its class. On 3.12 tools of
//! `sys.monitoring` cannot be asked for cheaply, so that only tracers of `sys.settrace()` are known there.

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

/// By the monitoring of the interpreter (PEP 669; C API: Monitoring C API), which tracers of `sys.settrace()` are served by, too.
#[cfg(Py_3_13)]
mod by_monitoring {
    use std::cell::UnsafeCell;
    use std::ffi::c_int;
    use std::sync::atomic::AtomicU8;

    use super::py_ffi;

    /// What the interpreter says of one event (`PyMonitoringState`).
    #[repr(C)]
    struct State {
        active: u8,
        opaque: u8,
    }

    unsafe extern "C" {
        fn PyMonitoring_EnterScope(
            states: *mut State,
            version: *mut u64,
            events: *const u8,
            length: py_ffi::Py_ssize_t,
        ) -> c_int;
    }

    /// The number of the event.
    pub(super) static RAISE: AtomicU8 = AtomicU8::new(0);

    /// What was said last, and of which version of the interpreter's tools.
    struct Last(UnsafeCell<(State, u64)>);

    // SAFETY: touched by attached threads alone, under the GIL.
    unsafe impl Sync for Last {}

    static LAST: Last = Last(UnsafeCell::new((State { active: 0, opaque: 0 }, 0)));

    #[inline(always)]
    pub(super) fn is_raise_active() -> bool {
        // SAFETY: one state for one event, and no reference to it or to the version, which are written if the version is
        // another one by now. The number is that of an event, or 0, which is one, too; it is only written by `init`.
        unsafe {
            let last = LAST.0.get();
            PyMonitoring_EnterScope(&raw mut (*last).0, &raw mut (*last).1, RAISE.as_ptr(), 1);
            (*last).0.active != 0
        }
    }
}

/// By `sys.gettrace()`, asked without the way to it.
#[cfg(not(Py_3_13))]
mod by_tracer {
    use std::sync::atomic::{AtomicPtr, Ordering};

    use super::super::object::Obj;
    use super::py_ffi;

    pub(super) static GET_TRACE: AtomicPtr<py_ffi::PyCFunctionObject> = AtomicPtr::new(std::ptr::null_mut());

    #[inline(always)]
    pub(super) fn is_traced() -> bool {
        let function = GET_TRACE.load(Ordering::Relaxed);
        // SAFETY: null, or a function without arguments that is never freed, called as its definition states: a new
        // reference, or null with an exception set.
        unsafe {
            if function.is_null() {
                return false;
            }
            let tracer = ((*(*function).m_ml).ml_meth.PyCFunction)((*function).m_self, std::ptr::null_mut());
            if tracer.is_null() {
                py_ffi::PyErr_Clear();
                return false;
            }
            let is_none = std::ptr::eq(tracer, py_ffi::Py_None());
            drop(Obj::from_owned(tracer));
            !is_none
        }
    }
}

/// Whether the calling thread's exceptions may be told to somebody.
#[inline(always)]
pub(super) fn are_exceptions(_py: Python<'_>) -> bool {
    #[cfg(Py_3_13)]
    return by_monitoring::is_raise_active();
    #[cfg(not(Py_3_13))]
    return by_tracer::is_traced();
}

/// Learns whom to ask.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    #[cfg(Py_3_13)]
    {
        let events = sys.getattr("monitoring")?.getattr("events")?;
        let raise: u32 = events.getattr("RAISE")?.extract()?;
        by_monitoring::RAISE.store(raise.trailing_zeros() as u8, std::sync::atomic::Ordering::Relaxed);
    }
    #[cfg(not(Py_3_13))]
    {
        let function = sys.getattr("gettrace")?;
        // SAFETY: a live object; it is kept for ever.
        unsafe {
            let pointer = function.as_ptr();
            if py_ffi::PyCFunction_CheckExact(pointer) != 0 {
                let function = pointer.cast::<py_ffi::PyCFunctionObject>();
                if (*(*function).m_ml).ml_flags == py_ffi::METH_NOARGS {
                    py_ffi::Py_INCREF(pointer);
                    by_tracer::GET_TRACE.store(function, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
    }
    Ok(())
}
