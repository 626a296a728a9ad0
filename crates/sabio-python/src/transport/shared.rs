//! What all transports are: on which loop, over which descriptor, who is told, and how far they have come.
//!
//! `close` (the one way in which a transport ends), `flow` (pausing the protocol) and `extra` (what can be asked) are
//! written against [`Transport`]; a kind of transport adds what it does with data.

use std::cell::Cell;

use pyo3::exceptions::{PyOSError, PyResourceWarning};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType, PyWeakrefReference};
use sabio_reactor::Interest;
use sabio_reactor::socket::Address;
use sabio_sync::oneshot::Sender;

use super::descriptor::{Descriptor, Owner};
use super::flow::Limits;
use super::{Source, close};
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready, errors};
use crate::ffi::{
    Class, MethodTable, Obj, ObjCell, Ref, Slot, Visit, call_method, context_enter, context_exit,
    public_class as class_for_users,
};
use crate::handle::call_in_context;
use crate::interpreter::interpreter;
use crate::names::Name;
use crate::os_error::os_error;

/// The state that all kinds of transports have.
pub(crate) struct Shared {
    pub(super) event_loop: Slot<Ref<Loop>>,
    pub(super) protocol: ObjCell,
    /// What the protocol's callbacks run in.
    pub(super) context: Obj,
    pub(super) descriptor: Descriptor,
    pub(super) limits: Limits,
    pub(super) extra: ObjCell,
    /// Whether `connection_made` was called: reading begins then.
    pub(super) started: Cell<bool>,
    pub(super) closing: Cell<bool>,
    pub(super) conn_lost: Cell<u32>,
}

/// Whether this is a forked child, which shares the connection with its parent: what is queued is the parent's to send,
/// and what the child sends, the peer takes for the parent's words.
pub(super) fn is_inherited(event_loop: &Slot<Ref<Loop>>) -> bool {
    event_loop
        .get()
        .is_some_and(|event_loop| event_loop.is_inherited())
}

impl Shared {
    /// A transport that has not begun.
    pub(super) fn new(event_loop: &Ref<Loop>, owner: Owner, peer: Option<Address>, context: Obj) -> Shared {
        Shared {
            event_loop: Slot::new(Some(event_loop.clone())),
            protocol: ObjCell::new(None),
            context,
            descriptor: Descriptor::new(owner, peer),
            limits: Limits::default(),
            extra: ObjCell::new(None),
            started: Cell::new(false),
            closing: Cell::new(false),
            conn_lost: Cell::new(0),
        }
    }

    /// Whether `connection_lost` was called or is certain to come.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.conn_lost.get() > 0
    }

    /// Calls a method of the protocol in the transport's context.
    #[inline]
    pub(super) fn notify(&self, py: Python<'_>, protocol: &Obj, name: &Name, args: &[&Obj]) -> PyResult<Obj> {
        context_enter(py, &self.context)?;
        let result = call_method(py, protocol, name, args);
        context_exit(py, &self.context)?;
        Ok(result?)
    }

    /// What the protocol's callbacks run in.
    pub(crate) fn context(&self) -> &Obj {
        &self.context
    }

    /// Whether there is a loop that could still do something for it.
    pub(crate) fn has_open_loop(&self) -> bool {
        let event_loop = self.event_loop.get();
        event_loop.is_some_and(|event_loop| !event_loop.is_closed())
    }

    /// Shows what it owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.event_loop);
        visit.slot(&self.protocol);
        visit.obj(&self.context);
        visit.slot(&self.extra);
        self.descriptor.visit(visit);
    }

    /// Lets go of what may be part of a cycle.
    pub(super) fn clear(&self) {
        self.protocol.set(None);
        self.extra.set(None);
        self.event_loop.set(None);
    }
}

/// A kind of transport.
pub(crate) trait Transport: Class {
    /// What messages about a failed read begin with.
    const FATAL_READ: &'static str;

    /// The common part.
    fn shared(&self) -> &Shared;

    /// How many bytes are not sent yet, corked ones included, as the limits count them.
    fn queued(&self) -> usize;

    /// Forgets what is not sent.
    fn drop_queue(&self);

    /// Sends what is corked now, if anything is.
    fn flush_now(slf: &Ref<Self>, py: Python<'_>) -> PyResult<()>;

    /// As what the reactor knows it.
    fn source(slf: &Ref<Self>) -> Source;

    /// Tells the reactor what the transport waits for.
    ///
    /// # Errors
    /// OSError of the poller (`ENOMEM`, `ENOSPC`).
    fn update_interest(slf: &Ref<Self>, py: Python<'_>) -> PyResult<()>;

    /// Whether an error that ends the connection is an ordinary one, which is only logged in debug mode.
    fn is_expected(py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance_of::<PyOSError>(py)
    }

    /// The descriptor is closed: lets go of what is the kind's own.
    fn ended(&self, py: Python<'_>) -> PyResult<()>;
}

/// Has the reactor report `interest`. A transport that is open and waits for nothing may be forgotten by everybody, since
/// its end will not come by itself: the reactor knows it by a weak reference then.
///
/// # Errors
/// OSError of the poller (`ENOMEM`, `ENOSPC`, `EPERM` for what is always ready).
pub(super) fn watch<T: Transport>(slf: &Ref<T>, py: Python<'_>, interest: Interest) -> PyResult<()> {
    let shared = slf.shared();
    let held = !interest.is_none() || shared.closing.get();
    if shared.descriptor.has(interest, held) {
        return Ok(());
    }
    let Some(event_loop) = shared.event_loop.get() else {
        return Ok(());
    };
    let changed = if shared.descriptor.is_held() == held {
        shared.descriptor.set_interest(&event_loop, interest)
    } else {
        let source = if held {
            T::source(slf)
        } else {
            Source::Idle(PyWeakrefReference::new(slf.bind(py))?.into())
        };
        shared.descriptor.register(&event_loop, source, interest, held)
    };
    changed.map_err(os_error)
}

/// Logs in debug mode: `format` gets the transport first.
pub(super) fn log_debug<T: Transport>(slf: &Ref<T>, py: Python<'_>, format: &str) -> PyResult<()> {
    let event_loop = slf.shared().event_loop.get();
    if event_loop.is_some_and(|event_loop| event_loop.debug()) {
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("debug", (format, slf.bind(py)))?;
    }
    Ok(())
}

/// In the loop's next turn: calls `connection_made`, begins to read, then tells the waiter.
pub(super) fn begin_soon<T: Transport>(
    slf: &Ref<T>,
    event_loop: &Ref<Loop>,
    connection_made: Obj,
    waiter: Option<Sender<()>>,
) {
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, event_loop| {
        let shared = transport.shared();
        let args = [transport.as_obj().clone()];
        let told = call_in_context(py, &shared.context, &connection_made, &args)
            .map(|_| ())
            .or_else(|error| errors::call_failed(py, event_loop, &connection_made, &args, error));
        shared.started.set(true);
        let reading = T::update_interest(&transport, py)
            .or_else(|error| close::fatal_error(&transport, py, error, T::FATAL_READ));
        if let Some(waiter) = waiter {
            waiter.send(());
        }
        told.and(reading)
    }));
}

/// How the `repr` of a transport begins: its class, whether it is closing or closed, and its descriptor's number.
pub(super) fn describe_state<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<String> {
    let shared = slf.shared();
    let mut text = format!("<{}", slf.bind(py).get_type().name()?);
    if !shared.descriptor.is_open() {
        text.push_str(" closed");
    } else if shared.closing.get() {
        text.push_str(" closing");
    }
    text.push_str(&format!(" fd={}", shared.descriptor.number()));
    Ok(text)
}

/// The `repr` of a transport.
pub(super) fn describe<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<Obj> {
    let shared = slf.shared();
    let mut text = describe_state(slf, py)?;
    if shared
        .event_loop
        .get()
        .is_some_and(|event_loop| !event_loop.is_closed())
    {
        let state = |on: bool| if on { "polling" } else { "idle" };
        let interest = shared.descriptor.interest();
        text.push_str(&format!(
            " read={} write=<{}, bufsize={}>",
            state(interest.is_readable()),
            state(interest.is_writable()),
            slf.queued(),
        ));
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

/// ResourceWarning for a transport that nobody closed; then closes it.
pub(super) fn finalize<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    let shared = slf.shared();
    if !shared.descriptor.is_open() {
        return Ok(());
    }
    let message = format!("unclosed transport {}", slf.bind(py).repr()?);
    let category = py.get_type::<PyResourceWarning>();
    let warned = interpreter(py)?.warn(&message, &category, slf.bind(py));
    shared.closing.set(true);
    shared.conn_lost.set(1);
    let closed = shared.descriptor.close(py, shared.event_loop.get().as_ref());
    let ended = slf.ended(py);
    warned?;
    closed.and(ended)
}

/// The attributes that all transports have.
pub(super) fn define<T: Transport>(table: &mut MethodTable<T>) {
    table
        .fast_noargs(
            c"get_protocol",
            c"get_protocol($self, /)\n--\n\nThe protocol; None once connection_lost() was called.",
            |slf, _py| Ok(slf.shared().protocol.get()),
        )
        .getter(c"_protocol", c"The protocol, or None.", |slf, _py| {
            Ok(slf.shared().protocol.get())
        })
        .getter(
            c"_loop",
            c"The event loop; None once connection_lost() was called.",
            |slf, _py| Ok(slf.shared().event_loop.get()),
        );
}

/// A public class on top of `core`, whose instances take attributes and weak references.
pub(crate) fn public_class<'py>(
    module: &Bound<'py, PyModule>,
    name: &str,
    core: &Bound<'py, PyType>,
    doc: &str,
) -> PyResult<Bound<'py, PyType>> {
    let py = module.py();
    let class = class_for_users(py, name, &[core], doc)?;
    module.add(name, &class)?;
    Ok(class)
}
