//! `sabio.Event` (asyncio: Synchronization Primitives, Event).

use std::task::{Context, Poll};

use pyo3::prelude::*;
use sabio_sync::{Place, WaitQueue};

use super::waited::{Waited, give_true};
use super::{PublicClass, describe, only_parameter, waiter, with_waiters};
use crate::copying::{self, Copied};
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, Ref, Visit};
use crate::loop_binding::{self, LoopBinding, LoopBound};
use crate::waker::{is_doomed, visit_waker};

/// The data of `sabio.Event`.
pub(crate) struct Event {
    state: sabio_sync::EventState,
    binding: LoopBinding,
}

static EVENT: ClassCell = ClassCell::new();
static PUBLIC: PublicClass = PublicClass::new();

impl Class for Event {
    const NAME: &'static std::ffi::CStr = c"sabio._EventCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &EVENT
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.binding.visit(visit);
        self.state.waiters().visit(&mut |waker| visit_waker(visit, waker));
    }

    fn clear(&self) {
        self.binding.set(None);
    }
}

impl LoopBound for Event {
    fn binding(&self) -> &LoopBinding {
        &self.binding
    }
}

impl Waited for Event {
    #[inline]
    fn take(&self) -> bool {
        self.state.is_set()
    }

    #[inline]
    fn poll(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        self.state.poll_wait(place, cx)
    }

    fn line(&self) -> &WaitQueue {
        self.state.waiters()
    }

    fn leave(&self, place: &Place) {
        self.state.leave(place);
    }
}

fn repr(slf: &Ref<Event>, py: Python<'_>) -> PyResult<Obj> {
    let state = if slf.state.is_set() { "set" } else { "unset" };
    let state = with_waiters(state.to_owned(), slf.state.waiters());
    describe(py, slf.as_obj(), &state)
}

impl Copied for Event {
    const STATE: &'static [&'static str] = &["_value", "_loop"];

    fn is_in_use(&self) -> bool {
        self.state.waiters().inside() > 0
    }
}

fn define(table: &mut MethodTable<Event>) {
    loop_binding::define(table);
    copying::define(table);
    table
        .fast_noargs(
            c"wait",
            c"wait($self, /)\n--\n\nWait until the event is set; gives True.",
            |slf, py| give_true(py, "Event.wait", slf),
        )
        .fast_noargs(
            c"set",
            c"set($self, /)\n--\n\nSet the event and wake everybody who waits for it.",
            |slf, _py| {
                slf.state.set();
                Ok(())
            },
        )
        .fast_noargs(
            c"clear",
            c"clear($self, /)\n--\n\nClear the event: tasks wait for the next set().",
            |slf, _py| {
                slf.state.clear();
                Ok(())
            },
        )
        .fast_noargs(
            c"is_set",
            c"is_set($self, /)\n--\n\nWhether the event is set.",
            |slf, _py| Ok(slf.state.is_set()),
        )
        .attribute(
            c"_value",
            c"Whether the event is set.",
            |slf, _py| Ok(slf.state.is_set()),
            |slf, value| {
                if value.is_truthy()? {
                    slf.state.set();
                } else {
                    slf.state.clear();
                }
                Ok(())
            },
        )
        .getter(c"_waiters", c"Who waits, at this moment.", |slf, py| {
            waiter::list(py, slf.state.waiters())
        });
}

/// Builds the class and adds it to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<Event>::new(c"The native part of sabio.Event.")
        .members(define)
        .constructor(|_class, _args, _kwargs| {
            Ok(Event {
                state: sabio_sync::EventState::with_doomed(is_doomed),
                binding: LoopBinding::default(),
            })
        })
        .initializer(|slf, args, kwargs| only_parameter(slf.as_obj(), None, args, kwargs).map(drop))
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc = "Event()\n--\n\nA flag that tasks wait for (asyncio: Event).";
    EVENT.set_public(&PUBLIC.publish(module, "Event", doc, &core)?)?;
    Ok(())
}
