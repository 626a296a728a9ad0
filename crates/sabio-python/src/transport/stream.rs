//! The stream transport: its state, how it begins, and the class under all public ones.
//!
//! A transport is registered with the reactor from its first to its last moment, which keeps it alive while it waits for
//! anything. One that is paused is known there by a weak reference only: an open transport that everybody has forgotten
//! is closed by its finalizer, with a ResourceWarning.
//! Its life is asyncio's: `closing` is set by `close()`, by `abort()` and by errors; `conn_lost` counts from the moment
//! at which `connection_lost` is certain to come, and from then on nothing is read or sent any more.

use std::cell::Cell;
use std::ops::Deref;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use sabio_reactor::Interest;
use sabio_reactor::socket::Address;
use sabio_sync::oneshot::Sender;

use super::descriptor::Owner;
use super::file::FileState;
use super::queue::Queue;
use super::reading::{self, Reading};
use super::receive::Amount;
use super::shared::{self, Shared, Transport, begin_soon, describe, finalize};
use super::tls::TlsProtocol;
use super::{Source, close, extra, flow, write};
use crate::event_loop::Loop;
use crate::event_loop::server::Server;
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, Ref, Slot, Visit};
use crate::names::Name;
use crate::os_error::os_error;
use crate::stream::StreamReaderProtocol;

/// The data of a stream transport.
pub(crate) struct Stream {
    shared: Shared,
    /// How the protocol gets its data.
    pub(super) delivery: Cell<Delivery>,
    pub(super) queue: Queue,
    pub(super) server: Slot<Ref<Server>>,
    pub(super) reading_paused: Cell<bool>,
    /// Whether the peer has ended its half of the connection.
    pub(super) at_eof: Cell<bool>,
    /// Whether `write_eof()` was called.
    pub(super) eof_written: Cell<bool>,
    /// Whether this transport will be flushed when the callback that runs now returns.
    pub(super) corked: Cell<bool>,
    /// Whether that callback is this transport's own call of its protocol, after which it flushes itself.
    pub(super) receiving: Cell<bool>,
    /// Whether what is queued waits for the descriptor to become writable.
    pub(super) blocked: Cell<bool>,
    /// How much the next read is expected to give.
    pub(super) expected: Cell<Amount>,
    pub(super) file: FileState,
}

/// How a protocol gets its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// By `data_received()`.
    Data,
    /// By `get_buffer()` and `buffer_updated()`.
    Buffer,
    /// It is put into the protocol's `StreamReader`, if that takes it.
    Reader,
    /// It goes through the engine of the TLS transport above.
    Tls,
}

impl Delivery {
    /// How `protocol` gets its data.
    pub(super) fn of(protocol: &Bound<'_, PyAny>) -> PyResult<Delivery> {
        Ok(if TlsProtocol::is(protocol) {
            Delivery::Tls
        } else if protocol.is_instance(BUFFERED_PROTOCOL.get(protocol.py())?.bind(protocol.py()))? {
            Delivery::Buffer
        } else if StreamReaderProtocol::exact(protocol).is_some() {
            Delivery::Reader
        } else {
            Delivery::Data
        })
    }
}

static STREAM: ClassCell = ClassCell::new();

impl Class for Stream {
    const NAME: &'static std::ffi::CStr = c"sabio._StreamTransport";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &STREAM
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.shared.visit(visit);
        visit.slot(&self.server);
        self.queue.visit(visit);
        self.file.visit(visit);
    }

    fn clear(&self) {
        self.server.set(None);
        self.shared.clear();
    }
}

/// A stream transport is what all transports are, and more.
impl Deref for Stream {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Transport for Stream {
    const FATAL_READ: &'static str = "Fatal read error on socket transport";

    #[inline]
    fn shared(&self) -> &Shared {
        &self.shared
    }

    #[inline]
    fn queued(&self) -> usize {
        self.queue.size()
    }

    fn drop_queue(&self) {
        self.queue.clear();
        self.blocked.set(false);
    }

    fn flush_now(slf: &Ref<Stream>, py: Python<'_>) -> PyResult<()> {
        write::flush_now(slf, py)
    }

    fn source(slf: &Ref<Stream>) -> Source {
        Source::Stream(slf.clone())
    }

    fn update_interest(slf: &Ref<Stream>, py: Python<'_>) -> PyResult<()> {
        slf.update_interest(py)
    }

    fn ended(&self, py: Python<'_>) -> PyResult<()> {
        self.file.wake();
        match self.server.take() {
            Some(server) => Server::detach(&server, py),
            None => Ok(()),
        }
    }
}

impl Reading for Stream {
    #[inline]
    fn reading_paused(&self) -> &Cell<bool> {
        &self.reading_paused
    }

    fn expected(&self) -> &Cell<Amount> {
        &self.expected
    }
}

/// What a transport is made of.
pub(crate) struct Parts<'a> {
    /// The loop that it lives on.
    pub(crate) event_loop: &'a Ref<Loop>,
    /// Its connected, nonblocking socket.
    pub(crate) owner: Owner,
    /// The address of the other end, where it is known.
    pub(crate) peer: Option<Address>,
    /// What is told of it.
    pub(crate) protocol: Obj,
    /// The context that the protocol's callbacks run in; no other transport's.
    pub(crate) context: Obj,
    /// The server that accepted the connection.
    pub(crate) server: Option<&'a Ref<Server>>,
    /// Told when `connection_made` has been called.
    pub(crate) waiter: Option<Sender<()>>,
}

impl Stream {
    /// A new transport of this class: `connection_made` is called in the loop's next turn, then it begins to read,
    /// then the waiter is told. When it fails, the descriptor is closed.
    pub(super) fn open(py: Python<'_>, class: &Bound<'_, PyType>, parts: Parts<'_>) -> PyResult<Ref<Stream>> {
        let event_loop = parts.event_loop;
        event_loop.check_closed()?;
        let stream = Stream {
            shared: Shared::new(event_loop, parts.owner, parts.peer, parts.context),
            delivery: Cell::new(Delivery::Data),
            queue: Queue::default(),
            server: Slot::new(None),
            reading_paused: Cell::new(false),
            at_eof: Cell::new(false),
            eof_written: Cell::new(false),
            corked: Cell::new(false),
            receiving: Cell::new(false),
            blocked: Cell::new(false),
            expected: Cell::default(),
            file: FileState::default(),
        };
        let transport = Ref::create_as(class, stream)?;
        if let Err(error) = transport.begin(py, event_loop, &parts.protocol, parts.waiter) {
            transport.closing.set(true);
            transport.conn_lost.set(1);
            let closed = transport.descriptor.close(py, Some(event_loop));
            drop(closed);
            return Err(error);
        }
        if let Some(server) = parts.server {
            server.attach();
            transport.server.set(Some(server.clone()));
        }
        Ok(transport)
    }

    /// Whether it is closing or closed.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether it is open and lives on this loop.
    pub(crate) fn is_on(&self, event_loop: &Ref<Loop>) -> bool {
        std::ptr::eq(self.event_loop.as_ptr(), event_loop.as_obj().as_ptr())
    }

    /// Whether it is a connection that `server` has accepted.
    pub(crate) fn is_accepted_by(&self, server: &Ref<Server>) -> bool {
        std::ptr::eq(self.server.as_ptr(), server.as_obj().as_ptr())
    }

    /// As [`Shared::notify`], for a call after which the protocol's answer is sent at once.
    #[inline]
    pub(super) fn deliver(
        slf: &Ref<Stream>,
        py: Python<'_>,
        protocol: &Obj,
        name: &Name,
        args: &[&Obj],
    ) -> PyResult<Obj> {
        slf.receiving.set(true);
        let result = slf.notify(py, protocol, name, args);
        slf.receiving.set(false);
        let flushed = write::flush(slf, py);
        let result = result?;
        flushed?;
        Ok(result)
    }

    /// Makes `protocol` the one that is told from now on.
    pub(super) fn set_protocol(&self, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        self.delivery.set(Delivery::of(protocol)?);
        self.protocol.set(Some(Obj::from(protocol)));
        Ok(())
    }

    /// Whether data from the peer should be read now.
    #[inline]
    pub(super) fn wants_data(&self) -> bool {
        self.started.get() && !self.reading_paused.get() && !self.closing.get() && !self.at_eof.get()
    }
}

impl Ref<Stream> {
    /// Tells the reactor what the transport waits for.
    ///
    /// # Errors
    /// OSError of the poller (`ENOMEM`, `ENOSPC`).
    pub(super) fn update_interest(&self, py: Python<'_>) -> PyResult<()> {
        let mut interest = Interest::NONE;
        if self.wants_data() {
            interest |= Interest::READABLE;
        }
        if self.blocked.get() && !self.is_lost() {
            interest |= Interest::WRITABLE;
        }
        shared::watch(self, py, interest)
    }

    fn begin(
        &self,
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        protocol: &Obj,
        waiter: Option<Sender<()>>,
    ) -> PyResult<()> {
        self.set_protocol(protocol.bind(py))?;
        let connection_made = Obj::from(protocol.bind(py).getattr("connection_made")?);
        self.descriptor
            .register(event_loop, Source::Stream(self.clone()), Interest::NONE, true)
            .map_err(os_error)?;
        begin_soon(self, event_loop, connection_made, waiter);
        Ok(())
    }
}

/// RuntimeError if a transport, or the loop itself, owns the descriptor `fd`, which the user calls `socket`.
pub(crate) fn check_unused(event_loop: &Ref<Loop>, socket: &Bound<'_, PyAny>, fd: i32) -> PyResult<()> {
    let Some(source) = event_loop.reactor().owner_of(fd) else {
        return Ok(());
    };
    let file = socket.repr()?;
    Err(PyRuntimeError::new_err(match source.owner(socket.py()) {
        Some(owner) => format!(
            "File descriptor {file} is used by transport {}",
            owner.bind(socket.py()).repr()?
        ),
        None => format!("File descriptor {file} is used by the event loop itself"),
    }))
}

fn define(table: &mut MethodTable<Stream>) {
    reading::define(table);
    write::define(table);
    flow::define(table);
    close::define(table);
    close::define_abort(table);
    extra::define(table);
    shared::define(table);
    table
        .fast_method(
            c"set_protocol",
            c"set_protocol($self, protocol)\n--\n\nSet the protocol that is told from now on.",
            |slf, args| slf.set_protocol(args.single("set_protocol", "protocol")?),
        )
        .getter(
            c"_server",
            c"The server that accepted the connection, or None.",
            |slf, _py| Ok(slf.server.get()),
        )
        .getter(
            c"_sendfile_compatible",
            c"How loop.sendfile() sends files through it.",
            |_slf, py| Ok(SENDFILE_MODE.get(py)?.clone()),
        );
}

static BUFFERED_PROTOCOL: Global<Obj> = Global::new();
/// `asyncio.constants._SendfileMode.TRY_NATIVE`.
static SENDFILE_MODE: Global<Obj> = Global::new();

/// Builds the class that the public ones derive from.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let asyncio = py.import("asyncio")?;
    BUFFERED_PROTOCOL.set(py, asyncio.getattr("BufferedProtocol")?.into());
    let modes = py.import("asyncio.constants")?.getattr("_SendfileMode")?;
    SENDFILE_MODE.set(py, modes.getattr("TRY_NATIVE")?.into());
    let base = asyncio.getattr("Transport")?.cast_into::<PyType>()?;
    ClassBuilder::<Stream>::new(c"The native part of sabio's stream transports.")
        .members(define)
        .finalizer(finalize::<Stream>)
        .repr(describe::<Stream>)
        .build(py, &Base::Slots(base))?;
    Ok(())
}

/// A public class on top of [`Stream`]'s, whose instances take attributes and weak references.
pub(super) fn public_class<'py>(
    module: &Bound<'py, PyModule>,
    name: &str,
    doc: &str,
) -> PyResult<Bound<'py, PyType>> {
    let class = shared::public_class(module, name, &STREAM.class(module.py())?, doc)?;
    // Other event loops and libraries ask for this before they build TLS on a transport.
    class.setattr("_start_tls_compatible", true)?;
    Ok(class)
}
