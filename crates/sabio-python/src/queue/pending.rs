//! The items of `put()` coroutines that have not put them yet.
//!
//! They lie here, where the queue shows them to the garbage collector, because what a Rust future holds it does not see.

use std::cell::RefCell;
use std::rc::Rc;

use super::State;
use crate::ffi::{Obj, Visit};

/// Items, each at the place that its [`Ticket`] names.
#[derive(Default)]
pub(super) struct Pending(RefCell<Places>);

#[derive(Default)]
struct Places {
    items: Vec<Option<Obj>>,
    free: Vec<usize>,
}

impl Pending {
    fn add(&self, item: Obj) -> usize {
        let mut places = self.0.borrow_mut();
        if let Some(place) = places.free.pop() {
            places.items[place] = Some(item);
            return place;
        }
        places.items.push(Some(item));
        places.items.len() - 1
    }

    fn remove(&self, place: usize) -> Option<Obj> {
        let mut places = self.0.borrow_mut();
        places.free.push(place);
        places.items[place].take()
    }

    /// Shows the items to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        if let Ok(places) = self.0.try_borrow() {
            for item in &places.items {
                visit.option(item.as_ref());
            }
        }
    }

    /// Lets go of the items; the places stay with their tickets.
    pub(super) fn clear(&self) {
        let count = self.0.borrow().items.len();
        for place in 0..count {
            let item = self.0.borrow_mut().items[place].take();
            drop(item);
        }
    }
}

/// The claim of one `put()` to its item, and to the queue's state.
pub(super) struct Ticket {
    pub(super) state: Rc<State>,
    place: usize,
    taken: bool,
}

impl Ticket {
    /// Leaves `item` with the queue.
    pub(super) fn new(state: Rc<State>, item: Obj) -> Ticket {
        let place = state.store().pending.add(item);
        Ticket {
            state,
            place,
            taken: false,
        }
    }

    /// Takes the item back, once. None if the garbage collector has had it.
    pub(super) fn take(&mut self) -> Option<Obj> {
        if std::mem::replace(&mut self.taken, true) {
            return None;
        }
        self.state.store().pending.remove(self.place)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        drop(self.take());
    }
}
