//! The protocol of one pipe of a subprocess: passes what happens on to the transport of the process.
//!
//! It stays the pipe's entry in its transport after the pipe is closed, so that `get_pipe_transport()` still gives it.

use std::cell::Cell;
use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::transport::ProcessTransport;
use crate::event_loop::Loop;
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, IntoObj, MethodTable, Obj, ObjCell, Ref, Slot, Visit, call_method,
};
use crate::names::{Name, names};
use crate::stream::{Reader, SubprocessStreamProtocol};

/// The data of the protocol.
pub(crate) struct PipeProtocol {
    /// The transport of the process, until the pipe is closed.
    process: Slot<Ref<ProcessTransport>>,
    /// The number of the pipe in the child: 0, 1 or 2.
    fd: usize,
    pipe: ObjCell,
    disconnected: Cell<bool>,
}

static PIPE_PROTOCOL: ClassCell = ClassCell::new();

impl Class for PipeProtocol {
    const NAME: &'static std::ffi::CStr = c"sabio._SubprocessPipeProtocol";
    const PLAIN: bool = false;

    fn cell() -> &'static ClassCell {
        &PIPE_PROTOCOL
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.process);
        visit.slot(&self.pipe);
    }

    fn clear(&self) {
        self.process.set(None);
        self.pipe.set(None);
    }
}

impl PipeProtocol {
    /// The protocol of the pipe `fd` of a process.
    pub(super) fn create(
        py: Python<'_>,
        process: &Ref<ProcessTransport>,
        fd: usize,
    ) -> PyResult<Ref<PipeProtocol>> {
        let protocol = PipeProtocol {
            process: Slot::new(Some(process.clone())),
            fd,
            pipe: ObjCell::new(None),
            disconnected: Cell::new(false),
        };
        Ok(Ref::create(py, protocol)?)
    }

    /// The transport of the pipe.
    pub(super) fn pipe(&self) -> Option<Obj> {
        self.pipe.get()
    }

    /// The transport of the process, while it is connected with it.
    pub(crate) fn process(&self) -> Option<Ref<ProcessTransport>> {
        self.process.get()
    }

    /// Sets the transport of the pipe.
    pub(super) fn set_pipe(&self, pipe: &Obj) {
        self.pipe.set(Some(pipe.clone()));
    }

    /// There will be no pipe.
    pub(super) fn disconnect(&self) {
        self.disconnected.set(true);
        self.process.set(None);
    }

    /// Whether the pipe is closed.
    pub(super) fn is_disconnected(&self) -> bool {
        self.disconnected.get()
    }

    /// The reader that the pipe may put data into, instead of calling `data_received()`.
    #[inline]
    pub(crate) fn receiver(&self, py: Python<'_>) -> Option<Rc<Reader>> {
        let process = self.process.get().filter(|process| process.has_begun())?;
        let protocol = process.protocol()?;
        SubprocessStreamProtocol::exact(protocol.bind(py))?.receiver(self.fd)
    }

    /// Calls a method of the protocol of the process.
    fn tell(&self, py: Python<'_>, name: &Name, args: &[&Obj]) -> PyResult<()> {
        if let Some(protocol) = self.process.get().and_then(|process| process.protocol()) {
            call_method(py, &protocol, name, args)?;
        }
        Ok(())
    }

    /// Tells the protocol of the process what happened to which pipe. What it raises is reported as its own; SystemExit and
    /// KeyboardInterrupt come back.
    fn tell_with_number(&self, py: Python<'_>, name: &Name, what: &Obj) -> PyResult<()> {
        let Some(process) = self.process.get() else {
            return Ok(());
        };
        let Some(event_loop) = process.event_loop.get() else {
            return Ok(());
        };
        let args = [self.fd.into_obj(py)?, what.clone()];
        process.tell(py, &event_loop, name, &args)
    }
}

/// The transport of the process, if it does not call its protocol yet, and its loop.
fn not_begun(slf: &Ref<PipeProtocol>) -> Option<(Ref<ProcessTransport>, Ref<Loop>)> {
    let process = slf.process.get().filter(|process| !process.has_begun())?;
    let event_loop = process.event_loop.get()?;
    Some((process, event_loop))
}

fn connection_lost(slf: &Ref<PipeProtocol>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = exception.py();
    let exception = Obj::from(exception);
    match not_begun(slf) {
        Some((process, event_loop)) => {
            let protocol = slf.clone();
            process.when_begun(py, &event_loop, move |py, _| lost(&protocol, py, &exception))
        }
        None => lost(slf, py, &exception),
    }
}

fn lost(slf: &Ref<PipeProtocol>, py: Python<'_>, exception: &Obj) -> PyResult<()> {
    if slf.disconnected.replace(true) {
        return Ok(());
    }
    let told = slf.tell_with_number(py, &names(py)?.pipe_connection_lost, exception);
    if let Some(process) = slf.process.take() {
        process.try_finish();
    }
    told
}

fn data_received(slf: &Ref<PipeProtocol>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = data.py();
    let data = Obj::from(data);
    match not_begun(slf) {
        Some((process, event_loop)) => {
            let protocol = slf.clone();
            process.when_begun(py, &event_loop, move |py, _| {
                protocol.tell_with_number(py, &names(py)?.pipe_data_received, &data)
            })
        }
        None => slf.tell_with_number(py, &names(py)?.pipe_data_received, &data),
    }
}

fn define(table: &mut MethodTable<PipeProtocol>) {
    table
        .fast_onearg(
            c"connection_made",
            c"connection_made($self, transport, /)\n--\n\nThe pipe is there.",
            |slf, transport| {
                slf.set_pipe(&Obj::from(transport));
                Ok(())
            },
        )
        .fast_onearg(
            c"connection_lost",
            c"connection_lost($self, exc, /)\n--\n\nThe pipe is closed, because of an exception (or None).",
            connection_lost,
        )
        .fast_onearg(
            c"data_received",
            c"data_received($self, data, /)\n--\n\nData for the protocol of the process.",
            data_received,
        )
        .fast_noargs(
            c"pause_writing",
            c"pause_writing($self, /)\n--\n\nThe pipe takes no more for now.",
            |slf, py| slf.tell(py, &names(py)?.pause_writing, &[]),
        )
        .fast_noargs(
            c"resume_writing",
            c"resume_writing($self, /)\n--\n\nThe pipe takes more again.",
            |slf, py| slf.tell(py, &names(py)?.resume_writing, &[]),
        )
        .getter(c"proc", c"The transport of the process, or None.", |slf, _py| {
            Ok(slf.process.get())
        })
        .getter(c"fd", c"The number of the pipe in the child.", |slf, _py| {
            Ok(slf.fd)
        })
        .getter(c"pipe", c"The transport of the pipe.", |slf, _py| Ok(slf.pipe()))
        .getter(c"disconnected", c"Whether the pipe is closed.", |slf, _py| {
            Ok(slf.is_disconnected())
        });
}

/// Builds the class.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let base = py.import("asyncio")?.getattr("Protocol")?;
    ClassBuilder::<PipeProtocol>::new(c"The protocol of a pipe of a subprocess.")
        .members(define)
        .build(py, &Base::Slots(base.cast_into::<PyType>()?))?;
    Ok(())
}
