//! The portable engine: `ssl.SSLObject` over two `ssl.MemoryBIO`s, by nothing but the documented interface of the `ssl`
//! module. It serves whatever the context's `wrap_bio()` gives, subclasses and replacements included.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::{Outgoing, Progress, Read, Write};
use super::module::ssl_module;
use crate::ffi::{IntoObj, Obj, Room, Visit, bytes_from_slice, call_method};
use crate::names::names;

/// The most that one record holds, in bytes (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;

/// So many bytes are given to one call of `write()` at most: it copies them.
const WRITTEN_AT_ONCE: usize = 16 * RECORD;

/// See the module's notes.
pub(crate) struct Portable {
    object: Obj,
    incoming: Obj,
    outgoing: Obj,
}

impl Portable {
    /// See [`super::engine::Engine::new`].
    pub(super) fn new(
        py: Python<'_>,
        sslcontext: &Bound<'_, PyAny>,
        server_side: bool,
        server_hostname: Option<&Obj>,
    ) -> PyResult<Portable> {
        let class = ssl_module(py)?.memory_bio.bind(py);
        let (incoming, outgoing) = (class.call0()?, class.call0()?);
        let kwargs = pyo3::types::PyDict::new(py);
        kwargs.set_item("server_side", server_side)?;
        kwargs.set_item("server_hostname", server_hostname.map(|name| name.bind(py)))?;
        let object = sslcontext.call_method("wrap_bio", (&incoming, &outgoing), Some(&kwargs))?;
        Ok(Portable {
            object: object.into(),
            incoming: incoming.into(),
            outgoing: outgoing.into(),
        })
    }

    pub(super) fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let data = bytes_from_slice(py, data)?;
        call_method(py, &self.incoming, &names(py)?.write, &[&data])?;
        Ok(())
    }

    pub(super) fn incoming_size(&self, py: Python<'_>) -> PyResult<usize> {
        self.incoming
            .bind(py)
            .getattr(names(py)?.pending.text(py))?
            .extract()
    }

    pub(super) fn handshake(&self, py: Python<'_>) -> PyResult<Progress> {
        let called = call_method(py, &self.object, &names(py)?.do_handshake, &[]);
        Ok(match unless_blocked(py, called.map_err(PyErr::from))? {
            Some(_) => Progress::Done,
            None => Progress::Blocked,
        })
    }

    pub(super) fn read(&self, py: Python<'_>, into: &mut Room<'_>) -> PyResult<Read> {
        let size = into.len().min(RECORD).into_obj(py)?;
        let called = call_method(py, &self.object, &names(py)?.read, &[&size]);
        let data = match unless_blocked(py, called.map_err(PyErr::from)) {
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
        let data = bytes_from_slice(py, &data[..data.len().min(WRITTEN_AT_ONCE)])?;
        let called = call_method(py, &self.object, &names(py)?.write, &[&data]);
        Ok(match unless_blocked(py, called.map_err(PyErr::from))? {
            Some(count) => Write::Wrote(count.bind(py).extract()?),
            None => Write::Blocked,
        })
    }

    pub(super) fn shutdown(&self, py: Python<'_>) -> PyResult<Progress> {
        let called = call_method(py, &self.object, &names(py)?.unwrap, &[]);
        Ok(match unless_blocked(py, called.map_err(PyErr::from))? {
            Some(_) => Progress::Done,
            None => Progress::Blocked,
        })
    }

    pub(super) fn outgoing_size(&self, py: Python<'_>) -> PyResult<usize> {
        self.outgoing
            .bind(py)
            .getattr(names(py)?.pending.text(py))?
            .extract()
    }

    pub(super) fn take_outgoing(&self, py: Python<'_>, take: impl FnOnce(Outgoing<'_, '_>)) -> PyResult<()> {
        let data = call_method(py, &self.outgoing, &names(py)?.read, &[])?;
        let data = data.bind(py).cast::<PyBytes>()?;
        if !data.as_bytes().is_empty() {
            take(Outgoing::Bytes(data));
        }
        Ok(())
    }

    pub(super) fn ssl_object(&self) -> &Obj {
        &self.object
    }

    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        for object in [&self.object, &self.incoming, &self.outgoing] {
            visit.obj(object);
        }
    }
}

/// What a read raised: after our own `close_notify` the peer's is an exception.
pub(super) fn end_or_error(py: Python<'_>, error: PyErr) -> PyResult<Read> {
    if ssl_module(py)?.is_end(py, &error) {
        Ok(Read::CloseNotify)
    } else {
        Err(error)
    }
}

/// What a call gave; None where the engine needs more from the peer.
pub(super) fn unless_blocked(py: Python<'_>, called: PyResult<Obj>) -> PyResult<Option<Obj>> {
    match called {
        Ok(value) => Ok(Some(value)),
        Err(error) if ssl_module(py)?.is_blocked(py, &error) => Ok(None),
        Err(error) => Err(error),
    }
}
