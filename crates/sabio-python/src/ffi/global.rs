//! Python objects that live as long as the process, in a `static`. They belong to its first interpreter.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PySystemError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A value that is set once, when the module is initialised, and read on attached threads only.
pub(crate) struct Global<T>(OnceLock<Attached<T>>);

struct Attached<T>(T);

// SAFETY: the value is only ever lent with a `Python` token, that is on an attached thread, and never dropped.
unsafe impl<T> Send for Attached<T> {}
// SAFETY: as above; with the GIL only one thread is attached at a time.
unsafe impl<T> Sync for Attached<T> {}

impl<T> Global<T> {
    /// An empty place.
    pub(crate) const fn new() -> Global<T> {
        Global(OnceLock::new())
    }

    /// Sets the value; a second call keeps the first value.
    pub(crate) fn set(&self, _py: Python<'_>, value: T) {
        let mut value = Some(Attached(value));
        let _ = self.0.get_or_init(|| match value.take() {
            Some(value) => value,
            None => unreachable!("the closure runs at most once"),
        });
        std::mem::forget(value);
    }

    /// The value, if it has been set.
    pub(crate) fn try_get(&self, _py: Python<'_>) -> Option<&T> {
        self.0.get().map(|value| &value.0)
    }

    /// The value. Only to be asked for after the module was initialised, as everything that Python can reach is.
    #[inline(always)]
    pub(crate) fn get(&self, _py: Python<'_>) -> PyResult<&T> {
        match self.0.get() {
            Some(value) => Ok(&value.0),
            None => uninitialised(),
        }
    }
}

#[cold]
fn uninitialised() -> ! {
    unreachable!("the module initialises its globals before it has any object that could ask for them")
}

/// Has PyO3 find out that the interpreter runs, which it does at the first attachment of a thread. That must not come in a
/// finalizer that the interpreter calls while it shuts down, because the answer would end the process; nor before `site`
/// has been imported, when 3.15 says that it does not run yet. So this is called when the module is imported, and, for
/// an import that comes so early, when a loop is made.
pub(crate) fn meet_interpreter(py: Python<'_>) {
    static MET: AtomicBool = AtomicBool::new(false);
    // SAFETY: the function only reads a flag of the runtime's.
    if !MET.load(Relaxed) && unsafe { py_ffi::Py_IsInitialized() } != 0 {
        py.detach(|| Python::attach(|_| ()));
        MET.store(true, Relaxed);
    }
}

/// Whether the current interpreter is the one that the process started with (PEP 734 has others).
pub(crate) fn is_main_interpreter(_py: Python<'_>) -> bool {
    // SAFETY: this thread is attached, as the token says; both functions only read a pointer of the runtime's.
    unsafe { py_ffi::PyInterpreterState_Get() == py_ffi::PyInterpreterState_Main() }
}

/// Whether the module was made before.
static MADE: AtomicBool = AtomicBool::new(false);

/// Whether this interpreter is the first one in which the module is made. A program that embeds the interpreter may end
/// and start it again: it is another one then, in which nothing is alive that the statics here hold.
///
/// # Errors
/// MemoryError; SystemError if the interpreter has no place for what belongs to it.
pub(crate) fn is_first_start(py: Python<'_>) -> PyResult<bool> {
    // SAFETY: this thread is attached; the function gives a borrowed dict that lives as long as the interpreter.
    let state = unsafe { py_ffi::PyInterpreterState_GetDict(py_ffi::PyInterpreterState_Get()) };
    if state.is_null() {
        return Err(PySystemError::new_err("the interpreter has no dict of its own"));
    }
    // SAFETY: not null, alive, and borrowed: a reference of our own is taken.
    let state = unsafe { Bound::from_borrowed_ptr(py, state) }.cast_into::<PyDict>()?;
    const MARK: &str = "sabio._sabio";
    if MADE.swap(true, Relaxed) {
        return state.contains(MARK);
    }
    state.set_item(MARK, true)?;
    Ok(true)
}
