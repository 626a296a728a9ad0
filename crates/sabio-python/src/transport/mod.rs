//! Transports (being built).
use pyo3::prelude::*;

use crate::event_loop::Loop;
use crate::ffi::{Class, ClassCell, Ref, Visit};

pub(crate) struct Stream;
static STREAM: ClassCell = ClassCell::new();
impl Class for Stream {
    const NAME: &'static std::ffi::CStr = c"sabio._StreamTransport";
    const PLAIN: bool = false;
    fn cell() -> &'static ClassCell {
        &STREAM
    }
    fn visit(&self, _visit: &mut Visit<'_>) {}
    fn clear(&self) {}
}

/// What owns a descriptor that the reactor watches.
#[derive(Clone)]
pub(crate) enum Source {
    Stream(Ref<Stream>),
}
impl Source {
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        match self {
            Source::Stream(s) => visit.obj(s.as_obj()),
        }
    }
    pub(crate) fn ready(
        &self,
        _py: Python<'_>,
        _event_loop: &Ref<Loop>,
        _readable: bool,
        _writable: bool,
    ) -> PyResult<()> {
        Ok(())
    }
}
pub(crate) fn flush(_transport: &Ref<Stream>, _py: Python<'_>) -> PyResult<()> {
    Ok(())
}
