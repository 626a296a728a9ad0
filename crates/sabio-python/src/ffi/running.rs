//! Where the state of a thread holds the task that asyncio runs on it (CPython 3.14 and later): to ask for the current
//! task, and to exchange it, without a call.
//!
//! The structure is not published. So [`find`] makes a loop and a task of its own current by asyncio's functions and
//! looks for the two: the words are used if there is one such pair, if the state owns the task, and if the pair goes
//! with the next calls. Where that is not so, nothing is known here, and the caller asks asyncio's functions.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, AtomicUsize};

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::PyModule;

use super::object::Obj;

/// How many words of the state are looked at: it has some more, in debug builds, too.
const WORDS: usize = if cfg!(Py_3_15) { 136 } else { 116 };

/// Which word is the running loop, the task being the next one; 0 if that is not known.
static PLACE: AtomicUsize = AtomicUsize::new(0);

type Word = AtomicPtr<py_ffi::PyObject>;

/// The state of the calling thread.
#[inline(always)]
fn state<'py>(_py: Python<'py>) -> &'py [Word; WORDS] {
    // SAFETY: this thread is attached, so that it has a state, which has that many words and lives for as long as it is.
    // They are read and written as a whole, and those in question by this thread alone.
    unsafe { &*py_ffi::PyThreadState_GetUnchecked().cast() }
}

/// The running loop and the running task of this thread.
#[inline(always)]
fn pair<'py>(py: Python<'py>) -> Option<&'py [Word; 2]> {
    match PLACE.load(Relaxed) {
        0 => None,
        // SAFETY: `find` has seen two words there, and looks at no others than those of the state.
        place => Some(unsafe { &*std::ptr::from_ref(state(py)).cast::<Word>().add(place).cast() }),
    }
}

/// Whether it is known where the task is.
#[inline(always)]
pub(crate) fn is_known() -> bool {
    PLACE.load(Relaxed) != 0
}

/// Looks for the place; `module` is `_asyncio`.
pub(crate) fn find(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let marker = || PyResult::Ok(Obj::from(py.import("builtins")?.getattr("object")?.call0()?));
    let (event_loop, task) = (marker()?, marker()?);
    let before = module.call_method0("_get_running_loop")?;
    module.call_method1("_set_running_loop", (event_loop.bind(py),))?;
    let found = look(module, &event_loop, &task);
    module.call_method1("_set_running_loop", (before,))?;
    if let Some(place) = found?
        && !is(&state(py)[place], &event_loop)
        && task.refcount() == 1
    {
        PLACE.store(place, Relaxed);
    }
    Ok(())
}

fn is(word: &Word, object: &Obj) -> bool {
    std::ptr::eq(word.load(Relaxed), object.as_ptr())
}

fn look(module: &Bound<'_, PyModule>, event_loop: &Obj, task: &Obj) -> PyResult<Option<usize>> {
    let py = module.py();
    let swap = |task: &Obj| {
        let before = module.call_method1("_swap_current_task", (event_loop.bind(py), task.bind(py)))?;
        PyResult::Ok(Obj::from(before))
    };
    let before = swap(task)?;
    let mut places = (1..WORDS - 1).filter(|place| {
        let words = state(py);
        is(&words[*place], event_loop) && is(&words[place + 1], task)
    });
    let place = places
        .next()
        .filter(|_| places.next().is_none() && task.refcount() == 2);
    drop(swap(&Obj::none(py))?);
    let place = place.filter(|place| state(py)[place + 1].load(Relaxed).is_null());
    drop(swap(&before)?);
    Ok(place)
}

/// The task that runs on this thread, if it is known and there is one.
#[inline(always)]
pub(crate) fn running_task(py: Python<'_>) -> Option<Obj> {
    let [_, task] = pair(py)?;
    let task = task.load(Relaxed);
    // SAFETY: the state owns a reference, and is not changed between these two lines.
    (!task.is_null()).then(|| unsafe { Obj::from_borrowed(task) })
}

/// What came of an attempt to exchange the running task.
pub(crate) enum Exchanged {
    /// It is done.
    Done,
    /// Another task runs; nothing is changed.
    Occupied(Obj),
    /// It is not known where the task is, or another loop runs on this thread; nothing is changed.
    Unknown,
}

/// Makes `new` the running task, or none, in the place of `old`, or of none.
#[inline(always)]
pub(crate) fn exchange(py: Python<'_>, event_loop: &Obj, old: Option<&Obj>, new: Option<&Obj>) -> Exchanged {
    let Some([running_loop, task]) = pair(py) else {
        return Exchanged::Unknown;
    };
    if !is(running_loop, event_loop) {
        return Exchanged::Unknown;
    }
    let before = task.load(Relaxed);
    // SAFETY: the state owns a reference to the task: it is borrowed in the first case, and given away by it in the last.
    unsafe {
        if !before.is_null() && old.is_none_or(|old| !std::ptr::eq(old.as_ptr(), before)) {
            return Exchanged::Occupied(Obj::from_borrowed(before));
        }
        task.store(
            new.map_or(std::ptr::null_mut(), |new| new.clone().into_ptr()),
            Relaxed,
        );
        if !before.is_null() {
            drop(Obj::from_owned(before));
        }
    }
    Exchanged::Done
}
