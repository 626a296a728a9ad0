//! When transports send what callbacks and task steps have written to them.
//!
//! At first after each callback: what one of them writes leaves in one piece when it returns. A busy server, whose turns
//! answer many connections, computes first and sends then, for as many callbacks as take about [`TARGET`]: that is a good
//! deal cheaper than taking turns at it, because caches and branch predictors stay with one of the two, and because the
//! peers, who are woken by what is sent, come back with their next messages together. The price is that an answer waits
//! for the callbacks behind it. So the loop has to learn first that they are short, and where they turn out to be long it
//! sends after each of them again.
//!
//! Whatever is held leaves at the end of the turn. A transport that is asked how much it holds, that is closed or written
//! to with more than a little sends by itself, and so does one whose own protocol answers what it has just been given,
//! but for TLS, where so much lies between receiving and sending that it pays to wait there, too.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use pyo3::prelude::*;
use sabio_reactor::Nanos;

use super::Loop;
use crate::ffi::{LocalQueue, Outcome, Ref, Visit};
use crate::transport::{Datagram, Stream, Tls, WritePipe, datagram, flush, pipe, tls};

/// How long an answer may wait for the callbacks behind it.
const TARGET: Duration = Duration::from_millis(1);

/// So many callbacks are waited for at most.
const MOST_PATIENCE: u32 = 64;

/// A transport that has data to send.
pub(crate) enum CorkedTransport {
    Stream(Ref<Stream>),
    Datagram(Ref<Datagram>),
    Pipe(Ref<WritePipe>),
    Tls(Ref<Tls>),
}

/// The transports that have data to send, in the order in which they were written to.
pub(super) struct Corked {
    transports: LocalQueue<CorkedTransport>,
    /// After so many callbacks what has been written is sent, from the first that wrote on.
    patience: Cell<u32>,
    /// How many of them have run.
    held: Cell<u32>,
    /// When the first callback of this turn wrote, 0 if none did; and how many have run since that left data behind.
    since: Cell<u64>,
    callbacks: Cell<u32>,
}

impl Default for Corked {
    fn default() -> Corked {
        Corked {
            transports: LocalQueue::with_capacity(0),
            patience: Cell::new(1),
            held: Cell::new(0),
            since: Cell::new(0),
            callbacks: Cell::new(0),
        }
    }
}

impl Corked {
    /// Takes all out; they will not be flushed.
    pub(super) fn take_all(&self) -> VecDeque<CorkedTransport> {
        self.transports.take_all()
    }

    /// Shows the transports to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.queue(&self.transports, |visit, transport| {
            visit.obj(match transport {
                CorkedTransport::Stream(stream) => stream.as_obj(),
                CorkedTransport::Datagram(datagram) => datagram.as_obj(),
                CorkedTransport::Pipe(pipe) => pipe.as_obj(),
                CorkedTransport::Tls(transport) => transport.as_obj(),
            });
        });
    }

    /// A callback has run, and data is waiting: whether it must be sent before the next one runs.
    fn is_due(&self) -> bool {
        if self.since.get() == 0 {
            self.since.set(Nanos::now().0);
        }
        self.callbacks.set(self.callbacks.get() + 1);
        self.held.set(self.held.get() + 1);
        self.held.get() >= self.patience.get()
    }

    /// The turn is over: learns from how long its callbacks took.
    fn learn(&self) {
        let since = self.since.replace(0);
        let callbacks = u64::from(self.callbacks.replace(0));
        // How long a single callback takes is not known: the time runs from the end of the first.
        if since == 0 || callbacks < 2 {
            return;
        }
        let elapsed = Nanos::now().0.saturating_sub(since).max(1);
        let affordable = TARGET.as_nanos() as u64 * (callbacks - 1) / elapsed;
        let most = self.patience.get().saturating_mul(2).min(MOST_PATIENCE);
        let patience = affordable.clamp(1, u64::from(most));
        self.patience.set(patience as u32);
    }
}

impl Loop {
    /// Notes that `transport` has data to send.
    #[inline]
    pub(crate) fn cork(&self, transport: CorkedTransport) {
        self.corked.transports.push(transport);
    }

    /// After a callback or a step: sends what should not wait for the next one.
    #[inline]
    pub(super) fn uncork_due(slf: &Ref<Loop>, py: Python<'_>) -> Outcome<()> {
        if slf.corked.transports.is_empty() || !slf.corked.is_due() {
            return Ok(());
        }
        Loop::uncork_all(slf, py)
    }

    /// At the end of a turn: sends everything.
    #[inline(always)]
    pub(super) fn uncork(slf: &Ref<Loop>, py: Python<'_>) -> Outcome<()> {
        if slf.corked.since.get() == 0 && slf.corked.transports.is_empty() {
            return Ok(());
        }
        Loop::uncork_turn(slf, py)
    }

    #[inline(never)]
    fn uncork_turn(slf: &Ref<Loop>, py: Python<'_>) -> Outcome<()> {
        slf.corked.learn();
        Loop::uncork_all(slf, py)
    }

    fn uncork_all(slf: &Ref<Loop>, py: Python<'_>) -> Outcome<()> {
        slf.corked.held.set(0);
        if !slf.corked.transports.is_empty() {
            slf.expect_events();
        }
        while let Some(transport) = slf.corked.transports.pop() {
            match transport {
                CorkedTransport::Stream(stream) => flush(&stream, py)?,
                CorkedTransport::Datagram(transport) => datagram::flush(&transport, py)?,
                CorkedTransport::Pipe(pipe) => pipe::flush(&pipe, py)?,
                CorkedTransport::Tls(transport) => tls::flush(&transport, py)?,
            }
        }
        Ok(())
    }
}
