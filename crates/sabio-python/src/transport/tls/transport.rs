//! The state of a TLS connection, and the class that applications see.
//!
//! The life of a connection is asyncio's: from `Handshake` to `Wrapped`, where data flows, over `Flushing`, where what is
//! left is passed on, and `Shutdown`, where both sides say that they are done, to `Unwrapped`. What the protocol has been
//! told is a matter of its own ([`Told`]): a connection that was upgraded has told it everything before the handshake.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::exceptions::{PyNotImplementedError, PyResourceWarning};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::engine::Engine;
use super::lower::Lower;
use super::options::{Checked, Options};
use super::protocol::TlsProtocol;
use super::{extra, read, shutdown, write};
use crate::asyncio::asyncio;
use crate::event_loop::Loop;
use crate::ffi::{
    Base, BoundFunction, Class, ClassBuilder, ClassCell, FunctionDef, FunctionDefinition, Global,
    MethodTable, Obj, ObjCell, Ref, Slot, Visit, call_method, context_enter, context_exit, public_class,
};
use crate::interpreter::interpreter;
use crate::names::{Name, names};
use crate::transport::flow::Limits;
use crate::transport::queue::Queue;
use crate::transport::stream::Delivery;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nothing is encrypted: not yet, or not any more.
    Unwrapped,
    Handshake,
    Wrapped,
    /// The end has begun; a paused protocol has not got everything yet.
    Flushing,
    /// Everything is passed on; the peer has to say that it is done.
    Shutdown,
}

/// The last that the application's protocol was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Nothing,
    ConnectionMade,
    EofReceived,
    ConnectionLost,
}

/// Where a connection comes from.
pub(crate) enum Origin {
    /// Somebody waits for the handshake, by this future.
    Opened(Obj),
    /// A transport that the protocol knows was upgraded; somebody waits as well.
    Upgraded(Obj),
    /// A server has accepted it.
    Accepted,
}

/// The data of a TLS transport.
pub(crate) struct Tls {
    pub(super) event_loop: Slot<Ref<Loop>>,
    pub(in crate::transport) protocol: ObjCell,
    pub(super) delivery: Cell<Delivery>,
    /// What the protocol's callbacks run in.
    context: Obj,
    /// Whether that context is entered by a call of the protocol that runs.
    entered: Cell<bool>,
    pub(super) lower: Lower,
    /// The protocol of the transport below.
    pub(super) below: Slot<Ref<TlsProtocol>>,
    engine: RefCell<Option<Rc<Engine>>>,
    pub(super) ssl_context: ObjCell,
    pub(super) ssl_object: ObjCell,
    pub(super) handshake_timeout: Obj,
    pub(super) shutdown_timeout: Obj,
    pub(super) extra: ObjCell,

    pub(super) state: Cell<State>,
    pub(super) told: Cell<Told>,
    /// The future of who waits for the handshake.
    pub(super) waiter: ObjCell,
    /// Whether a server has accepted the connection, so that nobody waits.
    pub(super) accepted: Cell<bool>,
    /// The handle of the timeout that runs.
    timer: ObjCell,
    /// When the handshake began, in debug mode: the loop's time in seconds.
    pub(super) began: Cell<f64>,
    pub(super) handshaken: Cell<bool>,
    /// Whether the application has closed it, or cannot any more.
    pub(super) closed: Cell<bool>,
    /// Whether the application has closed it once more after that, so that nobody will ask what it was.
    pub(super) released: Cell<bool>,
    /// Whether the peer has ended its half of the connection below.
    pub(super) at_eof: Cell<bool>,
    /// Counts the loss and the writes since.
    pub(super) conn_lost: Cell<u32>,

    /// What is to be encrypted.
    pub(super) queue: Queue,
    pub(super) write_limits: Limits,
    /// Whether this transport will be flushed when the callback that runs now returns.
    pub(super) corked: Cell<bool>,
    /// Whether that callback is `connection_made()`, after which the handshake's end flushes.
    pub(super) connecting: Cell<bool>,
    /// Whether the transport below asked for a pause.
    pub(super) lower_blocked: Cell<bool>,

    pub(super) read_limits: read::Limits,
    /// Whether the application has paused reading.
    pub(super) reading_paused: Cell<bool>,
    /// Whether data has to wait until who upgraded the connection has had its turn.
    pub(super) held: Cell<bool>,
    /// Whether the transport below is paused because the protocol takes no data.
    pub(super) lower_paused: Cell<bool>,
    /// What a transport below that is not ours receives into.
    pub(super) memory: ObjCell,
}

static TLS: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for Tls {
    const NAME: &'static std::ffi::CStr = c"sabio._SSLTransportCore";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &TLS
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.event_loop);
        visit.slot(&self.below);
        self.lower.visit(visit);
        self.queue.visit(visit);
        if let Ok(engine) = self.engine.try_borrow()
            && let Some(engine) = &*engine
        {
            engine.visit(visit);
        }
        for object in [&self.context, &self.handshake_timeout, &self.shutdown_timeout] {
            visit.obj(object);
        }
        for slot in [
            &self.protocol,
            &self.ssl_context,
            &self.ssl_object,
            &self.extra,
            &self.waiter,
            &self.timer,
            &self.memory,
        ] {
            visit.slot(slot);
        }
    }

    fn clear(&self) {
        self.lower.clear();
        self.below.set(None);
        self.drop_engine();
        for slot in [&self.protocol, &self.extra, &self.waiter, &self.timer] {
            slot.set(None);
        }
        self.event_loop.set(None);
    }
}

impl Tls {
    /// Whether there is a loop that could still do something for it.
    pub(crate) fn has_open_loop(&self) -> bool {
        let event_loop = self.event_loop.get();
        event_loop.is_some_and(|event_loop| !event_loop.is_closed())
    }

    /// A new transport without one below: its protocol, which the transport below gets, is in `below`. `context` is what
    /// the protocol's callbacks run in; no other transport's.
    ///
    /// # Errors
    /// What is wrong with the options, and whatever the context's `wrap_bio()` raises.
    pub(crate) fn create(
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        protocol: &Obj,
        options: Options,
        context: Obj,
        origin: Origin,
    ) -> PyResult<Ref<Tls>> {
        let Checked {
            context: ssl_context,
            server_side,
            server_hostname,
            handshake_timeout,
            shutdown_timeout,
        } = options.check(py)?;
        let engine = Engine::new(py, ssl_context.bind(py), server_side, server_hostname.as_ref())?;
        let (told, waiter, accepted) = match origin {
            Origin::Opened(waiter) => (Told::Nothing, Some(waiter), false),
            Origin::Upgraded(waiter) => (Told::ConnectionMade, Some(waiter), false),
            Origin::Accepted => (Told::Nothing, None, true),
        };
        let data = Tls {
            event_loop: Slot::new(Some(event_loop.clone())),
            protocol: ObjCell::new(Some(protocol.clone())),
            delivery: Cell::new(Delivery::of(protocol.bind(py))?),
            context,
            entered: Cell::new(false),
            lower: Lower::default(),
            below: Slot::new(None),
            ssl_object: ObjCell::new(Some(engine.ssl_object().clone())),
            engine: RefCell::new(Some(Rc::new(engine))),
            ssl_context: ObjCell::new(Some(ssl_context)),
            handshake_timeout,
            shutdown_timeout,
            extra: ObjCell::new(None),
            state: Cell::new(State::Unwrapped),
            told: Cell::new(told),
            waiter: ObjCell::new(waiter),
            accepted: Cell::new(accepted),
            timer: ObjCell::new(None),
            began: Cell::new(0.0),
            handshaken: Cell::new(false),
            closed: Cell::new(false),
            released: Cell::new(false),
            at_eof: Cell::new(false),
            conn_lost: Cell::new(0),
            queue: Queue::default(),
            write_limits: Limits::new(write::HIGH_WATER),
            corked: Cell::new(false),
            connecting: Cell::new(false),
            lower_blocked: Cell::new(false),
            read_limits: read::Limits::default(),
            reading_paused: Cell::new(false),
            held: Cell::new(false),
            lower_paused: Cell::new(false),
            memory: ObjCell::new(None),
        };
        let transport = Ref::create_as(CLASS.get(py)?.bind(py).cast::<PyType>()?, data)?;
        let below = TlsProtocol::create(py, &transport)?;
        transport.below.set(Some(below));
        Ok(transport)
    }

    /// Whether what is received has to wait.
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.reading_paused.get() || self.held.get()
    }

    /// The engine, until the connection is lost.
    #[inline]
    pub(super) fn engine(&self) -> Option<Rc<Engine>> {
        self.engine.borrow().clone()
    }

    /// Lets go of the engine and its memory.
    pub(super) fn drop_engine(&self) {
        let engine = self.engine.take();
        drop(engine);
    }

    /// Forgets what only those want who ask about the connection.
    pub(super) fn release(&self) {
        for slot in [&self.ssl_context, &self.ssl_object, &self.extra] {
            slot.set(None);
        }
    }

    /// Gives the engine bytes that had come before there was a connection.
    pub(crate) fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.engine().map_or(Ok(()), |engine| engine.feed(py, data))
    }

    /// Names the transport below, which does not know it yet.
    pub(crate) fn set_lower(&self, lower: &Bound<'_, PyAny>) {
        self.lower.set(lower);
    }

    /// The protocol for the transport below.
    pub(crate) fn lower_protocol(&self, py: Python<'_>) -> Obj {
        self.below.get().map_or_else(|| Obj::none(py), Ref::into_obj)
    }

    /// Whether it is closing or closed.
    pub(crate) fn is_closing(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.closed.get() || self.lower.is_closing(py)?)
    }

    /// Whether the connection below is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.below.is_none()
    }

    /// Calls a method of the application's protocol in the connection's context. Nothing once that is gone.
    #[inline]
    pub(super) fn notify(&self, py: Python<'_>, name: &Name, args: &[&Obj]) -> PyResult<Option<Obj>> {
        let Some(protocol) = self.protocol.get() else {
            return Ok(None);
        };
        // A callback that calls the transport may be told something in turn.
        if self.entered.replace(true) {
            return Ok(Some(call_method(py, &protocol, name, args)?));
        }
        if let Err(error) = context_enter(py, &self.context) {
            self.entered.set(false);
            return Err(error.into());
        }
        let result = call_method(py, &protocol, name, args);
        self.entered.set(false);
        context_exit(py, &self.context)?;
        Ok(Some(result?))
    }

    /// The context that the protocol's callbacks run in.
    pub(super) fn context(&self) -> &Obj {
        &self.context
    }

    /// Makes `protocol` the one that is told from now on.
    fn set_protocol(&self, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        self.delivery.set(Delivery::of(protocol)?);
        self.protocol.set(Some(Obj::from(protocol)));
        Ok(())
    }

    /// Whether the loop is in debug mode.
    pub(super) fn debug(&self) -> bool {
        self.event_loop.get().is_some_and(|event_loop| event_loop.debug())
    }

    /// Logs in debug mode: `format` gets the protocol of the transport below first, as in asyncio.
    pub(super) fn log_debug(&self, py: Python<'_>, format: &str) -> PyResult<()> {
        if self.debug() {
            let logger = asyncio(py)?.logger.bind(py);
            logger.call_method1("debug", (format, self.lower_protocol(py).bind(py)))?;
        }
        Ok(())
    }
}

/// The callback of a timeout.
struct Expired;

static EXPIRED: FunctionDefinition = FunctionDefinition::new::<Expired>();

impl FunctionDef for Expired {
    const NAME: &'static std::ffi::CStr = c"_tls_timeout";

    fn definition() -> &'static FunctionDefinition {
        &EXPIRED
    }

    fn call(py: Python<'_>, slf: &Obj, _: &Obj) -> PyResult<Obj> {
        if let Some(tls) = Ref::<Tls>::downcast(slf.bind(py)) {
            shutdown::expired(tls, py)?;
        }
        Ok(Obj::none(py))
    }
}

impl Ref<Tls> {
    /// Sets the timeout of what begins now, in seconds.
    ///
    /// # Errors
    /// Those of the loop's `call_later()`: RuntimeError when it is closed.
    pub(super) fn start_timer(&self, py: Python<'_>, seconds: &Obj) -> PyResult<()> {
        let Some(event_loop) = self.event_loop.get() else {
            return Ok(());
        };
        let expired = BoundFunction::<Expired>::create(py, self.as_obj())?;
        let handle = event_loop
            .bind(py)
            .call_method1("call_later", (seconds.bind(py), expired.bind(py), py.None()))?;
        self.timer.set(Some(handle.into()));
        Ok(())
    }

    /// What was to be done in time is done.
    pub(super) fn stop_timer(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(handle) = self.timer.take() {
            call_method(py, &handle, &names(py)?.cancel, &[])?;
        }
        Ok(())
    }
}

/// ResourceWarning for a transport that nobody closed.
fn finalize(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    // One that was never put above another has nothing to close.
    if slf.closed.replace(true) || slf.lower.get().is_none() {
        return Ok(());
    }
    let message = format!("unclosed transport {}", slf.bind(py).repr()?);
    let category = py.get_type::<PyResourceWarning>();
    interpreter(py)?.warn(&message, &category, slf.bind(py))
}

fn repr(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<Obj> {
    let mut text = format!("<{}", slf.bind(py).get_type().name()?);
    if slf.is_closing(py)? {
        text.push_str(" closing");
    }
    if let Some(lower) = slf.lower.get() {
        text.push_str(&format!(" over {}", lower.bind(py).repr()?));
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

fn define(table: &mut MethodTable<Tls>) {
    extra::define(table);
    read::define(table);
    write::define(table);
    shutdown::define(table);
    table
        .fast_method(
            c"set_protocol",
            c"set_protocol($self, protocol)\n--\n\nSet the protocol that is told from now on.",
            |slf, args| slf.set_protocol(args.single("set_protocol", "protocol")?),
        )
        .fast_noargs(
            c"get_protocol",
            c"get_protocol($self, /)\n--\n\nThe protocol; None once connection_lost() was called.",
            |slf, _py| Ok(slf.protocol.get()),
        )
        .noargs(
            c"write_eof",
            c"write_eof($self, /)\n--\n\nTLS has no such half of a connection: NotImplementedError.",
            |_slf, _py| -> PyResult<()> { Err(PyNotImplementedError::new_err(())) },
        )
        .fast_noargs(
            c"can_write_eof",
            c"can_write_eof($self, /)\n--\n\nFalse: TLS ends both halves together.",
            |_slf, _py| Ok(false),
        )
        .getter(c"_loop", c"The event loop.", |slf, _py| Ok(slf.event_loop.get()))
        .getter(
            c"_ssl_protocol",
            c"The protocol of the transport below; None once the connection is lost.",
            |slf, _py| Ok(slf.below.get()),
        );
}

/// Builds the class.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = py
        .import("asyncio")?
        .getattr("Transport")?
        .cast_into::<PyType>()?;
    let core = ClassBuilder::<Tls>::new(c"The native part of sabio.SSLTransport.")
        .members(define)
        .finalizer(finalize)
        .repr(repr)
        .build(py, &Base::Slots(base))?;
    let doc = "A TLS connection (asyncio: Transports), written in Rust. Made by the event loop.";
    let class = public_class(py, "SSLTransport", &[&core], doc)?;
    // Other event loops and libraries ask for these before they build on a transport.
    class.setattr("_start_tls_compatible", true)?;
    let modes = py.import("asyncio.constants")?.getattr("_SendfileMode")?;
    class.setattr("_sendfile_compatible", modes.getattr("FALLBACK")?)?;
    CLASS.set(py, Obj::from(&class));
    module.add("SSLTransport", class)
}
