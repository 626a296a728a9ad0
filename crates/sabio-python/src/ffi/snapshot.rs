//! Contexts for callbacks without a copy for each of them.
//!
//! asyncio copies the current context for every callback, and the callback runs in its copy. A copy is only told apart
//! from another one by what a callback changes in it, so here all callbacks that were scheduled in the same state of
//! the same context share one *pristine* copy, which is never entered while it is shared. To run, a callback gets a
//! copy of the pristine one; a copy in which nothing was changed and to which nobody refers serves the next callback.
//!
//! Whether a context is in the same state is seen by the address of its mapping, an immutable object that the
//! pristine copy keeps alive. That address, and the current context itself, lie in structures that CPython does not
//! publish: [`probe`] looks for their places when the module is initialised, and checks what it finds by entering,
//! changing and copying contexts. Where the check fails, every callback gets a copy of its own, as in asyncio.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::OnceLock;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::cell::ObjCell;
use super::context::{context_copy, context_copy_current, context_enter, context_exit};
use super::error::Outcome;
use super::image::words_of;
use super::object::Obj;
use super::visit::Visit;

/// Where CPython keeps what is compared here: offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    /// The current context in the state of a thread.
    current: usize,
    /// The mapping in a context.
    mapping: usize,
}

static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();

/// Words of a thread's state that are searched: fewer than any supported version has.
const THREAD_STATE_WORDS: usize = 40;

/// A context for a callback.
pub(crate) struct Captured {
    pub(crate) context: Obj,
    /// Whether it is a pristine copy: not to be entered while anybody else refers to it.
    pub(crate) shared: bool,
}

/// The pristine copy of the state in which a loop's callbacks were scheduled last.
#[derive(Default)]
pub(crate) struct ContextCache {
    pristine: ObjCell,
    mapping: Cell<usize>,
    /// A copy of the pristine one that is unchanged, and ours alone.
    spare: ObjCell,
}

impl ContextCache {
    /// The context for a callback that is scheduled now.
    #[inline]
    pub(crate) fn capture(&self, py: Python<'_>) -> Outcome<Captured> {
        let Some(mapping) = current_mapping(py) else {
            return Ok(Captured {
                context: context_copy_current(py)?,
                shared: false,
            });
        };
        if mapping == self.mapping.get()
            && let Some(context) = self.pristine.get()
        {
            return Ok(Captured {
                context,
                shared: true,
            });
        }
        self.capture_anew(py, mapping)
    }

    fn capture_anew(&self, py: Python<'_>, mapping: usize) -> Outcome<Captured> {
        let context = context_copy_current(py)?;
        self.mapping.set(mapping);
        let outdated = (self.pristine.replace(Some(context.clone())), self.spare.take());
        drop(outdated);
        Ok(Captured {
            context,
            shared: true,
        })
    }

    /// A context to enter instead of a pristine one that the caller owns.
    #[inline]
    pub(crate) fn enterable(&self, py: Python<'_>, pristine: &Obj) -> Outcome<Obj> {
        if std::ptr::eq(pristine.as_ptr(), self.pristine.as_ptr()) {
            if let Some(spare) = self.spare.take() {
                return Ok(spare);
            }
        } else if pristine.refcount() == 1 {
            return Ok(pristine.clone());
        }
        context_copy(py, pristine)
    }

    /// Keeps a context that a callback has left, if it is as good as new.
    #[inline]
    pub(crate) fn recycle(&self, used: Obj) {
        if used.refcount() == 1
            && mapping_of(&used).is_some_and(|mapping| mapping == self.mapping.get())
            && !self.pristine.is_none()
            && self.spare.is_none()
        {
            self.spare.set(Some(used));
        }
    }

    /// Lets go of everything: an idle loop keeps nobody's values alive.
    #[inline]
    pub(crate) fn clear(&self) {
        if !self.pristine.is_none() {
            self.mapping.set(0);
            drop((self.pristine.take(), self.spare.take()));
        }
    }

    /// Shows what it owns.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.pristine);
        visit.slot(&self.spare);
    }
}

/// The address of the mapping of this thread's current context, if there is one and it can be told.
#[inline]
fn current_mapping(_py: Python<'_>) -> Option<usize> {
    let layout = (*LAYOUT.get()?)?;
    // SAFETY: attached, so the thread has a state; the probe has found the current context at this place of it, and
    // the mapping at this place of a context.
    unsafe {
        let state = thread_state();
        let current = *state.byte_add(layout.current).cast::<*mut c_void>();
        (!current.is_null()).then(|| *current.byte_add(layout.mapping).cast::<usize>())
    }
}

/// The address of the mapping of a context.
#[inline]
fn mapping_of(context: &Obj) -> Option<usize> {
    let layout = (*LAYOUT.get()?)?;
    // SAFETY: only called with contexts; the probe has found the mapping at this place.
    Some(unsafe { *context.as_ptr().byte_add(layout.mapping).cast::<usize>() })
}

#[inline]
fn thread_state() -> *mut c_void {
    // SAFETY: called on an attached thread.
    #[cfg(Py_3_13)]
    unsafe {
        py_ffi::PyThreadState_GetUnchecked().cast()
    }
    // SAFETY: called on an attached thread.
    #[cfg(not(Py_3_13))]
    unsafe {
        py_ffi::PyThreadState_Get().cast()
    }
}

/// Looks for the layout, once.
pub(crate) fn probe(py: Python<'_>) -> PyResult<()> {
    if LAYOUT.get().is_none() {
        let layout = find_layout(py)?;
        let _ = LAYOUT.set(layout);
    }
    Ok(())
}

/// Whether contexts are shared here; for tests.
pub(crate) fn is_sharing() -> bool {
    LAYOUT.get().is_some_and(Option::is_some)
}

fn find_layout(py: Python<'_>) -> PyResult<Option<Layout>> {
    let module = py.import("contextvars")?;
    let variable = module.getattr("ContextVar")?.call1(("sabio probe",))?;
    let contexts: Vec<Obj> = (0..3)
        .map(|_| Ok(Obj::from(module.getattr("Context")?.call0()?)))
        .collect::<PyResult<_>>()?;
    let [changed, unchanged, other] = contexts.as_slice() else {
        return Ok(None);
    };

    let before = words_of(changed);
    changed
        .bind(py)
        .call_method1("run", (variable.getattr("set")?, 1))?;
    let after = words_of(changed);
    let copy = words_of(&context_copy(py, changed)?);
    let fresh = words_of(unchanged);
    let mut mappings = (2..after.len()).filter(|&word| {
        before[word] != after[word]
            && after[word] == copy[word]
            && before[word] == fresh[word]
            && before[word] != 0
    });
    let (Some(mapping), None) = (mappings.next(), mappings.next()) else {
        return Ok(None);
    };

    let holding = |context: &Obj| -> PyResult<Vec<usize>> {
        context_enter(py, context)?;
        let state = thread_state();
        let places = (0..THREAD_STATE_WORDS)
            .filter(|&word| {
                // SAFETY: the state of a thread has more words than that.
                let value = unsafe { *state.cast::<usize>().add(word) };
                value == context.as_ptr().addr()
            })
            .collect();
        context_exit(py, context)?;
        Ok(places)
    };
    let (first, second) = (holding(changed)?, holding(other)?);
    match (first.as_slice(), second.as_slice()) {
        ([one], [two]) if one == two => {
            let layout = Layout {
                current: one * size_of::<usize>(),
                mapping: mapping * size_of::<usize>(),
            };
            Ok(Some(layout))
        }
        _ => Ok(None),
    }
}
