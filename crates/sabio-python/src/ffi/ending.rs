//! Threads that meet the end of the interpreter.
//!
//! A daemon thread that asks for the interpreter while it ends gets it no more, in the middle of whatever it calls. From
//! 3.14 on such a thread waits for ever. Before, CPython ends it by pthread_exit(3), which unwinds its stack: through
//! functions of Rust, which is undefined and aborts the process most of the time. So every thread that runs a function
//! of ours is kept there as 3.14 keeps it: it waits, in the place where it was to end, until the process has ended.

/// Called by whatever CPython calls of us, unless it can run no Python code.
#[inline(always)]
pub(super) fn keep_thread() {
    #[cfg(not(Py_3_14))]
    before_3_14::keep_thread();
}

#[cfg(not(Py_3_14))]
mod before_3_14 {
    use std::cell::Cell;
    use std::ffi::c_int;
    use std::time::Duration;

    use sabio_reactor::sys::before_exit;

    unsafe extern "C" {
        #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
        fn Py_IsFinalizing() -> c_int;
    }

    thread_local! {
        static KEPT: Cell<bool> = const { Cell::new(false) };
    }

    #[inline(always)]
    pub(super) fn keep_thread() {
        if !KEPT.get() {
            begin();
        }
    }

    #[cold]
    fn begin() {
        KEPT.set(true);
        before_exit(stay);
    }

    /// The calling thread is about to be ended. If it is for the interpreter's end, it does not come back.
    fn stay() {
        // SAFETY: the function may be called at any time, by any thread.
        while unsafe { Py_IsFinalizing() } != 0 {
            std::thread::sleep(Duration::MAX);
        }
    }
}
