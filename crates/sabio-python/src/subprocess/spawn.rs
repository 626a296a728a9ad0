//! How a process is started: by `subprocess.Popen`, which knows every option and every pitfall; then its pipes get
//! transports.
//!
//! Before the process runs, an error leaves nothing behind. From then on it is somebody's task to wait for it: what fails
//! gives the transport back with the error, so that who asked for it can close it and wait.

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use sabio_sync::oneshot::{self, Receiver};

use super::exit;
use super::pipe_protocol::PipeProtocol;
use super::transport::ProcessTransport;
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready};
use crate::ffi::{Class, Obj, Ref, context_copy_current};
use crate::names::names;
use crate::transport::pipe::{self, PipeParts, ReadPipe, WritePipe};

/// What there is to run.
pub(crate) struct Start {
    /// The command, or the program and its arguments, as `Popen` takes them.
    pub(crate) args: Obj,
    /// What stands for it in messages.
    pub(crate) program: Obj,
    /// The other arguments of `Popen`.
    pub(crate) options: Obj,
}

/// A pipe's transport, of either kind.
enum Pipe {
    Read(Ref<ReadPipe>),
    Write(Ref<WritePipe>),
}

/// What is left to do for a process that runs.
pub(crate) enum Running {
    /// To wait until `connection_made` has been called.
    Beginning(Receiver<()>),
    /// To connect these pipes first, with the loop's own methods, which somebody has replaced.
    Unconnected(Vec<Unconnected>),
}

/// A pipe that has no transport yet.
pub(crate) struct Unconnected {
    method: &'static str,
    file: Obj,
    protocol: Ref<PipeProtocol>,
}

impl Unconnected {
    /// The awaitable of the loop's method.
    ///
    /// # Errors
    /// What the method raises.
    pub(crate) fn connect(&self, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<Obj> {
        let protocol = self.protocol.bind(py).clone().unbind();
        let factory =
            PyCFunction::new_closure(py, None, None, move |args, _kwargs| protocol.clone_ref(args.py()))?;
        let args = (factory, self.file.bind(py));
        Ok(event_loop.bind(py).call_method1(self.method, args)?.into())
    }
}

/// Starts a process. With its transport comes what is left to do, or the error with which something failed after the
/// process was started.
///
/// # Errors
/// What `Popen` raises: the process does not run.
pub(crate) fn spawn(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    protocol: &Obj,
    start: &Start,
) -> PyResult<(Ref<ProcessTransport>, PyResult<Running>)> {
    event_loop.check_closed()?;
    let transport = ProcessTransport::create(py, event_loop, protocol, context_copy_current(py)?)?;
    match popen(py, start) {
        Ok(popen) => {
            let running = set_up(&transport, event_loop, &popen, start);
            Ok((transport, running))
        }
        Err(error) => {
            transport.closed.set(true);
            Err(error)
        }
    }
}

fn popen<'py>(py: Python<'py>, start: &Start) -> PyResult<Bound<'py, PyAny>> {
    let class = py.import("subprocess")?.getattr("Popen")?;
    let options = start.options.bind(py).cast::<PyDict>()?;
    class.call((start.args.bind(py),), Some(options))
}

/// The process runs: begins to watch it, and makes the transports of its pipes.
fn set_up(
    slf: &Ref<ProcessTransport>,
    event_loop: &Ref<Loop>,
    popen: &Bound<'_, PyAny>,
    start: &Start,
) -> PyResult<Running> {
    let py = popen.py();
    slf.popen.set(Some(Obj::from(popen)));
    slf.pid.set(Some(popen.getattr("pid")?.extract()?));
    let extra = PyDict::new(py);
    extra.set_item("subprocess", popen)?;
    slf.bind(py).setattr("_extra", extra)?;
    if event_loop.debug() {
        let logger = asyncio(py)?.logger.bind(py);
        let args = (
            "process %r created: pid %s",
            start.program.bind(py),
            slf.pid.get(),
        );
        logger.call_method1("debug", args)?;
    }
    exit::watch(slf, py, event_loop)?;
    // A protocol that cannot be told of the process is an error of whoever has asked for it.
    if let Some(protocol) = slf.protocol() {
        protocol.bind(py).getattr(names(py)?.connection_made.text(py))?;
    }
    let mut files = Vec::with_capacity(3);
    for (fd, name) in STREAMS.into_iter().enumerate() {
        let file = popen.getattr(name)?;
        if !file.is_none() {
            let protocol = PipeProtocol::create(py, slf, fd)?;
            slf.pipes[fd].set(Some(protocol.clone()));
            files.push((fd, file, protocol));
        }
    }
    if CONNECT
        .iter()
        .any(|method| is_replaced(py, event_loop, method).unwrap_or(true))
    {
        let unconnected = files.into_iter().map(|(fd, file, protocol)| Unconnected {
            method: CONNECT[usize::from(fd == 0)],
            file: Obj::from(file),
            protocol,
        });
        return Ok(Running::Unconnected(unconnected.collect()));
    }
    let mut pipes = Vec::with_capacity(3);
    for (fd, file, protocol) in &files {
        pipes.push(open_pipe(event_loop, *fd, file, protocol)?);
    }
    Ok(Running::Beginning(begin_soon(slf, event_loop, pipes)))
}

/// The loop's methods for the ends that are read from and the one that is written to.
const CONNECT: [&str; 2] = ["connect_read_pipe", "connect_write_pipe"];

const STREAMS: [&str; 3] = ["stdin", "stdout", "stderr"];

/// Whether a subclass, or somebody who has the loop, has put another method in the place of the loop's own.
fn is_replaced(py: Python<'_>, event_loop: &Ref<Loop>, method: &str) -> PyResult<bool> {
    if event_loop.is_plain(py) {
        return event_loop.bind(py).getattr("__dict__")?.contains(method);
    }
    let found = event_loop.bind(py).getattr(method)?;
    let own = Loop::cell().class(py)?.getattr(method)?;
    Ok(!own.call_method1("__get__", (event_loop.bind(py),))?.eq(found)?)
}

/// All pipes of the process have transports: in the loop's next turn `connection_made` is called, `pipes` begin, and who
/// has the receiver is told.
pub(crate) fn begin(slf: &Ref<ProcessTransport>, event_loop: &Ref<Loop>) -> Receiver<()> {
    begin_soon(slf, event_loop, Vec::new())
}

fn begin_soon(slf: &Ref<ProcessTransport>, event_loop: &Ref<Loop>, pipes: Vec<Pipe>) -> Receiver<()> {
    let (waiter, made) = oneshot::channel();
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, event_loop| {
        let mut result = transport.begin(py, event_loop);
        for pipe in &pipes {
            result = result.and(match pipe {
                Pipe::Read(pipe) => pipe::begin(pipe, py),
                Pipe::Write(pipe) => pipe::begin(pipe, py),
            });
        }
        waiter.send(());
        result
    }));
    made
}

fn open_pipe(
    event_loop: &Ref<Loop>,
    fd: usize,
    file: &Bound<'_, PyAny>,
    protocol: &Ref<PipeProtocol>,
) -> PyResult<Pipe> {
    let parts = PipeParts {
        event_loop,
        pipe: file,
        protocol: protocol.as_obj().clone(),
        context: context_copy_current(file.py())?,
    };
    Ok(if fd == 0 {
        let pipe = WritePipe::open(&parts)?;
        protocol.set_pipe(pipe.as_obj());
        Pipe::Write(pipe)
    } else {
        let pipe = ReadPipe::open(&parts)?;
        protocol.set_pipe(pipe.as_obj());
        Pipe::Read(pipe)
    })
}

/// Something failed: closes the pipes, kills the process if it still runs, and closes those ends that have no transport.
/// A pipe without one counts as closed.
///
/// # Errors
/// What `Popen.kill` raises.
pub(crate) fn give_up(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<()> {
    let popen = slf.popen.get();
    let closed = slf.tell_nobody(py).and(slf.close(py));
    if let Some(popen) = popen {
        close_files(popen.bind(py));
    }
    for (_, protocol) in slf.pipes() {
        if protocol.pipe().is_none() {
            protocol.disconnect();
        }
    }
    closed
}

/// Closes those ends of the pipes that have no transport.
fn close_files(popen: &Bound<'_, PyAny>) {
    for name in STREAMS {
        let closed = popen.getattr(name).and_then(|file| {
            if file.is_none() {
                return Ok(());
            }
            file.call_method0("close").map(drop)
        });
        if let Err(error) = closed {
            error.write_unraisable(popen.py(), Some(popen));
        }
    }
}
