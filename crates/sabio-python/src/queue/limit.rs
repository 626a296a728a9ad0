//! `maxsize`: kept as it was given, and understood once where it is a number.

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

/// When a queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    /// Never.
    None,
    /// With so many items, at least one.
    Items(usize),
    /// Python has to compare each time: the limit is no number.
    Object,
}

impl Limit {
    /// The limit that `maxsize` stands for: full is a queue of `n` items if `maxsize > 0` and `n >= maxsize`.
    pub(super) fn of(maxsize: &Bound<'_, PyAny>) -> Limit {
        if let Ok(number) = maxsize.cast_exact::<PyInt>() {
            return match number.extract::<usize>() {
                Ok(0) => Limit::None,
                Ok(items) => Limit::Items(items),
                // Negative, or more than there can be items.
                Err(_) => Limit::None,
            };
        }
        match maxsize.cast_exact::<PyFloat>() {
            Ok(number) => {
                let number = number.value();
                // NaN is neither: nothing is ever full with it.
                if number > 0.0 && number.is_finite() {
                    Limit::Items(number.ceil() as usize)
                } else {
                    Limit::None
                }
            }
            Err(_) => Limit::Object,
        }
    }
}
