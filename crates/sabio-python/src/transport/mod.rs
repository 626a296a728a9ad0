//! Transports: what carries bytes between a protocol and a descriptor.
//!
//! `stream` is the one state machine that all stream transports share, split by behaviour: `read`, `write` (corked,
//! over `queue`), `flow` (pausing the protocol), `close` (the one way in which a transport ends), `extra` (what can be
//! asked about it), `file` (while a file goes out). `descriptor` is the one owner of the descriptor. `tcp` and `unix` hold
//! what is particular to each, `tls` is the transport above another one, `pipe` is one half of a stream at a time, and
//! `datagram` is the transport that has no stream at all. `reading` (paused or not) and `in_vain` (what is logged of
//! writes after the end) serve all of them. `receive` and `channel` are the system calls, which differ between sockets
//! and pipes; `turn` says how many of them one descriptor gets.
//!
//! Invariants: a descriptor is deregistered from the reactor in the same function that closes it; `connection_made`
//! is the first and `connection_lost` the last call that a protocol gets, each once; no borrow of a transport's state
//! is alive while Python code runs, so a protocol may do anything in any of its callbacks.

mod address;
mod channel;
pub(crate) mod close;
pub(crate) mod datagram;
mod descriptor;
mod extra;
mod file;
mod flow;
mod in_vain;
pub(crate) mod pipe;
mod queue;
mod read;
mod reading;
mod receive;
mod shared;
mod stream;
mod tcp;
pub(crate) mod tls;
mod turn;
mod unix;
mod write;

use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use sabio_reactor::socket::Address;

use crate::event_loop::Loop;
use crate::event_loop::accept;
use crate::event_loop::server::Server;
use crate::event_loop::signals;
use crate::ffi::{Obj, Ref, Visit};
use crate::subprocess::{self, PipeProtocol, ProcessTransport};

pub(crate) use address::{address_from_python, address_to_python, unix_address_from_python};
pub(crate) use datagram::Datagram;
pub(crate) use descriptor::Owner;
pub(crate) use extra::transport_socket;
pub(crate) use file::FileSender;
pub(crate) use pipe::{ReadPipe, WritePipe};
pub(crate) use reading::{pause as pause_reading, resume as resume_reading};
pub(crate) use receive::MAX_SIZE as MAX_READ;
pub(crate) use shared::{Transport, public_class};
pub(crate) use stream::{Parts, Stream, check_unused};
pub(crate) use tls::Tls;
pub(crate) use write::{flush, write};

/// What owns a descriptor that the reactor watches.
#[derive(Clone)]
pub(crate) enum Source {
    /// A stream transport.
    Stream(Ref<Stream>),
    /// A weak reference to a transport that waits for nothing: whoever forgets it is told so by its finalizer.
    Idle(Obj),
    /// A datagram transport.
    Datagram(Ref<Datagram>),
    /// The end of a pipe that is read from.
    ReadPipe(Ref<ReadPipe>),
    /// The end of a pipe that is written to.
    WritePipe(Ref<WritePipe>),
    /// A server, and which of its listeners it is.
    Listener(Ref<Server>, usize),
    /// A process, whose end the descriptor tells of.
    Process(Ref<ProcessTransport>),
    /// The pipe that tells the loop of signals.
    Signals,
}

impl Source {
    /// Shows what it owns to the garbage collector.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        match self {
            Source::Stream(transport) => visit.obj(transport.as_obj()),
            Source::Idle(reference) => visit.obj(reference),
            Source::Datagram(transport) => visit.obj(transport.as_obj()),
            Source::ReadPipe(transport) => visit.obj(transport.as_obj()),
            Source::WritePipe(transport) => visit.obj(transport.as_obj()),
            Source::Listener(server, _) => visit.obj(server.as_obj()),
            Source::Process(process) => visit.obj(process.as_obj()),
            Source::Signals => {}
        }
    }

    /// The owner, as `add_reader` names it to those who ask for its descriptor; None for the loop itself.
    pub(crate) fn owner(&self, py: Python<'_>) -> Option<Obj> {
        match self {
            Source::Idle(reference) => referent(reference, py).map(Obj::from),
            Source::Stream(transport) => Some(transport.as_obj().clone()),
            Source::Datagram(transport) => Some(transport.as_obj().clone()),
            Source::ReadPipe(transport) => Some(transport.as_obj().clone()),
            Source::WritePipe(transport) => Some(transport.as_obj().clone()),
            Source::Listener(server, _) => Some(server.as_obj().clone()),
            Source::Process(process) => Some(process.as_obj().clone()),
            Source::Signals => None,
        }
    }

    /// The stream transport, if it is one.
    pub(crate) fn transport(&self, py: Python<'_>) -> Option<Ref<Stream>> {
        match self {
            Source::Stream(transport) => Some(transport.clone()),
            Source::Idle(reference) => Ref::downcast(&referent(reference, py)?).cloned(),
            _ => None,
        }
    }

    /// Acts on what the poller reported. SystemExit and KeyboardInterrupt come back as errors.
    #[inline]
    pub(crate) fn ready(
        &self,
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        readable: bool,
        writable: bool,
    ) -> PyResult<()> {
        match self {
            Source::Stream(transport) => {
                if readable {
                    read::ready(transport, py, event_loop)?;
                }
                if writable {
                    write::ready(transport, py, event_loop)?;
                }
                Ok(())
            }
            Source::Idle(_) => Ok(()),
            Source::Datagram(transport) => {
                if readable {
                    datagram::ready(transport, py, event_loop)?;
                }
                if writable {
                    datagram::writable(transport, py, event_loop)?;
                }
                Ok(())
            }
            Source::ReadPipe(transport) => {
                if readable {
                    pipe::readable(transport, py, event_loop)?;
                }
                Ok(())
            }
            Source::WritePipe(transport) => {
                if readable {
                    pipe::reader_gone(transport, py)?;
                }
                if writable {
                    pipe::writable(transport, py, event_loop)?;
                }
                Ok(())
            }
            Source::Listener(server, index) => accept::accept(py, event_loop, server, *index),
            Source::Process(process) => subprocess::ready(process, py, event_loop),
            Source::Signals => signals::ready(event_loop, py),
        }
    }
}

/// The protocol of a user that what happens to `owner` is told to, if it is a transport of any kind.
pub(crate) fn protocol_of(py: Python<'_>, owner: &Obj) -> Option<Obj> {
    let owner = owner.bind(py);
    if let Some(stream) = Ref::<Stream>::downcast(owner) {
        let protocol = stream.shared().protocol.get()?;
        return match tls::TlsProtocol::above(protocol.bind(py)) {
            Some(above) => above.protocol.get(),
            None => Some(protocol),
        };
    }
    if let Some(above) = Ref::<Tls>::downcast(owner) {
        return above.protocol.get();
    }
    if let Some(datagram) = Ref::<Datagram>::downcast(owner) {
        return datagram.shared().protocol.get();
    }
    if let Some(process) = Ref::<ProcessTransport>::downcast(owner) {
        return process.protocol();
    }
    let protocol = match Ref::<ReadPipe>::downcast(owner) {
        Some(pipe) => pipe.shared().protocol.get()?,
        None => Ref::<WritePipe>::downcast(owner)?.shared().protocol.get()?,
    };
    match Ref::<PipeProtocol>::downcast_exact(protocol.bind(py)) {
        Some(pipe) => pipe.process()?.protocol(),
        None => Some(protocol),
    }
}

/// What a weak reference refers to, if it is still there.
fn referent<'py>(reference: &Obj, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
    reference.bind(py).cast::<PyWeakrefReference>().ok()?.upgrade()
}

/// A new transport on a connected stream socket, of the class for its family.
///
/// # Errors
/// What is wrong with the protocol or the descriptor, which is closed then; RuntimeError when the loop is closed.
pub(crate) fn open(py: Python<'_>, parts: Parts<'_>) -> PyResult<Ref<Stream>> {
    match &parts.peer {
        Some(Address::UnixPath(_) | Address::UnixAbstract(_) | Address::Unnamed) => unix::open(py, parts),
        _ => tcp::open(py, parts),
    }
}

/// Builds the classes.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    read::init(module.py())?;
    extra::init(module.py())?;
    stream::init(module)?;
    tcp::init(module)?;
    datagram::init(module)?;
    tls::init(module)?;
    pipe::init(module)?;
    unix::init(module)
}
