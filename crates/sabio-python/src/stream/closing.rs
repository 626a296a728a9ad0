//! The future that is done when a connection or a pipe is closed (`_closed`, `_stdin_closed`): it is made for the first who
//! asks for it, since most never do.
//!
//! An exception that ends it counts as retrieved: nobody has to wait for the end.

use pyo3::prelude::*;

use crate::ffi::{Obj, ObjCell, call_method};
use crate::names::names;
use crate::outcome;

/// Whose the future is decides when it ends, and keeps why for one that is made afterwards.
#[derive(Default)]
pub(super) struct Closing {
    future: ObjCell,
}

/// How something was closed: by itself, or because of an exception.
pub(super) type Closed = Option<Obj>;

impl Closing {
    /// The future, a new one of `event_loop` if nobody has asked before. `closed` is how it was closed, if it was.
    pub(super) fn future(&self, py: Python<'_>, event_loop: &Obj, closed: Option<Closed>) -> PyResult<Obj> {
        if let Some(future) = self.future.get() {
            return Ok(future);
        }
        let future = call_method(py, event_loop, &names(py)?.create_future, &[])?;
        self.future.set(Some(future.clone()));
        if let Some(exception) = closed {
            self.end(py, exception.as_ref())?;
        }
        Ok(future)
    }

    /// Ends the future, if there is one that is not done.
    pub(super) fn end(&self, py: Python<'_>, exception: Option<&Obj>) -> PyResult<()> {
        let Some(future) = self.future.get() else {
            return Ok(());
        };
        if outcome::is_done(py, &future)? {
            return Ok(());
        }
        let names = names(py)?;
        match exception {
            None => call_method(py, &future, &names.set_result, &[&Obj::none(py)])?,
            Some(exception) => {
                call_method(py, &future, &names.set_exception, &[exception])?;
                call_method(py, &future, &names.exception, &[])?
            }
        };
        Ok(())
    }

    /// Where it is kept, for the garbage collector.
    pub(super) fn slot(&self) -> &ObjCell {
        &self.future
    }
}
