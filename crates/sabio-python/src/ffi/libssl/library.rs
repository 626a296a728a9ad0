//! What was found out once: whether libssl can be called directly in this process, and if not, why.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::functions::{self, Functions};
use super::session::Session;
use super::wire::WireMethod;
use super::{layout, wire};
use crate::ffi::{Global, Obj};

/// libssl, ready to be called.
pub(crate) struct Library {
    pub(super) functions: &'static Functions,
    pub(super) method: WireMethod,
    class: Obj,
    version: String,
}

static LIBRARY: Global<Result<Library, String>> = Global::new();

impl Library {
    /// The library, looked for and checked by the first call; or why there is none.
    pub(crate) fn get(py: Python<'_>) -> Result<&'static Library, &'static str> {
        if LIBRARY.try_get(py).is_none() {
            LIBRARY.set(py, Library::load(py));
        }
        match LIBRARY.try_get(py) {
            Some(Ok(library)) => Ok(library),
            Some(Err(reason)) => Err(reason),
            None => Err("not looked for yet"),
        }
    }

    fn load(py: Python<'_>) -> Result<Library, String> {
        let module = py
            .import("_ssl")
            .map_err(|error| format!("there is no module _ssl: {error}"))?;
        let class = module.getattr("_SSLSocket").map_err(|error| error.to_string())?;
        let class = class.cast_into::<PyType>().map_err(|error| error.to_string())?;
        let functions = functions::load(&module)?;
        layout::check(functions, &class)?;
        let method = wire::method(functions)?;
        let version = module
            .getattr("OPENSSL_VERSION")
            .and_then(|text| text.extract())
            .map_err(|error| error.to_string())?;
        Ok(Library {
            functions,
            method,
            class: Obj::from(class.into_any()),
            version,
        })
    }

    /// Which library it is, for people.
    pub(crate) fn describe(&self) -> String {
        format!("{} is called directly", self.version)
    }

    /// The session of a `_ssl._SSLSocket` that no byte has passed through yet: from now on its bytes come from and go to
    /// the session, no longer its memory BIOs. An error, with nothing changed, for any other object.
    pub(crate) fn session(&'static self, socket: &Bound<'_, PyAny>) -> Result<Session, String> {
        if !self.class.is(socket.get_type().as_any()) {
            return Err("the SSLObject is not on top of _ssl._SSLSocket".to_owned());
        }
        let ssl = layout::session_of(self.functions, socket)?;
        Session::new(self, Obj::from(socket), ssl)
    }
}
