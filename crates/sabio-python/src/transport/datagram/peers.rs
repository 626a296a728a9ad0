//! The addresses that datagrams came from and went to, as the kernel and as Python have them.
//!
//! An endpoint that answers gets each address as an object and gives the same object back: both conversions are made once
//! for each peer, as long as there are not too many at a time. Both tables are small and of fixed size, and an entry
//! gives way to the next one that falls on its place.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::prelude::*;
use sabio_reactor::socket::Address;

use crate::ffi::{Obj, Visit};
use crate::transport::address_to_python;

/// How many peers are remembered at most.
const PLACES: usize = 64;

struct Known {
    address: Address,
    object: Obj,
}

/// See the module.
#[derive(Default)]
pub(super) struct Peers {
    /// By address.
    received: RefCell<Vec<Option<Known>>>,
    /// By the identity of the object.
    sent: RefCell<Vec<Option<Known>>>,
}

fn place_of(address: &Address) -> usize {
    let number = match address {
        // Most peers of one endpoint differ in these alone.
        Address::V4(address) => u64::from(address.ip().to_bits()) ^ (u64::from(address.port()) << 3),
        _ => {
            let mut hasher = DefaultHasher::new();
            address.hash(&mut hasher);
            hasher.finish()
        }
    };
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % PLACES
}

fn place_of_object(object: &Obj) -> usize {
    let number = object.as_ptr().addr() as u64 >> 4;
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % PLACES
}

/// Puts an entry into its place; what was there is dropped when nothing is borrowed any more.
fn remember(table: &RefCell<Vec<Option<Known>>>, place: usize, known: Known) {
    let mut borrowed = table.borrow_mut();
    if borrowed.is_empty() {
        borrowed.resize_with(PLACES, || None);
    }
    let before = borrowed[place].replace(known);
    drop(borrowed);
    drop(before);
}

impl Peers {
    /// The address as Python has it.
    pub(super) fn object(&self, py: Python<'_>, address: Address) -> PyResult<Obj> {
        let place = place_of(&address);
        if let Some(Some(known)) = self.received.borrow().get(place)
            && known.address == address
        {
            return Ok(known.object.clone());
        }
        let object = address_to_python(py, &address)?;
        remember(
            &self.sent,
            place_of_object(&object),
            Known {
                address: address.clone(),
                object: object.clone(),
            },
        );
        let known = Known {
            address,
            object: object.clone(),
        };
        remember(&self.received, place, known);
        Ok(object)
    }

    /// The address that this very object was found to stand for.
    pub(super) fn address(&self, object: &Obj) -> Option<Address> {
        let sent = self.sent.borrow();
        let known = sent.get(place_of_object(object))?.as_ref()?;
        std::ptr::eq(known.object.as_ptr(), object.as_ptr()).then(|| known.address.clone())
    }

    /// Notes what an object that cannot change stands for.
    pub(super) fn learn(&self, object: &Obj, address: &Address) {
        let known = Known {
            address: address.clone(),
            object: object.clone(),
        };
        remember(&self.sent, place_of_object(object), known);
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        let before = (self.received.take(), self.sent.take());
        drop(before);
    }

    /// Shows what it owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        for table in [&self.received, &self.sent] {
            if let Ok(table) = table.try_borrow() {
                for known in table.iter().flatten() {
                    visit.obj(&known.object);
                }
            }
        }
    }
}
