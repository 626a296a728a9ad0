//! Subprocesses (asyncio: Subprocesses): from `subprocess.Popen` to a transport with three pipes that knows when its
//! process ends.
//!
//! `transport` is the `SubprocessTransport`, `spawn` how one comes to be, `exit` how the end of the process is seen (by a
//! pidfd in the poller) and its status taken, `pipe_protocol` what stands between the transport and each of its pipes.
//! The loop's methods are in `event_loop::subprocess`.
//!
//! Invariants: a process that was started is waited for, whatever becomes of its transport, while the loop lives; its
//! status is taken once, from that process and no other; a transport calls its protocol's `connection_made` first and
//! `connection_lost` last, after the process has ended and all its pipes are closed.

mod exit;
mod pipe_protocol;
mod spawn;
mod transport;

use pyo3::prelude::*;

pub(crate) use exit::{look_at_all, ready};
pub(crate) use pipe_protocol::PipeProtocol;
pub(crate) use spawn::{Running, Start, begin, give_up, spawn};
pub(crate) use transport::ProcessTransport;

/// Builds the classes.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    pipe_protocol::init(module.py())?;
    transport::init(module)
}
