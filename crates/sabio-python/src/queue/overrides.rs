//! Which of asyncio's methods that a queue calls on itself a subclass overrides: those are called through Python.
//!
//! Looked at when an instance is made, by comparing what the class has with what ours has. A method that is put on the
//! instance or changed on the class afterwards is not seen.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::{Global, Obj};

/// A set of overridden methods.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Overrides(u8);

/// A method that a queue calls on itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Init,
    Put,
    Get,
    QSize,
    Empty,
    Full,
    PutNowait,
    GetNowait,
}

const METHODS: [(Method, &str); 8] = [
    (Method::Init, "_init"),
    (Method::Put, "_put"),
    (Method::Get, "_get"),
    (Method::QSize, "qsize"),
    (Method::Empty, "empty"),
    (Method::Full, "full"),
    (Method::PutNowait, "put_nowait"),
    (Method::GetNowait, "get_nowait"),
];

/// Our own methods, in the order of `METHODS`.
static OWN: Global<Vec<Obj>> = Global::new();

impl Overrides {
    /// What `class`, a subclass of ours, overrides.
    pub(super) fn of(class: &Bound<'_, PyType>) -> PyResult<Overrides> {
        let mut overrides = Overrides::default();
        for ((method, name), own) in METHODS.iter().zip(OWN.get(class.py())?) {
            if !own.is(&class.getattr(*name)?) {
                overrides.0 |= 1 << *method as u8;
            }
        }
        Ok(overrides)
    }

    /// Whether nothing is overridden.
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is overridden.
    #[inline]
    pub(super) fn has(self, method: Method) -> bool {
        self.0 & (1 << method as u8) != 0
    }
}

/// Remembers the methods of our class.
pub(super) fn init(core: &Bound<'_, PyType>) -> PyResult<()> {
    let own = METHODS
        .iter()
        .map(|(_, name)| Ok(Obj::from(core.getattr(*name)?)));
    OWN.set(core.py(), own.collect::<PyResult<_>>()?);
    Ok(())
}
