//! libssl, called directly: the session of an `SSLObject`, with bytes in and bytes out and no Python object between.
//!
//! [`Library`] is what one can call: functions of the very libssl that the interpreter's `_ssl` is linked with, and the
//! knowledge of where a `_ssl._SSLSocket` keeps its `SSL*`. Both are checked with objects made for the purpose before
//! anything is followed; where a check fails there is no `Library`, and its caller learns why. [`Session`] is one
//! connection. Its bytes come from and go to a [`wire`](self::wire), a BIO of ours in the place of the two memory BIOs,
//! which makes no objects and holds no memory while the connection is idle.
//!
//! Invariants: no key and no certificate passes through here, they stay in the `SSLContext`; the GIL is held in every
//! call; nothing of ours is borrowed while libssl runs, because libssl may call back into Python; the thread's error
//! queue is empty when a call begins and, once a failure has been raised, afterwards.

mod functions;
mod layout;
mod library;
mod session;
mod wire;

pub(crate) use library::Library;
pub(crate) use session::{Session, Step};
