//! The operating system, and the only unsafe code of this crate.
//!
//! # What a backend must keep
//!
//! The rest of the crate is written against [`Poller`] and `EventFd`. There is one backend, epoll
//! on Linux; one for kqueue or IOCP is complete when it keeps these promises:
//!
//! 1. **Registrations are named by tokens.** `add` ties a descriptor to a [`Token`](crate::Token);
//!    every event of it carries that token and nothing else. A registration never outlives the open
//!    file that it was made for, so a new file under the same number starts unregistered.
//! 2. **Level-triggered.** As long as a descriptor is ready, each `wait` says so again. With
//!    [`Interest::ONCE`](crate::Interest::ONCE) the registration instead falls silent after its
//!    first event, also about errors, and stays known until `modify` wakes it or `remove` ends it.
//! 3. **Errors and hangups are events in both directions**, whether asked for or not. A descriptor
//!    that must not report them has to be removed; that is why nobody registers `Interest::NONE`.
//! 4. **`modify` looks at the descriptor as it is now.** If it is ready for the new interest, the next
//!    `wait` reports it. It fails with `ENOENT` when the number means another file by now, and `add`
//!    fails with `EEXIST` when the file is registered already: the reactor tells reused descriptors
//!    by these two, so a backend whose kernel does not must keep book itself.
//! 5. **`remove` does not fail** on a descriptor that is closed or was reused; there is nothing left
//!    to remove then.
//! 6. **`wait` is never early.** A timeout is kept to the nanosecond where the kernel can and rounded up
//!    otherwise. `Some(Duration::ZERO)` only looks; `None` waits for an event. A signal ends the wait with
//!    `Ok` and no events, so that the caller can run its signal handlers.
//! 7. **Threads.** All methods take `&self` and may be called while another thread waits. The changes of
//!    one thread take effect for a wait that is under way.
//! 8. **`close` gives the kernel's resources back at once**, whoever still holds a reference; later calls
//!    fail with `EBADF`. After fork(2) the child's copy refuses every call and touches nothing, because the
//!    kernel's object is still the parent's.

#[allow(unsafe_code)]
mod address;
#[allow(unsafe_code)]
mod addrinfo;
#[allow(unsafe_code)]
mod datagram;
#[allow(unsafe_code)]
mod descriptor;
#[allow(unsafe_code)]
mod epoll;
mod eventfd;
#[allow(unsafe_code)]
mod fork;
#[allow(unsafe_code)]
mod pidfd;
#[allow(unsafe_code)]
mod thread;

pub(crate) use address::decode as decode_address;
pub(crate) use addrinfo::{getaddrinfo, getnameinfo, interface_index};
pub use datagram::{Datagram, MOST_DATAGRAMS, ReceiveBatch, can_send_rows, receive_rows, send_batch};
pub use descriptor::borrow;
pub use epoll::Poller;
pub(crate) use eventfd::EventFd;
pub use fork::ForkMark;
pub(crate) use pidfd::send_signal;
pub use thread::before_exit;
pub(crate) use thread::block_signals;
