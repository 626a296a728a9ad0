//! `SubprocessTransport` (asyncio: Transports, "Subprocess Transports").

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::exceptions::{PyPermissionError, PyProcessLookupError, PyResourceWarning};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyType};
use sabio_reactor::Token;
use sabio_reactor::process::Child;
use sabio_sync::Waiters;

use super::pipe_protocol::PipeProtocol;
use crate::asyncio::asyncio;
use crate::coroutine::create_for;
use crate::event_loop::{Job, Loop, Ready, errors};
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Slot, Visit, call_method,
};
use crate::handle::call_in_context;
use crate::interpreter::interpreter;
use crate::names::{Name, names};
use crate::os_error::os_error;
use crate::transport::public_class;
use crate::waker::visit_waker;

/// `SIGTERM`, `SIGKILL` and `ESRCH` of Linux.
const TERMINATE: i32 = 15;
const KILL: i32 = 9;
const NO_SUCH_PROCESS: i32 = 3;

/// `EPERM` and `ENOSYS` of Linux.
const NOT_PERMITTED: i32 = 1;
const NOT_IMPLEMENTED: i32 = 38;

/// How the process has ended, and who waits for that. Shared with the coroutines that wait.
#[derive(Default)]
pub(super) struct Ending {
    pub(super) returncode: Cell<Option<i32>>,
    pub(super) waiters: Waiters,
}

/// The data of a transport.
pub(crate) struct ProcessTransport {
    pub(super) event_loop: Slot<Ref<Loop>>,
    protocol: ObjCell,
    /// What the protocol's callbacks run in.
    pub(super) context: Obj,
    /// The `subprocess.Popen`, until `connection_lost` was called.
    pub(super) popen: ObjCell,
    pub(super) pid: Cell<Option<i32>>,
    pub(super) pipes: [Slot<Ref<PipeProtocol>>; 3],
    /// The process by its pidfd, and the reactor's token for that, until the process has ended; None where there is no
    /// pidfd.
    pub(super) child: RefCell<Option<Child>>,
    pub(super) token: Cell<Option<Token>>,
    pub(super) ending: Rc<Ending>,
    pub(super) closed: Cell<bool>,
    /// Whether `connection_made` was called, and what is to be done then.
    begun: Cell<bool>,
    deferred: RefCell<Vec<Job>>,
    /// Whether `connection_lost` was called or is certain to come.
    finished: Cell<bool>,
}

static PROCESS: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for ProcessTransport {
    const NAME: &'static std::ffi::CStr = c"sabio._ProcessTransportCore";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &PROCESS
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.event_loop);
        visit.slot(&self.protocol);
        visit.obj(&self.context);
        visit.slot(&self.popen);
        for pipe in &self.pipes {
            visit.slot(pipe);
        }
        self.ending.waiters.visit(&mut |waker| visit_waker(visit, waker));
    }

    fn clear(&self) {
        self.event_loop.set(None);
        self.protocol.set(None);
        self.popen.set(None);
        for pipe in &self.pipes {
            pipe.set(None);
        }
    }
}

impl ProcessTransport {
    /// A transport without a process.
    pub(super) fn create(
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        protocol: &Obj,
        context: Obj,
    ) -> PyResult<Ref<ProcessTransport>> {
        let data = ProcessTransport {
            event_loop: Slot::new(Some(event_loop.clone())),
            protocol: ObjCell::new(Some(protocol.clone())),
            context,
            popen: ObjCell::new(None),
            pid: Cell::new(None),
            pipes: [const { Slot::new(None) }; 3],
            child: RefCell::new(None),
            token: Cell::new(None),
            ending: Rc::default(),
            closed: Cell::new(false),
            begun: Cell::new(false),
            deferred: RefCell::default(),
            finished: Cell::new(false),
        };
        Ref::create_as(CLASS.get(py)?.bind(py).cast::<PyType>()?, data)
    }

    /// What is told of the process; None once `connection_lost` was called.
    pub(crate) fn protocol(&self) -> Option<Obj> {
        self.protocol.get()
    }

    /// The status, once the process has ended.
    pub(super) fn returncode(&self) -> Option<i32> {
        self.ending.returncode.get()
    }

    /// The transport of a pipe.
    pub(crate) fn pipe_transport(&self, fd: usize) -> Option<Obj> {
        self.pipes.get(fd)?.get()?.pipe()
    }

    /// Whether its loop is in debug mode.
    pub(crate) fn is_logging(&self) -> bool {
        self.event_loop.get().is_some_and(|event_loop| event_loop.debug())
    }

    /// Whether `connection_made` was called.
    #[inline]
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Does a thing after `connection_made` was called: no other callback may come first.
    pub(super) fn when_begun(
        &self,
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        job: impl FnOnce(Python<'_>, &Ref<Loop>) -> PyResult<()> + 'static,
    ) -> PyResult<()> {
        if self.begun.get() {
            return job(py, event_loop);
        }
        self.deferred.borrow_mut().push(Box::new(job));
        Ok(())
    }

    /// The pipes that there are.
    pub(super) fn pipes(&self) -> impl Iterator<Item = (usize, Ref<PipeProtocol>)> {
        let pipes = self.pipes.iter().enumerate();
        pipes.filter_map(|(fd, pipe)| Some((fd, pipe.get()?)))
    }
}

impl Ref<ProcessTransport> {
    /// Calls a method of the protocol; what it raises is reported. SystemExit and KeyboardInterrupt come back.
    pub(super) fn tell(
        &self,
        py: Python<'_>,
        event_loop: &Ref<Loop>,
        name: &Name,
        args: &[Obj],
    ) -> PyResult<()> {
        let Some(protocol) = self.protocol() else {
            return Ok(());
        };
        let (callback, called) = match protocol.bind(py).getattr(name.text(py)) {
            Ok(method) => {
                let method = Obj::from(method);
                let called = call_in_context(py, &self.context, &method, args);
                (method, called.map(drop))
            }
            Err(error) => (protocol, Err(error)),
        };
        called.or_else(|error| errors::call_failed(py, event_loop, &callback, args, error))
    }

    /// Calls `connection_made`, and does what has waited for it. SystemExit and KeyboardInterrupt come back.
    pub(super) fn begin(&self, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
        let args = [self.as_obj().clone()];
        let mut result = self.tell(py, event_loop, &names(py)?.connection_made, &args);
        self.begun.set(true);
        for job in self.deferred.take() {
            result = result.and(job(py, event_loop));
        }
        result
    }

    /// Nobody will be told of the process. What waits to be told would keep the transport alive, unseen by the collector.
    pub(super) fn tell_nobody(&self, py: Python<'_>) -> PyResult<()> {
        self.protocol.set(None);
        self.begun.set(true);
        let deferred = self.deferred.take();
        let Some(event_loop) = self.event_loop.get() else {
            return Ok(());
        };
        let mut result = Ok(());
        for job in deferred {
            result = result.and(job(py, &event_loop));
        }
        result
    }

    /// After a pipe was closed or the process has ended: if nothing more will come, `connection_lost` is called in the
    /// loop's next turn.
    pub(super) fn try_finish(&self) {
        let is_over = self.returncode().is_some() && self.pipes().all(|(_, pipe)| pipe.is_disconnected());
        if !is_over || self.finished.replace(true) {
            return;
        }
        let Some(event_loop) = self.event_loop.get() else {
            return;
        };
        let transport = self.clone();
        event_loop.push(Ready::job(self.as_obj().clone(), move |py, event_loop| {
            let none = [Obj::none(py)];
            let told = transport.tell(py, event_loop, &names(py)?.connection_lost, &none);
            transport.event_loop.set(None);
            transport.popen.set(None);
            transport.protocol.set(None);
            told
        }));
    }

    /// `close()`: closes the pipes and kills the process, if it still runs.
    ///
    /// # Errors
    /// What `Popen.kill` raises, but for a process that is gone or may not be killed.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.replace(true) {
            return Ok(());
        }
        let loop_is_open = self
            .event_loop
            .get()
            .is_some_and(|event_loop| !event_loop.is_closed());
        let mut closed = Ok(());
        if loop_is_open {
            for (_, protocol) in self.pipes() {
                if let Some(pipe) = protocol.pipe() {
                    let result = call_method(py, &pipe, &names(py)?.close, &[]);
                    closed = closed.and(result.map(drop).map_err(PyErr::from));
                }
            }
        }
        closed.and(self.kill_if_running(py))
    }

    fn kill_if_running(&self, py: Python<'_>) -> PyResult<()> {
        let Some(popen) = self.popen.get().filter(|_| self.returncode().is_none()) else {
            return Ok(());
        };
        let popen = popen.bind(py);
        // An error means that somebody else has waited for it.
        let ended = |child: &Child| child.has_ended().unwrap_or(true);
        let ended = self.child.borrow().as_ref().map(ended);
        let is_running = match ended {
            Some(ended) => !ended,
            None => popen.call_method0("poll")?.is_none(),
        };
        if !is_running {
            return Ok(());
        }
        if self.is_logging() {
            let logger = asyncio(py)?.logger.bind(py);
            logger.call_method1("warning", ("Close running child process: kill %r", self.bind(py)))?;
        }
        match popen.call_method0("kill") {
            Err(error)
                if !error.is_instance_of::<PyProcessLookupError>(py)
                    && !error.is_instance_of::<PyPermissionError>(py) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Waits until the process has ended: its status. The future holds no reference to the transport.
    pub(crate) fn wait(&self) -> impl Future<Output = i32> + use<> {
        let ending = Rc::clone(&self.ending);
        async move {
            loop {
                match ending.returncode.get() {
                    Some(returncode) => return returncode,
                    None => ending.waiters.wait().await,
                };
            }
        }
    }

    /// Sends a signal; nothing if the process has ended.
    ///
    /// # Errors
    /// ProcessLookupError once `connection_lost` was called, OSError of kill(2) otherwise.
    fn send_signal(&self, py: Python<'_>, signal: i32) -> PyResult<()> {
        if self.popen.is_none() {
            return Err(PyProcessLookupError::new_err(()));
        }
        if self.returncode().is_some() {
            return Ok(());
        }
        let send = |child: &Child| child.send_signal(signal);
        let sent = self.child.borrow().as_ref().map(send);
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => match error.raw_os_error() {
                Some(NO_SUCH_PROCESS) => Ok(()),
                // A policy may forbid this call and no other.
                Some(NOT_PERMITTED | NOT_IMPLEMENTED) if self.is_ours() => self.kill(py, signal),
                _ => Err(os_error(error)),
            },
            // Nobody else waits for it.
            None => self.kill(py, signal),
        }
    }

    /// Whether nobody has waited for the process, so that its number is its own: only the loop's thread will.
    fn is_ours(&self) -> bool {
        let child = self.child.borrow();
        child.as_ref().is_some_and(|child| child.has_ended().is_ok())
    }

    /// Sends a signal by the number of the process.
    fn kill(&self, py: Python<'_>, signal: i32) -> PyResult<()> {
        match py.import("os")?.call_method1("kill", (self.pid.get(), signal)) {
            Err(error) if !error.is_instance_of::<PyProcessLookupError>(py) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Any object may be asked for, as a key of asyncio's dict: TypeError for what cannot be one.
fn pipe_of(slf: &Ref<ProcessTransport>, fd: &Bound<'_, PyAny>) -> PyResult<Option<Obj>> {
    let pipes = pipes(slf, fd.py())?;
    let pipes = pipes.bind(fd.py());
    if !pipes.contains(fd)? {
        return Ok(None);
    }
    let protocol = pipes.get_item(fd)?;
    Ok(Ref::<PipeProtocol>::downcast(&protocol).and_then(|protocol| protocol.pipe()))
}

/// `_pipes`: number -> protocol.
fn pipes(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<Obj> {
    let dict = PyDict::new(py);
    for (fd, pipe) in slf.pipes() {
        dict.set_item(fd, pipe.bind(py))?;
    }
    Ok(Obj::from(&dict))
}

fn repr(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<Obj> {
    let mut text = format!("<{}", slf.bind(py).get_type().name()?);
    if slf.closed.get() {
        text.push_str(" closed");
    }
    let pid = slf.pid.get();
    if let Some(pid) = pid {
        text.push_str(&format!(" pid={pid}"));
    }
    match slf.returncode() {
        Some(returncode) => text.push_str(&format!(" returncode={returncode}")),
        None if pid.is_some() => text.push_str(" running"),
        None => text.push_str(" not started"),
    }
    for (name, (_, pipe)) in ["stdin", "stdout", "stderr"].iter().zip(all_pipes(slf)) {
        if let Some(pipe) = pipe.and_then(|pipe| pipe.pipe()) {
            text.push_str(&format!(" {name}={}", pipe.bind(py).repr()?));
        }
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

fn all_pipes(slf: &Ref<ProcessTransport>) -> impl Iterator<Item = (usize, Option<Ref<PipeProtocol>>)> {
    slf.pipes.iter().map(Slot::get).enumerate()
}

fn send_signal(slf: &Ref<ProcessTransport>, signal: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = signal.py();
    match signal.extract::<i32>() {
        Ok(number) => slf.send_signal(py, number),
        // No signal has such a number, but for the process that there is no more it does not matter.
        Err(_) if slf.popen.is_none() || slf.returncode().is_some() => slf.send_signal(py, 0),
        Err(_) => {
            let killed = py.import("os")?.call_method1("kill", (slf.pid.get(), signal));
            killed.map(drop)
        }
    }
}

fn wait(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<Obj> {
    let ended = slf.wait();
    create_for(
        py,
        "SubprocessTransport._wait",
        slf.as_obj().clone(),
        async move {
            let returncode = ended.await;
            Python::attach(|py| Ok(PyInt::new(py, returncode).into_any().into()))
        },
    )
}

/// ResourceWarning for a transport that nobody closed; then closes it.
fn finalize(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<()> {
    if slf.closed.get() {
        return Ok(());
    }
    let message = format!("unclosed transport {}", slf.bind(py).repr()?);
    let category = py.get_type::<PyResourceWarning>();
    let warned = interpreter(py)?.warn(&message, &category, slf.bind(py));
    let closed = slf.close(py);
    warned?;
    closed
}

fn define(table: &mut MethodTable<ProcessTransport>) {
    define_attributes(table);
    table
        .noargs(c"close", c"close($self, /)\n--\n\nClose the pipes and kill the process, if it still runs.", |slf, py| {
            slf.close(py)
        })
        .noargs(c"is_closing", c"is_closing($self, /)\n--\n\nWhether close() was called.", |slf, _py| {
            Ok(slf.closed.get())
        })
        .noargs(c"get_pid", c"get_pid($self, /)\n--\n\nThe number of the process.", |slf, py| number(py, slf.pid.get()))
        .noargs(
            c"get_returncode",
            c"get_returncode($self, /)\n--\n\nThe status of the process; None while it runs.",
            |slf, py| number(py, slf.returncode()),
        )
        .method(
            c"get_pipe_transport",
            c"get_pipe_transport($self, fd)\n--\n\nThe transport of the pipe with this number in the child, or None.",
            |slf, args| pipe_of(slf, args.single("get_pipe_transport", "fd")?),
        )
        .method(
            c"send_signal",
            c"send_signal($self, signal)\n--\n\nSend a signal to the process; nothing if it has ended.",
            |slf, args| send_signal(slf, args.single("send_signal", "signal")?),
        )
        .noargs(c"terminate", c"terminate($self, /)\n--\n\nSend SIGTERM to the process.", |slf, py| {
            slf.send_signal(py, TERMINATE)
        })
        .noargs(c"kill", c"kill($self, /)\n--\n\nSend SIGKILL to the process.", |slf, py| slf.send_signal(py, KILL))
        .noargs(c"_wait", c"_wait($self, /)\n--\n\nWait until the process has ended: its status. A coroutine.", wait)
        .noargs(
            c"_child_ended",
            c"_child_ended($self, /)\n--\n\nThe process has ended: called where there is no pidfd, by the thread that waits.",
            super::exit::ended_in_thread,
        )
        .method(
            c"set_protocol",
            c"set_protocol($self, protocol)\n--\n\nSet the protocol that is told from now on.",
            |slf, args| {
                slf.protocol.set(Some(Obj::from(args.single("set_protocol", "protocol")?)));
                Ok(())
            },
        )
        .noargs(c"get_protocol", c"get_protocol($self, /)\n--\n\nThe protocol.", |slf, _py| Ok(slf.protocol()));
}

/// A number for Python, or None.
fn number(py: Python<'_>, value: Option<i32>) -> PyResult<Obj> {
    Ok(match value {
        Some(value) => PyInt::new(py, value).into_any().into(),
        None => Obj::none(py),
    })
}

fn define_attributes(table: &mut MethodTable<ProcessTransport>) {
    table
        .getter(
            c"_protocol",
            c"The protocol; None once connection_lost() was called.",
            |slf, _py| Ok(slf.protocol()),
        )
        .getter(
            c"_loop",
            c"The event loop; None once connection_lost() was called.",
            |slf, _py| Ok(slf.event_loop.get()),
        )
        .getter(
            c"_proc",
            c"The subprocess.Popen; None once connection_lost() was called.",
            |slf, _py| Ok(slf.popen.get()),
        )
        .getter(c"_pid", c"The number of the process.", |slf, py| {
            number(py, slf.pid.get())
        })
        .getter(
            c"_returncode",
            c"The status of the process, or None.",
            |slf, py| number(py, slf.returncode()),
        )
        .getter(
            c"_pipes",
            c"The protocols of the pipes, by their numbers in the child.",
            pipes,
        )
        .getter(c"_closed", c"Whether close() was called.", |slf, _py| {
            Ok(slf.closed.get())
        })
        .getter(
            c"_finished",
            c"Whether connection_lost() was called or is certain to come.",
            |slf, _py| Ok(slf.finished.get()),
        );
}

/// Builds the classes.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = py.import("asyncio")?.getattr("SubprocessTransport")?;
    let core = ClassBuilder::<ProcessTransport>::new(c"The native part of sabio.ProcessTransport.")
        .members(define)
        .finalizer(finalize)
        .repr(repr)
        .build(py, &Base::Slots(base.cast_into::<PyType>()?))?;
    let doc = "A process and its pipes (asyncio: Transports), written in Rust. Made by the event loop.";
    let class = public_class(module, "ProcessTransport", &core, doc)?;
    CLASS.set(py, Obj::from(&class));
    Ok(())
}
