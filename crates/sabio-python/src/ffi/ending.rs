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
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use sabio_reactor::sys::before_exit;

    unsafe extern "C" {
        #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
        fn Py_IsFinalizing() -> c_int;
    }

    /// The thread that was here last, which is kept, by its number; 0 when it has ended. Asking a variable of the thread
    /// instead takes a function call in a library that is loaded late.
    static LAST: AtomicUsize = AtomicUsize::new(0);

    /// What tells the calling thread from all others that there are: where the C library keeps what it knows of it.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn number() -> usize {
        let pointer: usize;
        // SAFETY: the first word of that segment is the address of itself, by the ABI for variables of threads.
        unsafe {
            std::arch::asm!(
                "mov {}, qword ptr fs:[0]",
                out(reg) pointer,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        pointer
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn number() -> usize {
        let pointer: usize;
        // SAFETY: this register may be read by any program.
        unsafe {
            std::arch::asm!(
                "mrs {}, tpidr_el0",
                out(reg) pointer,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        pointer
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[inline(always)]
    fn number() -> usize {
        thread_local! {
            static PLACE: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
        }
        PLACE.with(|place| std::ptr::from_ref(place) as usize)
    }

    /// That the calling thread is kept. When it ends, its number may become that of another.
    struct Kept;

    impl Drop for Kept {
        fn drop(&mut self) {
            let _ = LAST.compare_exchange(number(), 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    thread_local! {
        static KEPT: Kept = {
            before_exit(stay);
            Kept
        };
    }

    #[inline(always)]
    pub(super) fn keep_thread() {
        if LAST.load(Ordering::Relaxed) != number() {
            begin();
        }
    }

    #[cold]
    fn begin() {
        if KEPT.try_with(|_| ()).is_ok() {
            LAST.store(number(), Ordering::Relaxed);
        }
    }

    /// The calling thread is about to be ended. If it is for the interpreter's end, it does not come back.
    fn stay() {
        // SAFETY: the function may be called at any time, by any thread.
        while unsafe { Py_IsFinalizing() } != 0 {
            std::thread::sleep(Duration::MAX);
        }
    }
}
