//! `Server`: listeners, and how many connections they have accepted that are still open (asyncio: Server Objects).
//!
//! The Python sockets of the listeners own their descriptors; they are taken out of the reactor in the same function
//! that closes them. Which connections are open is not recorded twice: the reactor knows every transport.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet, PyString, PyTuple, PyType};
use sabio_reactor::{Interest, Token};
use sabio_sync::yield_now;

use super::Loop;
use super::socket_file::SocketFile;
use crate::asyncio::asyncio;
use crate::coroutine::create_with_held;
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Visit, call_method,
    context_copy_current, public_class,
};
use crate::names::names;
use crate::os_error::os_error;
use crate::transport::tls::Options;
use crate::transport::{Source, Stream, close, transport_socket};

/// The data of a server.
pub(crate) struct Server {
    event_loop: Ref<Loop>,
    protocol_factory: ObjCell,
    /// The list of sockets; empty once the server is closed.
    sockets: ObjCell,
    /// By what name the reactor knows each socket, while the server serves.
    listeners: RefCell<Vec<Token>>,
    backlog: i32,
    /// How connections are encrypted, if they are.
    tls: Option<Options>,
    /// Each connection gets a copy of it.
    context: Obj,
    connections: Cell<usize>,
    /// Which look at the poller has brought the last connection, by the loop's count of them.
    accepted_at: Cell<u32>,
    /// The list of futures of those who wait for the end; empty once that has come.
    waiters: ObjCell,
    serving: Cell<bool>,
    serving_forever: ObjCell,
    /// What the socket has left in the file system and is to be removed with it.
    file: RefCell<Option<SocketFile>>,
}

static SERVER: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for Server {
    const NAME: &'static std::ffi::CStr = c"sabio._ServerCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &SERVER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.obj(self.event_loop.as_obj());
        visit.slot(&self.protocol_factory);
        if let Some(tls) = &self.tls {
            tls.visit(visit);
        }
        visit.slot(&self.sockets);
        visit.obj(&self.context);
        visit.slot(&self.waiters);
        visit.slot(&self.serving_forever);
        if let Ok(file) = self.file.try_borrow()
            && let Some(file) = &*file
        {
            file.visit(visit);
        }
    }

    fn clear(&self) {
        self.protocol_factory.set(None);
        self.sockets.set(None);
        self.waiters.set(None);
        self.serving_forever.set(None);
    }
}

impl Server {
    /// A server on these bound sockets, a list, that does not serve yet.
    pub(super) fn open(
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        sockets: Bound<'_, PyList>,
        protocol_factory: Obj,
        backlog: i32,
        tls: Option<Options>,
    ) -> PyResult<Ref<Server>> {
        let server = Server {
            event_loop: event_loop.clone(),
            protocol_factory: ObjCell::new(Some(protocol_factory)),
            sockets: ObjCell::new(Some(sockets.into())),
            listeners: RefCell::new(Vec::new()),
            backlog,
            tls,
            context: context_copy_current(py)?,
            connections: Cell::new(0),
            accepted_at: Cell::new(0),
            waiters: ObjCell::new(Some(PyList::empty(py).into())),
            serving: Cell::new(false),
            serving_forever: ObjCell::new(None),
            file: RefCell::new(None),
        };
        Ref::create_as(CLASS.get(py)?.bind(py).cast::<PyType>()?, server)
    }

    /// Names the file that is removed when the server is closed.
    pub(super) fn set_file(&self, file: Option<SocketFile>) {
        self.file.replace(file);
    }

    /// Removes the file, once.
    fn remove_file(&self, py: Python<'_>) -> PyResult<()> {
        let file = self.file.take();
        file.map_or(Ok(()), |file| file.remove(py))
    }

    /// How many connections may wait to be accepted.
    pub(super) fn backlog(&self) -> i32 {
        self.backlog
    }

    /// A connection was accepted in this turn.
    pub(super) fn note_accepted(&self, event_loop: &Loop) {
        self.accepted_at.set(event_loop.pace.polls());
    }

    /// Whether the look at the poller before this one, or this one, has brought a connection.
    pub(super) fn has_just_accepted(&self, event_loop: &Loop) -> bool {
        event_loop.pace.polls().wrapping_sub(self.accepted_at.get()) <= 1
    }

    /// What makes the protocols.
    pub(super) fn protocol_factory(&self) -> Option<Obj> {
        self.protocol_factory.get()
    }

    /// How connections are encrypted, if they are.
    pub(super) fn tls(&self) -> Option<Options> {
        self.tls.clone()
    }

    /// The context of which each connection gets a copy.
    pub(super) fn context(&self) -> &Obj {
        &self.context
    }

    /// The descriptor of a listener, while it listens.
    pub(super) fn listener(&self, index: usize) -> Option<RawFd> {
        let token = *self.listeners.borrow().get(index)?;
        self.event_loop.reactor().descriptor(token).filter(|fd| *fd >= 0)
    }

    /// The socket of a listener, until the server is closed.
    pub(super) fn socket(&self, py: Python<'_>, index: usize) -> PyResult<Option<Obj>> {
        match self.sockets.get() {
            Some(sockets) => Ok(Some(sockets.bind(py).get_item(index)?.into())),
            None => Ok(None),
        }
    }

    /// Watches a listener, or stops watching it.
    ///
    /// # Errors
    /// OSError of the poller.
    pub(super) fn set_interest(&self, index: usize, interest: Interest) -> PyResult<()> {
        let token = self.listeners.borrow().get(index).copied();
        match token {
            Some(token) => self
                .event_loop
                .reactor()
                .set_interest(token, interest)
                .map_err(os_error),
            None => Ok(()),
        }
    }

    /// Watches all listeners again.
    pub(super) fn resume_accepting(&self) -> PyResult<()> {
        let count = self.listeners.borrow().len();
        (0..count)
            .filter(|index| self.listener(*index).is_some())
            .try_for_each(|index| self.set_interest(index, Interest::READABLE))
    }

    /// Counts a new connection.
    pub(crate) fn attach(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    /// A connection is gone.
    pub(crate) fn detach(slf: &Ref<Server>, py: Python<'_>) -> PyResult<()> {
        slf.connections.set(slf.connections.get().saturating_sub(1));
        slf.wake_up_at_the_end(py)
    }

    fn wake_up_at_the_end(&self, py: Python<'_>) -> PyResult<()> {
        if self.connections.get() > 0 || !self.sockets.is_none() {
            return Ok(());
        }
        let Some(waiters) = self.waiters.take() else {
            return Ok(());
        };
        for waiter in waiters.bind(py).try_iter()? {
            let waiter = waiter?;
            if !waiter.call_method0("done")?.is_truthy()? {
                waiter.call_method1("set_result", (py.None(),))?;
            }
        }
        Ok(())
    }

    /// Starts to listen, once.
    ///
    /// # Errors
    /// RuntimeError when the server is closed, OSError of listen(2) and of the poller.
    pub(super) fn start(slf: &Ref<Server>, py: Python<'_>) -> PyResult<()> {
        if slf.serving.get() {
            return Ok(());
        }
        let Some(sockets) = slf.sockets.get() else {
            return Err(closed(slf, py));
        };
        slf.serving.set(true);
        for (index, socket) in sockets.bind(py).try_iter()?.enumerate() {
            let socket = socket?;
            socket.call_method1("listen", (slf.backlog,))?;
            let fd: RawFd = socket.call_method0("fileno")?.extract()?;
            let source = Source::Listener(slf.clone(), index);
            let token = slf
                .event_loop
                .reactor()
                .register(fd, Interest::READABLE, source)
                .map_err(os_error)?;
            slf.listeners.borrow_mut().push(token);
        }
        Ok(())
    }

    fn close(slf: &Ref<Server>, py: Python<'_>) -> PyResult<()> {
        let Some(sockets) = slf.sockets.take() else {
            return Ok(());
        };
        let listeners = slf.listeners.take();
        let sources: Vec<_> = listeners
            .iter()
            .map(|token| slf.event_loop.reactor().deregister(*token))
            .collect();
        for socket in sockets.bind(py).try_iter()? {
            socket?.call_method0("close")?;
        }
        drop(sources);
        slf.remove_file(py)?;
        slf.serving.set(false);
        if let Some(future) = slf.serving_forever.take()
            && !call_method(py, &future, &names(py)?.done, &[])?
                .bind(py)
                .is_truthy()?
        {
            call_method(py, &future, &names(py)?.cancel, &[])?;
        }
        slf.wake_up_at_the_end(py)
    }

    /// The transports of the connections that are open.
    fn clients(slf: &Ref<Server>, py: Python<'_>) -> Vec<Ref<Stream>> {
        let mut sources = Vec::new();
        slf.event_loop
            .reactor()
            .visit(|source| sources.push(source.clone()), |_| {}, |_| {});
        let transports = sources.iter().filter_map(|source| source.transport(py));
        transports
            .filter(|transport| transport.is_accepted_by(slf))
            .collect()
    }

    fn close_clients(slf: &Ref<Server>, py: Python<'_>) -> PyResult<()> {
        Server::clients(slf, py)
            .iter()
            .try_for_each(|transport| close::close(transport, py))
    }

    fn abort_clients(slf: &Ref<Server>, py: Python<'_>) -> PyResult<()> {
        Server::clients(slf, py)
            .iter()
            .try_for_each(|transport| close::abort(transport, py))
    }

    /// A future that is done when the server is closed and its last connection gone; None if there is nothing to wait for.
    fn end(&self, py: Python<'_>) -> PyResult<Option<Obj>> {
        // Before 3.12 a closed server is not waited for, whatever its connections do: programs of that time count on it.
        if cfg!(not(Py_3_12)) && self.sockets.is_none() {
            return Ok(None);
        }
        let Some(waiters) = self.waiters.get() else {
            return Ok(None);
        };
        let waiter = call_method(py, self.event_loop.as_obj(), &names(py)?.create_future, &[])?;
        waiters.bind(py).call_method1("append", (waiter.bind(py),))?;
        Ok(Some(waiter))
    }
}

#[cold]
fn closed(slf: &Ref<Server>, py: Python<'_>) -> PyErr {
    match slf.bind(py).repr() {
        Ok(text) => PyRuntimeError::new_err(format!("server {text} is closed")),
        Err(error) => error,
    }
}

/// `loop._stop_serving(sock)`: closes a socket that a server listens on, or that has a reader.
pub(super) fn stop_serving(event_loop: &Ref<Loop>, socket: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = socket.py();
    let fd: RawFd = call_method(py, &Obj::from(socket), &names(py)?.fileno, &[])?
        .bind(py)
        .extract()?;
    match event_loop.reactor().owner_of(fd) {
        Some(Source::Listener(server, index)) => {
            let token = server.listeners.borrow().get(index).copied();
            drop(token.and_then(|token| event_loop.reactor().deregister(token)));
            server.remove_file(py)?;
        }
        _ => {
            event_loop.bind(py).call_method1("remove_reader", (socket,))?;
        }
    }
    call_method(py, &Obj::from(socket), &names(py)?.close, &[])?;
    Ok(())
}

fn start_serving(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    create_with_held(py, "Server.start_serving", slf, |server, _| async move {
        Python::attach(|py| Server::start(&server, py))?;
        // As in asyncio: connections that are waiting already are accepted in the turn that follows.
        yield_now().await;
        Ok(Python::attach(Obj::none))
    })
}

fn serve_forever(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    create_with_held(py, "Server.serve_forever", slf, |server, awaiter| async move {
        let future = Python::attach(|py| {
            if !server.serving_forever.is_none() {
                let text = server.bind(py).repr()?;
                return Err(PyRuntimeError::new_err(format!(
                    "server {text} is already being awaited on serve_forever()"
                )));
            }
            Server::start(&server, py)?;
            let future = call_method(py, server.event_loop.as_obj(), &names(py)?.create_future, &[])?;
            server.serving_forever.set(Some(future.clone()));
            Ok(future)
        })?;
        let ended = awaiter.wait(future).await;
        server.serving_forever.set(None);
        let Err(error) = ended else {
            return Ok(Python::attach(Obj::none));
        };
        let end = Python::attach(|py| {
            if !crate::ffi::is_cancelled_error(py, &error, &asyncio(py)?.cancelled_error) {
                return Ok(None);
            }
            Server::close(&server, py)?;
            // Before 3.14 the connections live on, and are waited for.
            if cfg!(Py_3_14) {
                Server::close_clients(&server, py)?;
            }
            server.end(py)
        });
        // Whatever happens on the way out, it is the cancellation that is raised.
        if let Ok(Some(end)) = end {
            let _ = awaiter.wait(end).await;
        }
        Err(error)
    })
}

fn wait_closed(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    create_with_held(py, "Server.wait_closed", slf, |server, awaiter| async move {
        if let Some(end) = Python::attach(|py| server.end(py))? {
            awaiter.wait(end).await?;
        }
        Ok(Python::attach(Obj::none))
    })
}

fn aenter(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    create_with_held(py, "Server.__aenter__", slf, |server, _| async move {
        Ok(server.as_obj().clone())
    })
}

fn aexit(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    create_with_held(py, "Server.__aexit__", slf, |server, awaiter| async move {
        let end = Python::attach(|py| {
            Server::close(&server, py)?;
            server.end(py)
        })?;
        if let Some(end) = end {
            awaiter.wait(end).await?;
        }
        Ok(Python::attach(Obj::none))
    })
}

fn sockets(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    let mut wrapped = Vec::new();
    if let Some(sockets) = slf.sockets.get() {
        for socket in sockets.bind(py).try_iter()? {
            wrapped.push(transport_socket(py, &Obj::from(socket?))?.into_bound(py));
        }
    }
    Ok(PyTuple::new(py, wrapped)?.into())
}

fn repr(slf: &Ref<Server>, py: Python<'_>) -> PyResult<Obj> {
    let class = slf.bind(py).get_type().name()?;
    let sockets = sockets(slf, py)?;
    let text = format!("<{class} sockets={}>", sockets.bind(py).repr()?);
    Ok(Obj::from(PyString::new(py, &text)))
}

fn define(table: &mut MethodTable<Server>) {
    table
        .noargs(c"get_loop", c"get_loop($self, /)\n--\n\nThe event loop.", |slf, _py| Ok(slf.event_loop.clone()))
        .noargs(c"is_serving", c"is_serving($self, /)\n--\n\nWhether the server accepts connections.", |slf, _py| {
            Ok(slf.serving.get())
        })
        .noargs(c"close", c"close($self, /)\n--\n\nStop listening; connections stay open.", Server::close)
        .noargs(c"close_clients", c"close_clients($self, /)\n--\n\nClose all connections.", Server::close_clients)
        .noargs(c"abort_clients", c"abort_clients($self, /)\n--\n\nClose all connections at once.", Server::abort_clients)
        .noargs(c"start_serving", c"start_serving($self, /)\n--\n\nStart to accept connections. A coroutine.", start_serving)
        .noargs(
            c"serve_forever",
            c"serve_forever($self, /)\n--\n\nAccept connections until cancelled; then close everything. A coroutine.",
            serve_forever,
        )
        .noargs(
            c"wait_closed",
            c"wait_closed($self, /)\n--\n\nWait until the server is closed and all connections are gone. A coroutine.",
            wait_closed,
        )
        .noargs(c"__aenter__", c"__aenter__($self, /)\n--\n\nThe server itself. A coroutine.", aenter)
        .method(
            c"__aexit__",
            c"__aexit__($self, /, *exc)\n--\n\nClose the server and wait until it is closed. A coroutine.",
            |slf, args| aexit(slf, args.py()),
        )
        .noargs(c"_start_serving", c"_start_serving($self, /)\n--\n\nStart to accept connections.", Server::start)
        .method(
            c"_attach",
            c"_attach($self, transport=None, /)\n--\n\nCount a connection.",
            |slf, _args| {
                slf.attach();
                Ok(())
            },
        )
        .method(
            c"_detach",
            c"_detach($self, transport=None, /)\n--\n\nA connection that was counted is gone.",
            |slf, args| Server::detach(slf, args.py()),
        )
        .getter(c"sockets", c"The listening sockets, a tuple; empty once the server is closed.", sockets)
        .getter(c"_sockets", c"The list of listening sockets, or None.", |slf, _py| Ok(slf.sockets.get()))
        .getter(c"_waiters", c"The futures of those who wait for the end, or None.", |slf, _py| Ok(slf.waiters.get()))
        .getter(c"_loop", c"The event loop.", |slf, _py| Ok(slf.event_loop.clone()))
        .getter(c"_backlog", c"How many connections may wait to be accepted.", |slf, py| {
            Ok(Obj::from(slf.backlog.into_pyobject(py)?))
        })
        .getter(c"_protocol_factory", c"What makes the protocols.", |slf, _py| Ok(slf.protocol_factory.get()))
        .getter(c"_serving", c"Whether the server accepts connections.", |slf, _py| Ok(slf.serving.get()))
        .getter(c"_serving_forever_fut", c"What serve_forever() waits for, or None.", |slf, _py| {
            Ok(slf.serving_forever.get())
        })
        .getter(c"_active_count", c"How many connections are open.", |slf, _py| Ok(slf.connections.get()))
        .getter(c"_clients", c"The transports of the connections that are open, a set.", |slf, py| {
            let set = PySet::empty(py)?;
            for transport in Server::clients(slf, py) {
                set.add(transport.bind(py))?;
            }
            Ok(Obj::from(set))
        });
}

/// Builds the class: our core first, which overrides all of `asyncio.Server` that is public behind it.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let core = ClassBuilder::<Server>::new(c"The native part of sabio.Server.")
        .members(define)
        .repr(repr)
        .build(py, &Base::Object)?;
    let base = py.import("asyncio.base_events")?.getattr("Server")?;
    let doc = "A server (asyncio: Server Objects), written in Rust. Made by the event loop.";
    let class = public_class(py, "Server", &[&core, &base], doc)?;
    CLASS.set(py, Obj::from(&class));
    module.add("Server", class)
}
