//! Writes to what has ended: counted, and logged once there were many, as a program that goes on writing is in error.

use std::cell::Cell;

use pyo3::prelude::*;

use crate::asyncio::asyncio;

/// After so many of them each further one is logged (asyncio's constant of the same meaning).
const LOG_THRESHOLD_FOR_CONNLOST_WRITES: u32 = 5;

/// One more: `count` says how many there were, of whatever the kind of transport counts, and stays as it is.
#[cold]
pub(super) fn warn(py: Python<'_>, count: u32, message: &str) -> PyResult<()> {
    if count >= LOG_THRESHOLD_FOR_CONNLOST_WRITES {
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("warning", (message,))?;
    }
    Ok(())
}

/// One more write, counted and perhaps logged.
#[cold]
pub(super) fn written(py: Python<'_>, count: &Cell<u32>, message: &str) -> PyResult<()> {
    warn(py, count.get(), message)?;
    count.set(count.get().saturating_add(1));
    Ok(())
}
