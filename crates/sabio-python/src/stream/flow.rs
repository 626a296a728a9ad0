//! Flow control between a transport and who writes to it: `drain()` waits while the transport is paused (asyncio:
//! `StreamWriter.drain`).

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use pyo3::exceptions::{PyAssertionError, PyConnectionResetError};
use pyo3::prelude::*;
use sabio_sync::Waiters;

use crate::ffi::{Obj, ObjCell, Visit, raising};
use crate::waker::visit_waker;

/// Whether writing is paused, and who waits for its end.
#[derive(Default)]
pub(super) struct Flow {
    paused: Cell<bool>,
    lost: Cell<bool>,
    /// Why the connection was lost.
    exception: ObjCell,
    /// How many times writing was resumed: who waited then does not mind a loss that comes after.
    resumed: Cell<u64>,
    waiters: OnceCell<Waiters>,
}

impl Flow {
    /// Whether writing is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Whether the connection is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Why the connection was lost, if not by being closed.
    pub(super) fn exception(&self) -> Option<Obj> {
        self.exception.get()
    }

    /// `pause_writing()`. AssertionError if it is paused.
    pub(super) fn pause(&self) -> PyResult<()> {
        if self.paused.replace(true) {
            return Err(PyAssertionError::new_err(()));
        }
        Ok(())
    }

    /// `resume_writing()`: everybody who waits goes on. AssertionError if it is not paused.
    pub(super) fn resume(&self) -> PyResult<()> {
        if !self.paused.replace(false) {
            return Err(PyAssertionError::new_err(()));
        }
        self.resumed.set(self.resumed.get() + 1);
        self.wake();
        Ok(())
    }

    /// `connection_lost(exc)`: everybody who waits goes on, or raises `exception`.
    pub(super) fn lose(&self, exception: Option<Obj>) {
        self.lost.set(true);
        self.exception.set(exception);
        if self.paused.get() {
            self.wake();
        }
    }

    /// As if the connection had not been lost.
    pub(super) fn regain(&self) {
        self.lost.set(false);
        self.exception.set(None);
    }

    fn wake(&self) {
        if let Some(waiters) = self.waiters.get() {
            waiters.wake_all();
        }
    }

    /// Waits while writing is paused.
    ///
    /// # Errors
    /// ConnectionResetError if the connection is lost already; the exception with which it is lost meanwhile.
    pub(super) async fn drained(self: Rc<Flow>) -> PyResult<()> {
        if self.lost.get() {
            return Err(PyConnectionResetError::new_err("Connection lost"));
        }
        if !self.paused.get() {
            return Ok(());
        }
        let resumed = self.resumed.get();
        self.waiters.get_or_init(Waiters::new).wait().await;
        if self.resumed.get() != resumed {
            return Ok(());
        }
        match self.exception.get() {
            Some(exception) => Python::attach(|py| Err(raising(exception.into_bound(py)))),
            None => Ok(()),
        }
    }

    /// Shows what it owns.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.exception);
        if let Some(waiters) = self.waiters.get() {
            waiters.visit(&mut |waker| visit_waker(visit, waker));
        }
    }

    /// Lets go of what may be part of a cycle.
    pub(super) fn clear(&self) {
        self.exception.set(None);
    }
}
