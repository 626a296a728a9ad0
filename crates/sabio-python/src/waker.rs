//! Who waits behind a waker that a primitive of ours holds: a task of ours, or somebody else's (see `foreign`).

use std::cell::Cell;
use std::task::Waker;

use sabio_sync::oneshot::Sender;

use crate::coroutine::Several;
use crate::ffi::{Obj, Visit, waker_target};
use crate::foreign::ForeignWaiter;
use crate::task::{Phase, Task};

/// Shows the garbage collector the task that an owned waker would wake, if it is one of ours.
pub(crate) fn visit_waker(visit: &mut Visit<'_>, waker: &Waker) {
    let _ = visit.waker_of::<Task>(waker)
        || visit.waker_of::<ForeignWaiter>(waker)
        || visit.waker_of::<Several>(waker);
}

/// Whether somebody waits for this waker to be used, who would not run otherwise.
pub(crate) fn is_waited_for(waker: &Waker) -> bool {
    waker_target::<Task, _>(waker, |task| task.phase().get() == Phase::Parked)
        .or_else(|| waker_target::<ForeignWaiter, _>(waker, |waiter| waiter.is_waited_for()))
        .unwrap_or(false)
}

/// Who waits behind a waker: a task of ours, or the future that another task was given.
pub(crate) fn waker_owner(waker: &Waker) -> Option<Obj> {
    waker_target::<Task, _>(waker, |task| Some(task.as_obj().clone()))
        .or_else(|| waker_target::<ForeignWaiter, _>(waker, |waiter| waiter.future()))
        .flatten()
}

/// Whether the task that a waker would wake has been cancelled and only has to run to notice it: what asyncio sees at
/// the future that such a task waits for.
pub(crate) fn is_doomed(waker: &Waker) -> bool {
    match waker_target::<Task, _>(waker, |task| task.is_interrupted()) {
        Some(interrupted) => interrupted,
        None => is_doomed_elsewhere(waker),
    }
}

#[cold]
#[inline(never)]
fn is_doomed_elsewhere(waker: &Waker) -> bool {
    waker_target::<ForeignWaiter, _>(waker, |waiter| waiter.is_cancelled()).unwrap_or(false)
}

/// Shows the waker of who waits for what the sender in the cell will send.
pub(crate) fn visit_sender(sender: &Cell<Option<Sender<()>>>, visit: &mut Visit<'_>) {
    let taken = sender.take();
    if let Some(sender) = &taken {
        sender.visit(&mut |waker| visit_waker(visit, waker));
    }
    sender.set(taken);
}
