//! The engine that calls libssl itself: what was received is decrypted into the memory that it is wanted in, and what is
//! written is encrypted into what is sent, without an object of the interpreter's between.
//!
//! The handshake and the shutdown are the `SSLObject`'s own, and so is everything that fails: the same call, made through
//! the object, finds libssl in the state that it failed in, and raises what the portable engine raises. Connections
//! with a message callback, a key log or authentication after the handshake read and write through the object, too:
//! `_ssl` keeps the exceptions of these callbacks until the object's own method returns.

use std::cell::Cell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::{Outgoing, Progress, Read, Write};
use super::portable::{end_or_error, unless_blocked};
use crate::ffi::{IntoObj, Library, Obj, Room, Session, Step, Visit, bytes_from_slice, call_method};
use crate::names::names;

/// The most that one record holds, in bytes (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;

/// The most memory that is kept for what the next connection sends, in bytes.
const MOST_SPARE: usize = 256 * 1024;

thread_local! {
    /// Memory for what is to be sent, which goes from one connection to the next: idle ones have none.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// See the module's notes.
pub(crate) struct Direct {
    object: Obj,
    session: Session,
    /// Whether reading and writing may run callbacks whose exceptions are the object's business.
    through_object: bool,
}

impl Direct {
    /// Takes over an `SSLObject` that was made by `wrap_bio()` and not used yet. Why libssl cannot be called directly for
    /// it is the error; the object works as before then.
    pub(super) fn new(py: Python<'_>, object: &Obj) -> Result<Direct, String> {
        let library = Library::get(py)?;
        let inner = object
            .bind(py)
            .getattr("_sslobj")
            .map_err(|_| "wrap_bio() of the context gives another object than ssl.SSLObject".to_owned())?;
        let session = library.session(&inner)?;
        Ok(Direct {
            object: object.clone(),
            through_object: has_callbacks(&inner),
            session,
        })
    }

    pub(super) fn feed(&self, data: &[u8]) -> PyResult<()> {
        if self.session.feed(data) {
            Ok(())
        } else {
            Err(entered_twice())
        }
    }

    pub(super) fn incoming_size(&self) -> usize {
        self.session.waiting()
    }

    pub(super) fn handshake(&self, py: Python<'_>) -> PyResult<Progress> {
        let progress = self.progress(py, &names(py)?.do_handshake)?;
        if progress == Progress::Done {
            self.session.forget_handshake();
        }
        Ok(progress)
    }

    pub(super) fn shutdown(&self, py: Python<'_>) -> PyResult<Progress> {
        self.progress(py, &names(py)?.unwrap)
    }

    fn progress(&self, py: Python<'_>, method: &Obj) -> PyResult<Progress> {
        Ok(match self.call(py, method, &[])? {
            Some(_) => Progress::Done,
            None => Progress::Blocked,
        })
    }

    /// Has what was received decrypted by `body` from where it lies; what is left of it is copied.
    ///
    /// # Errors
    /// RuntimeError in the middle of a call.
    #[inline]
    pub(super) fn receive<R>(&self, wire: &[u8], body: impl FnOnce() -> R) -> PyResult<R> {
        if self.through_object {
            // Callbacks may run between two records.
            self.feed(wire)?;
            return Ok(body());
        }
        self.session.feed_for(wire, body).ok_or_else(entered_twice)
    }

    pub(super) fn read(&self, py: Python<'_>, into: &mut Room<'_>) -> PyResult<Read> {
        if !self.through_object {
            match self.session.read(py, into) {
                Step::Done(count) => return Ok(Read::Data(count)),
                Step::NeedsData | Step::Busy => return Ok(Read::Blocked),
                Step::Ended | Step::Failed => {}
            }
        }
        let size = into.len().min(RECORD).into_obj(py)?;
        let data = match self.call(py, &names(py)?.read, &[&size]) {
            Ok(Some(data)) => data,
            Ok(None) => return Ok(Read::Blocked),
            Err(error) => return end_or_error(py, error),
        };
        let data = data.bind(py).cast::<PyBytes>()?.as_bytes();
        if data.is_empty() {
            return Ok(Read::CloseNotify);
        }
        Ok(Read::Data(into.put(data)))
    }

    pub(super) fn write(&self, py: Python<'_>, data: &[u8]) -> PyResult<Write> {
        self.session.with_outgoing(|outgoing| {
            if outgoing.capacity() == 0 {
                *outgoing = SPARE.take();
            }
        });
        let mut written = 0;
        for record in data.chunks(RECORD) {
            let count = match self.write_record(py, record) {
                Ok(Write::Wrote(count)) => count,
                other if written == 0 => return other,
                // Comes again with the next call: that of a failed connection fails, too.
                _ => break,
            };
            written += count;
        }
        Ok(Write::Wrote(written))
    }

    fn write_record(&self, py: Python<'_>, record: &[u8]) -> PyResult<Write> {
        if !self.through_object {
            match self.session.write(py, record) {
                Step::Done(count) => return Ok(Write::Wrote(count)),
                Step::NeedsData | Step::Busy => return Ok(Write::Blocked),
                Step::Ended | Step::Failed => {}
            }
        }
        let data = bytes_from_slice(py, record)?;
        Ok(match self.call(py, &names(py)?.write, &[&data])? {
            Some(count) => Write::Wrote(count.bind(py).extract()?),
            None => Write::Blocked,
        })
    }

    /// Calls a method of the object; None where it needs more from the peer, or is in the middle of a call.
    fn call(&self, py: Python<'_>, method: &Obj, args: &[&Obj]) -> PyResult<Option<Obj>> {
        let called = self.session.enter(|| call_method(py, &self.object, method, args));
        match called {
            Some(called) => {
                let result = unless_blocked(py, called.map_err(PyErr::from));
                self.session.clear_errors();
                result
            }
            None => Ok(None),
        }
    }

    pub(super) fn outgoing_size(&self) -> usize {
        self.session.with_outgoing(|outgoing| outgoing.len()).unwrap_or(0)
    }

    pub(super) fn take_outgoing(&self, take: impl FnOnce(Outgoing<'_, '_>)) {
        self.session.with_outgoing(|outgoing| {
            if !outgoing.is_empty() {
                take(Outgoing::Memory(outgoing));
                let mut memory = std::mem::take(outgoing);
                memory.clear();
                if memory.capacity() <= MOST_SPARE {
                    SPARE.set(memory);
                }
            }
        });
    }

    pub(super) fn ssl_object(&self) -> &Obj {
        &self.object
    }

    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.obj(&self.object);
        visit.obj(self.session.socket());
    }
}

/// Whether the connection has callbacks that may raise while data is read or written. Both sides of a connection take
/// these settings from their context when they are made.
fn has_callbacks(inner: &Bound<'_, PyAny>) -> bool {
    let Ok(context) = inner.getattr("context") else {
        return true;
    };
    ["_msg_callback", "keylog_filename", "post_handshake_auth"]
        .iter()
        .any(|name| {
            context
                .getattr(*name)
                .is_ok_and(|value| value.is_truthy().unwrap_or(true))
        })
}

/// Bytes cannot be taken while a callback of the context runs in the middle of a call.
#[cold]
fn entered_twice() -> PyErr {
    PyRuntimeError::new_err("the TLS engine is in the middle of a call")
}
