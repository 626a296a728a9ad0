//! Telling arguments that were given twice, as a Python set would.
//!
//! Coroutines and futures of ours equal only themselves, so their addresses are compared; any other object is asked
//! for its hash and for equality.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::ensure::is_plain_coroutine;
use crate::future_core::native_core;

/// Hashes an address: one multiplication, whose upper half is well mixed.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        let mixed = u128::from(self.0 ^ address as u64) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (mixed >> 64) as u64 ^ mixed as u64;
    }
}

/// The arguments so far. The caller keeps them alive.
pub(super) struct Distinct<'py> {
    addresses: HashMap<usize, usize, BuildHasherDefault<AddressHasher>>,
    others: Option<Bound<'py, PyDict>>,
}

impl<'py> Distinct<'py> {
    /// None yet; about `count` will come.
    pub(super) fn with_capacity(count: usize) -> Distinct<'py> {
        Distinct {
            addresses: HashMap::with_capacity_and_hasher(count, BuildHasherDefault::default()),
            others: None,
        }
    }

    /// Notes an argument and what the caller calls it; what the caller called an equal one before, if there was one.
    /// TypeError if the argument is not hashable.
    pub(super) fn insert(&mut self, argument: &Bound<'py, PyAny>, index: usize) -> PyResult<Option<usize>> {
        if is_plain_coroutine(argument) || native_core(argument).is_some() {
            return Ok(match self.addresses.entry(argument.as_ptr().addr()) {
                std::collections::hash_map::Entry::Occupied(before) => Some(*before.get()),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(index);
                    None
                }
            });
        }
        let others = self.others.get_or_insert_with(|| PyDict::new(argument.py()));
        if let Some(before) = others.get_item(argument)? {
            return Ok(Some(before.extract()?));
        }
        others.set_item(argument, index)?;
        Ok(None)
    }
}
