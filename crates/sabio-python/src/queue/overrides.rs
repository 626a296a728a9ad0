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

/// The methods of our own classes, each in the order of `METHODS`.
static OWN: Global<Vec<Vec<Obj>>> = Global::new();

impl Overrides {
    /// What `class`, a subclass of ours, overrides.
    pub(super) fn of(class: &Bound<'_, PyType>) -> PyResult<Overrides> {
        let mut overrides = Overrides::default();
        let own = OWN.get(class.py())?;
        for (index, (method, name)) in METHODS.iter().enumerate() {
            let found = class.getattr(*name)?;
            if !own.iter().any(|methods| methods[index].is(&found)) {
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

/// Remembers the methods of our classes.
pub(super) fn init(classes: &[&Bound<'_, PyType>; 3]) -> PyResult<()> {
    let methods = |class: &Bound<'_, PyType>| -> PyResult<Vec<Obj>> {
        METHODS
            .iter()
            .map(|(_, name)| Ok(Obj::from(class.getattr(*name)?)))
            .collect()
    };
    let own = classes
        .iter()
        .map(|class| methods(class))
        .collect::<PyResult<_>>()?;
    OWN.set(classes[0].py(), own);
    Ok(())
}
