//! The lock that the thread-safe parts are built on: std's, or loom's under the model checker.
//!
//! A panic in a thread that holds the lock must not take every other thread down with it, and no
//! critical section here leaves its data half changed, so poisoning is ignored.

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks `mutex`, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
