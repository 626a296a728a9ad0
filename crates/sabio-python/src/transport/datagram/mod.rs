//! The datagram transport (asyncio: `DatagramTransport`), over UDP and Unix datagram sockets.
//!
//! Datagrams travel in batches: all that waits is received in one system call (`receive`), and what a callback or a task
//! step sends leaves in one when it returns (`send`). Order is kept both ways. `peers` remembers the Python objects of
//! addresses, which are the dearest part of a small datagram.

mod peers;
mod receive;
mod send;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;

use pyo3::prelude::*;
use pyo3::types::PyType;
use sabio_reactor::Interest;
use sabio_reactor::socket::Address;

use self::peers::Peers;
use self::receive::Pace;
use self::send::Queue;
use super::reading::{self, Reading};
use super::receive::Amount;
use super::shared::{self, Shared, Transport, begin_soon, describe, finalize};
use super::stream::Parts;
use super::{Source, close, extra, flow};
use crate::event_loop::{Loop, Ready};
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Visit, public_class,
};
use crate::os_error::os_error;

pub(crate) use receive::{Batches, ready};
pub(crate) use send::{flush, writable};

/// The data of a datagram transport.
pub(crate) struct Datagram {
    shared: Shared,
    /// `remote_addr`: the only address that may be sent to, or None.
    remote: ObjCell,
    /// Whether the socket itself is connected: then no address is given to the kernel.
    connected: bool,
    /// Whether the socket is of a family whose addresses are converted here; others go through the Python socket.
    family: Family,
    queue: RefCell<Queue>,
    /// The size of what is queued, as the limits count it.
    queued: Cell<usize>,
    peers: Peers,
    reading_paused: Cell<bool>,
    /// Holds `max_size`, behind which a datagram is cut off.
    expected: Cell<Amount>,
    /// Data and sender of what was received together with the datagram after which the protocol has paused reading.
    waiting: RefCell<VecDeque<(Obj, Obj)>>,
    /// As in a stream: will be flushed when the callback that runs now returns; is itself calling its protocol; waits for the
    /// descriptor to become writable.
    corked: Cell<bool>,
    receiving: Cell<bool>,
    blocked: Cell<bool>,
    /// How many datagrams to ask for.
    pace: Pace,
    /// Whether datagrams for one address can go as one (udp(7), `UDP_SEGMENT`), once it is known.
    sends_rows: Cell<Option<bool>>,
    /// Whether they are received so (`UDP_GRO`).
    received_rows: Cell<ReceivedRows>,
}

/// Whether the socket receives rows of datagrams as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReceivedRows {
    /// It will once there are some.
    NotYet,
    Yes,
    /// The socket takes none, or is not ours alone: others that read from it could not tell the datagrams apart.
    Never,
}

/// The families that the transport tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Internet(i32),
    Unix,
    Other,
}

static DATAGRAM: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for Datagram {
    const NAME: &'static std::ffi::CStr = c"sabio._DatagramTransport";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &DATAGRAM
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.shared.visit(visit);
        visit.slot(&self.remote);
        if let Ok(queue) = self.queue.try_borrow() {
            queue.visit(visit);
        }
        self.peers.visit(visit);
        if let Ok(waiting) = self.waiting.try_borrow() {
            for (data, from) in &*waiting {
                visit.obj(data);
                visit.obj(from);
            }
        }
    }

    fn clear(&self) {
        self.drop_queue();
        self.drop_waiting();
        self.remote.set(None);
        self.shared.clear();
    }
}

/// A datagram transport is what all transports are, and more.
impl Deref for Datagram {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Transport for Datagram {
    const FATAL_READ: &'static str = "Fatal read error on datagram transport";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn queued(&self) -> usize {
        self.queued.get()
    }

    fn drop_queue(&self) {
        self.blocked.set(false);
        self.queued.set(0);
        let queue = self.queue.take();
        drop(queue);
    }

    fn flush_now(slf: &Ref<Datagram>, py: Python<'_>) -> PyResult<()> {
        send::flush_now(slf, py)
    }

    fn source(slf: &Ref<Datagram>) -> Source {
        Source::Datagram(slf.clone())
    }

    fn update_interest(slf: &Ref<Datagram>, _py: Python<'_>) -> PyResult<()> {
        let mut interest = Interest::NONE;
        if slf.started.get() && slf.is_reading() {
            interest |= Interest::READABLE;
        }
        if slf.blocked.get() && !slf.is_lost() {
            interest |= Interest::WRITABLE;
        }
        if slf.descriptor.has(interest, true) {
            return Ok(());
        }
        match slf.event_loop.get() {
            Some(event_loop) => slf
                .descriptor
                .set_interest(&event_loop, interest)
                .map_err(os_error),
            None => Ok(()),
        }
    }

    fn ended(&self, _py: Python<'_>) -> PyResult<()> {
        self.peers.forget();
        self.drop_waiting();
        Ok(())
    }
}

impl Reading for Datagram {
    fn reading_paused(&self) -> &Cell<bool> {
        &self.reading_paused
    }

    fn expected(&self) -> &Cell<Amount> {
        &self.expected
    }

    fn resumed(slf: &Ref<Datagram>) {
        let Some(event_loop) = slf.event_loop.get().filter(|_| slf.has_waiting()) else {
            return;
        };
        let transport = slf.clone();
        event_loop.push(Ready::job(slf.as_obj().clone(), move |py, event_loop| {
            receive::deliver_waiting(&transport, py, event_loop)
        }));
    }
}

impl Datagram {
    fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn drop_waiting(&self) {
        let waiting = self.waiting.take();
        drop(waiting);
    }
}

/// A new datagram transport; `remote` is the address that everything is sent to (`remote_addr`), `is_private` says that
/// nobody else has the socket. `connection_made` is called in the loop's next turn, then it begins to receive, then the waiter is told.
///
/// # Errors
/// What is wrong with the protocol or the descriptor, which is closed then; RuntimeError when the loop is closed.
pub(crate) fn open(
    py: Python<'_>,
    parts: Parts<'_>,
    remote: Option<Obj>,
    is_private: bool,
) -> PyResult<Ref<Datagram>> {
    let event_loop = parts.event_loop;
    event_loop.check_closed()?;
    let local = parts
        .owner
        .borrow()
        .and_then(sabio_reactor::socket::local_address);
    let family = match local.as_ref().map(Address::family) {
        Ok(number) if number == INTERNET || number == INTERNET_6 => Family::Internet(number),
        Ok(UNIX) => Family::Unix,
        _ => Family::Other,
    };
    let datagram = Datagram {
        connected: parts.peer.is_some(),
        shared: Shared::new(event_loop, parts.owner, parts.peer, parts.context),
        remote: ObjCell::new(remote),
        family,
        queue: RefCell::default(),
        queued: Cell::new(0),
        peers: Peers::default(),
        reading_paused: Cell::new(false),
        expected: Cell::default(),
        waiting: RefCell::default(),
        corked: Cell::new(false),
        receiving: Cell::new(false),
        blocked: Cell::new(false),
        pace: Pace::default(),
        sends_rows: Cell::new(None),
        received_rows: Cell::new(if is_private {
            ReceivedRows::NotYet
        } else {
            ReceivedRows::Never
        }),
    };
    let transport = Ref::create_as(CLASS.get(py)?.bind(py).cast::<PyType>()?, datagram)?;
    if let Err(error) = begin(
        &transport,
        event_loop,
        &parts.protocol.into_bound(py),
        parts.waiter,
    ) {
        transport.closing.set(true);
        transport.conn_lost.set(1);
        let closed = transport.descriptor.close(py, Some(event_loop));
        drop(closed);
        return Err(error);
    }
    Ok(transport)
}

/// `AF_INET`, `AF_INET6` and `AF_UNIX` of Linux.
const INTERNET: i32 = 2;
const INTERNET_6: i32 = 10;
const UNIX: i32 = 1;

fn begin(
    slf: &Ref<Datagram>,
    event_loop: &Ref<Loop>,
    protocol: &Bound<'_, PyAny>,
    waiter: Option<sabio_sync::oneshot::Sender<()>>,
) -> PyResult<()> {
    slf.protocol.set(Some(Obj::from(protocol)));
    let connection_made = Obj::from(protocol.getattr("connection_made")?);
    slf.descriptor
        .register(event_loop, Source::Datagram(slf.clone()), Interest::NONE, true)
        .map_err(os_error)?;
    begin_soon(slf, event_loop, connection_made, waiter);
    Ok(())
}

fn define(table: &mut MethodTable<Datagram>) {
    send::define(table);
    flow::define(table);
    close::define(table);
    close::define_abort(table);
    reading::define(table);
    extra::define(table);
    shared::define(table);
    table
        .fast_method(
            c"set_protocol",
            c"set_protocol($self, protocol)\n--\n\nSet the protocol that is told from now on.",
            |slf, args| {
                let protocol = args.single("set_protocol", "protocol")?;
                slf.protocol.set(Some(Obj::from(protocol)));
                Ok(())
            },
        )
        .getter(
            c"_address",
            c"The only address that may be sent to, or None.",
            |slf, _py| Ok(slf.remote.get()),
        );
}

/// Builds the classes.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let asyncio = py.import("asyncio")?;
    let base = asyncio.getattr("DatagramTransport")?.cast_into::<PyType>()?;
    let core = ClassBuilder::<Datagram>::new(c"The native part of sabio's datagram transports.")
        .members(define)
        .finalizer(finalize::<Datagram>)
        .repr(describe::<Datagram>)
        .build(py, &Base::Slots(base))?;
    let doc = "Datagrams over a socket (asyncio: Transports), written in Rust. Made by the event loop.";
    let name = "DatagramSocketTransport";
    // As with asyncio's, `isinstance(transport, asyncio.Transport)` holds for every transport of a socket.
    let class = public_class(py, name, &[&core, &asyncio.getattr("Transport")?], doc)?;
    CLASS.set(py, Obj::from(&class));
    module.add(name, class)
}
