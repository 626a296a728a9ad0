//! What the Rust future of a coroutine holds while it waits, and the garbage collector must see.
//!
//! What a Rust future owns is invisible to the collector, so a cycle through it would never be freed: a task that waits
//! in a method of its loop would keep the loop, and the loop the task. The future therefore shares what it holds with
//! its coroutine, which shows it.
//!
//! Invariant: what is held is owned once, by all that share it, and shown once.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

use crate::awaiter::Awaiter;
use crate::ffi::{Class, Counted, Obj, Ref, Slot, Visit};

/// What owns Python objects and can show them.
pub(crate) trait Shown {
    /// Shows each object that it owns at most once.
    fn show(&self, visit: &mut Visit<'_>);
}

impl Shown for Obj {
    fn show(&self, visit: &mut Visit<'_>) {
        visit.obj(self);
    }
}

impl<T: Class> Shown for Ref<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        visit.obj(self.as_obj());
    }
}

impl<V: Counted> Shown for Slot<V> {
    fn show(&self, visit: &mut Visit<'_>) {
        visit.slot(self);
    }
}

impl<T: Shown> Shown for Option<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        if let Some(shown) = self {
            shown.show(visit);
        }
    }
}

impl<T: Shown, const N: usize> Shown for [T; N] {
    fn show(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|shown| shown.show(visit));
    }
}

impl<A: Shown, B: Shown> Shown for (A, B) {
    fn show(&self, visit: &mut Visit<'_>) {
        self.0.show(visit);
        self.1.show(visit);
    }
}

/// All that the future of one coroutine holds now.
#[derive(Default)]
pub(crate) struct Shelf(RefCell<Vec<Rc<dyn Shown>>>);

impl Shelf {
    /// Shows everything.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        // In the middle of a change nothing is shown: whoever changes it is alive.
        if let Ok(held) = self.0.try_borrow() {
            held.iter().for_each(|held| held.show(visit));
        }
    }

    fn take_in(&self, value: Rc<dyn Shown>) {
        self.0.borrow_mut().push(value);
    }

    /// Shows the value no more. It is not dropped here: the caller has it, too.
    fn forget(&self, value: *const ()) {
        let mut held = self.0.borrow_mut();
        let index = held
            .iter()
            .position(|held| std::ptr::eq(Rc::as_ptr(held).cast::<()>(), value));
        if let Some(index) = index {
            held.swap_remove(index);
        }
    }
}

/// A value that a future holds where the garbage collector sees it.
pub(crate) struct Held<T> {
    value: Rc<T>,
    awaiter: Awaiter,
}

impl<T: Shown + 'static> Held<T> {
    /// Holds a value for the future that has this awaiter.
    pub(crate) fn new(awaiter: &Awaiter, value: T) -> Held<T> {
        let value = Rc::new(value);
        awaiter.shelf().take_in(Rc::<T>::clone(&value));
        Held {
            value,
            awaiter: awaiter.clone(),
        }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.awaiter.shelf().forget(Rc::as_ptr(&self.value).cast());
    }
}
