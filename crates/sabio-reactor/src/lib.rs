//! What an event loop stands on: a poller, timers, a waker, tokens, sockets and a resolver pool.
//!
//! No Python in here. The binding puts a loop on top of it, and so could a Rust program:
//!
//! * [`Reactor`] knows which descriptors are watched for whom, and which timers are set;
//! * [`sys::Poller`] waits for them, and [`Waker`] ends the wait from another thread;
//! * [`socket`] and [`pipe`] make the nonblocking calls, and [`Resolver`] the blocking ones on threads of its own;
//! * [`process`] tells of child processes that end;
//! * [`remote`] lets a task wait for such a thread.
//!
//! A turn of a loop is: wait ([`sys::Poller::wait`]), hand each event to [`Reactor::fire`], wake what other
//! threads asked for ([`RemoteWakers::drain`]), take the timers that are due ([`Reactor::pop_due`]).
//!
//! One invariant holds in every module: no borrow and no lock is alive while a [`std::task::Waker`] is
//! woken, cloned or dropped, or while anything of the user's is dropped, because each of those may run
//! foreign code that comes straight back into the same object.

mod clock;
mod event;
mod interest;
pub mod pipe;
mod primitive;
pub mod process;
mod reactor;
mod remote;
mod resolver;
mod slab;
pub mod socket;
pub mod sys;
mod timer;
mod token;
mod waker;

pub use clock::Nanos;
pub use event::{CAPACITY, Event, Events};
pub use interest::Interest;
pub use reactor::{Closed, Due, Fired, Reactor, Readiness, Sleep};
pub use remote::{RemoteWaker, RemoteWakers, remote};
pub use resolver::{AddrInfo, NameInfo, Query, ResolveError, Resolver, numeric};
pub use slab::Slab;
pub use sys::{ForkMark, Poller};
pub use timer::{TimerKey, Timers};
pub use token::Token;
pub use waker::Waker;
