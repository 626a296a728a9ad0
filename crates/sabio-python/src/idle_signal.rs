//! Waiting, from another thread, for the end of a thread-safe handle's run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use pyo3::prelude::*;

/// Wakes the threads that wait for the end of a thread-safe handle's run. Shared by all loops: such waits are rare.
pub(crate) struct IdleSignal {
    /// How many threads wait. Changed and read under the GIL.
    waiting: AtomicUsize,
    /// Counts the runs that ended while somebody waited.
    ended: Mutex<u64>,
    changed: Condvar,
}

pub(crate) static IDLE: IdleSignal = IdleSignal {
    waiting: AtomicUsize::new(0),
    ended: Mutex::new(0),
    changed: Condvar::new(),
};

impl IdleSignal {
    fn ended(&self) -> u64 {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run has ended.
    #[inline]
    pub(crate) fn signal(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            self.changed.notify_all();
        }
    }

    /// Blocks, without the GIL, until a run has ended.
    pub(crate) fn wait(&self, py: Python<'_>) {
        let before = self.ended();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        py.detach(|| {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            while *ended == before {
                ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
            }
        });
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
