//! What waiting means, as plain async Rust over [`std::task::Waker`].
//!
//! Nothing in here knows Python, a descriptor or a clock: whoever polls these futures decides
//! what a task is. The binding polls them from Python tasks, the tests from a small executor.
//!
//! One invariant holds in every module: no lock and no `RefCell` borrow is alive while a waker is
//! woken, cloned or dropped, or while a value of the user's is dropped, because each of those may
//! run foreign code that comes straight back into the same object.
#![forbid(unsafe_code)]

mod barrier;
mod byte_queue;
mod condition;
mod event;
mod lock;
mod message_buffer;
pub mod oneshot;
mod primitive;
mod queue;
mod race;
mod semaphore;
pub mod separator;
mod staggered;
mod store;
mod waiters;
mod yield_now;

pub use barrier::{Barrier, BarrierState, Broken};
pub use byte_queue::ByteQueue;
pub use condition::{Catch, Condition, Monitor};
pub use event::{Event, EventState, WaitForEvent};
pub use lock::{AcquireLock, Lock, LockState, NotAcquired};
pub use message_buffer::{MessageBuffer, Messages};
pub use queue::{GetError, Line, PutError, Queue, TooManyDone, WaitError};
pub use race::{Either, race};
pub use semaphore::{AcquireSemaphore, Semaphore, SemaphoreState};
pub use staggered::staggered_race;
pub use store::{Fifo, Lifo, Store};
pub use waiters::{Place, Wait, WaitQueue, Waiters};
pub use yield_now::{YieldNow, yield_now};
