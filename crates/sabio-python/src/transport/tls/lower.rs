//! The transport below: one of ours, which is called directly, or any other, which is called by Python's methods.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::{Engine, Outgoing};
use crate::ffi::{Obj, ObjCell, Ref, Slot, Visit, call_method};
use crate::names::{Name, names};
use crate::transport::stream::Stream;
use crate::transport::{close, reading, write};

/// The transport below, once there is one.
#[derive(Default)]
pub(super) struct Lower {
    stream: Slot<Ref<Stream>>,
    other: ObjCell,
}

impl Lower {
    /// Names it.
    pub(super) fn set(&self, transport: &Bound<'_, PyAny>) {
        match Ref::<Stream>::downcast(transport) {
            Some(stream) => self.stream.set(Some(stream.clone())),
            None => self.other.set(Some(Obj::from(transport))),
        }
    }

    /// Forgets it.
    pub(super) fn clear(&self) {
        self.stream.set(None);
        self.other.set(None);
    }

    /// The transport, as an object.
    pub(super) fn get(&self) -> Option<Obj> {
        self.stream.get().map(Ref::into_obj).or_else(|| self.other.get())
    }

    /// Shows what it owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.stream);
        visit.slot(&self.other);
    }

    fn call(&self, py: Python<'_>, name: &Name, args: &[&Obj]) -> PyResult<()> {
        if let Some(other) = self.other.get() {
            call_method(py, &other, name, args)?;
        }
        Ok(())
    }

    pub(super) fn is_closing(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(stream) = self.stream.get() {
            return Ok(stream.is_closing());
        }
        match self.other.get() {
            Some(other) => call_method(py, &other, &names(py)?.is_closing, &[])?
                .bind(py)
                .is_truthy(),
            None => Ok(false),
        }
    }

    pub(super) fn pause_reading(&self, py: Python<'_>) -> PyResult<()> {
        match self.stream.get() {
            Some(stream) => reading::pause(&stream, py),
            None => self.call(py, &names(py)?.pause_reading, &[]),
        }
    }

    pub(super) fn resume_reading(&self, py: Python<'_>) -> PyResult<()> {
        match self.stream.get() {
            Some(stream) => reading::resume(&stream, py),
            None => self.call(py, &names(py)?.resume_reading, &[]),
        }
    }

    pub(super) fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.stream.get() {
            Some(stream) => close::close(&stream, py),
            None => self.call(py, &names(py)?.close, &[]),
        }
    }

    /// Loses the connection at once. Transports that know no other way are aborted.
    pub(super) fn force_close(&self, py: Python<'_>, exception: Option<Obj>) -> PyResult<()> {
        if let Some(stream) = self.stream.get() {
            return close::force_close(&stream, py, exception);
        }
        let Some(other) = self.other.get() else {
            return Ok(());
        };
        match other.bind(py).getattr_opt("_force_close")? {
            Some(force_close) => {
                let exception = exception.unwrap_or_else(|| Obj::none(py));
                force_close.call1((exception.bind(py),))?;
            }
            None => {
                other.bind(py).call_method0("abort")?;
            }
        }
        Ok(())
    }

    /// Sends what the engine has for the peer.
    pub(super) fn send(&self, py: Python<'_>, engine: &Engine) -> PyResult<()> {
        if let Some(stream) = self.stream.get() {
            let mut offered = Ok(());
            engine.take_outgoing(py, |data| offered = write::offer(&stream, py, &data))?;
            return write::offered(&stream, py, offered);
        }
        let mut data = None;
        engine.take_outgoing(py, |outgoing| {
            data = Some(match outgoing {
                Outgoing::Bytes(bytes) => Obj::from(bytes),
                Outgoing::Memory(memory) => Obj::from(PyBytes::new(py, memory)),
            });
        })?;
        match data {
            Some(data) => self.call(py, &names(py)?.write, &[&data]),
            None => Ok(()),
        }
    }
}
