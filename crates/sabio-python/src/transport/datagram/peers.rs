//! The addresses that datagrams came from and went to, as the kernel and as Python have them.
//!
//! An endpoint that answers gets each address as an object and gives the same object back: both conversions are made once
//! for each peer, as long as there are not too many at a time. An entry gives way to the next one that falls on its
//! place; a table in which that happens grows, up to a limit.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::prelude::*;
use sabio_reactor::socket::Address;

use crate::ffi::{Obj, Visit};
use crate::transport::address_to_python;

/// How many places a table has at first and at most: powers of two.
const FIRST_PLACES: usize = 8;
const MOST_PLACES: usize = 1024;

struct Known {
    address: Address,
    object: Obj,
}

type Table = Vec<Option<Known>>;

/// See the module.
#[derive(Default)]
pub(super) struct Peers {
    /// By address.
    received: RefCell<Table>,
    /// By the identity of the object.
    sent: RefCell<Table>,
}

/// Where a table of so many places has something: the highest bits of its number, stirred.
fn place(number: u64, places: usize) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & places.wrapping_sub(1)
}

fn number_of(address: &Address) -> u64 {
    match address {
        // Most peers of one endpoint differ in these alone.
        Address::V4(address) => u64::from(address.ip().to_bits()) ^ (u64::from(address.port()) << 3),
        _ => {
            let mut hasher = DefaultHasher::new();
            address.hash(&mut hasher);
            hasher.finish()
        }
    }
}

fn number_of_object(object: &Obj) -> u64 {
    object.as_ptr().addr() as u64 >> 4
}

/// Puts an entry into its place; what was there is dropped when nothing is borrowed any more.
fn remember(table: &RefCell<Table>, number: fn(&Known) -> u64, known: Known) {
    let mut borrowed = table.borrow_mut();
    if borrowed.is_empty() {
        borrowed.resize_with(FIRST_PLACES, || None);
    }
    let mut at = place(number(&known), borrowed.len());
    let mut lost = Vec::new();
    let is_taken = borrowed[at]
        .as_ref()
        .is_some_and(|other| number(other) != number(&known));
    if is_taken && borrowed.len() < MOST_PLACES {
        lost = grow(&mut borrowed, number);
        at = place(number(&known), borrowed.len());
    }
    let before = borrowed[at].replace(known);
    drop(borrowed);
    drop((before, lost));
}

/// Doubles the places; gives back what has none any more.
fn grow(table: &mut Table, number: fn(&Known) -> u64) -> Vec<Known> {
    let places = table.len() * 2;
    let mut lost = Vec::new();
    let mut larger = Table::new();
    larger.resize_with(places, || None);
    for known in table.drain(..).flatten() {
        let at = place(number(&known), places);
        lost.extend(larger[at].replace(known));
    }
    *table = larger;
    lost
}

impl Peers {
    /// The address as Python has it.
    pub(super) fn object(&self, py: Python<'_>, address: Address) -> PyResult<Obj> {
        let found = self.received.borrow();
        if let Some(Some(known)) = found.get(place(number_of(&address), found.len()))
            && known.address == address
        {
            return Ok(known.object.clone());
        }
        drop(found);
        let object = address_to_python(py, &address)?;
        self.learn(&object, &address);
        let known = Known {
            address,
            object: object.clone(),
        };
        remember(&self.received, |known| number_of(&known.address), known);
        Ok(object)
    }

    /// The address that this very object was found to stand for.
    pub(super) fn address(&self, object: &Obj) -> Option<Address> {
        let sent = self.sent.borrow();
        let known = sent.get(place(number_of_object(object), sent.len()))?.as_ref()?;
        std::ptr::eq(known.object.as_ptr(), object.as_ptr()).then(|| known.address.clone())
    }

    /// Notes what an object that cannot change stands for.
    pub(super) fn learn(&self, object: &Obj, address: &Address) {
        let known = Known {
            address: address.clone(),
            object: object.clone(),
        };
        remember(&self.sent, |known| number_of_object(&known.object), known);
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
