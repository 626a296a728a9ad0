//! Unix signals (asyncio: Unix signals): handlers that run in the loop, and the pipe that ends its wait.
//!
//! The interpreter writes the number of each signal that it catches to the loop's pipe (`signal.set_wakeup_fd`) while
//! the loop runs in the main thread, and also in between while it has handlers. So Ctrl-C ends a wait at once,
//! whichever thread of the process the signal hit, and no signal is missed between two looks at them.
//!
//! Invariant: the interpreter knows one wakeup descriptor at a time, so loops that want theirs known form a chain
//! ([`HOLDERS`]), in which each remembers what was set before it and out of which each is taken wherever it stands.
//! What a user had set is at the chain's end: it gets every number that is read, and is set again afterwards. A number
//! that is for another loop of the chain goes to that loop.
//!
//! Called by users and by `run`, when the loop starts, ends and is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use pyo3::exceptions::{PyOSError, PyResourceWarning, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyInt};
use sabio_reactor::{Interest, Token, pipe, sys};

use super::{Loop, Ready, debug, errors};
use crate::ffi::{Args, Captured, MethodTable, Obj, Ref, Visit, context_copy_current};
use crate::handle::{Handle, Kind};
use crate::interpreter::interpreter;
use crate::os_error::os_error;
use crate::subprocess;
use crate::transport::Source;

/// What a loop has to do with signals.
#[derive(Default)]
pub(crate) struct Signals {
    handlers: RefCell<HashMap<i32, Ref<Handle>>>,
    pipe: RefCell<Option<Pipe>>,
    running: Cell<bool>,
}

/// The pipe; the end to read from is registered with the reactor.
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    token: Token,
}

impl Pipe {
    /// Gives both ends to the process.
    fn keep_open(self) {
        let _ = (self.reader.into_raw_fd(), self.writer.into_raw_fd());
    }
}

/// A loop whose pipe is, or was, known to the interpreter, and what was known before.
struct Holder {
    fd: RawFd,
    previous: RawFd,
    /// The signals that the loop has handlers for: bit n for number n.
    handled: u128,
}

/// `SIGCHLD` of Linux.
const CHILD: i32 = 17;

static HOLDERS: Mutex<Vec<Holder>> = Mutex::new(Vec::new());

/// The chain. Only ever locked for a moment and with the GIL held, so never across a fork.
fn holders() -> MutexGuard<'static, Vec<Holder>> {
    HOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    fn handler(&self, signal: i32) -> Option<Ref<Handle>> {
        self.handlers.borrow().get(&signal).cloned()
    }

    fn take_handler(&self, signal: i32) -> Option<Ref<Handle>> {
        self.handlers.borrow_mut().remove(&signal)
    }

    fn writer(&self) -> Option<RawFd> {
        self.pipe.borrow().as_ref().map(|pipe| pipe.writer.as_raw_fd())
    }

    /// Whether the interpreter should know the pipe.
    fn wanted(&self) -> bool {
        self.running.get() || !self.handlers.borrow().is_empty()
    }

    /// The signals that have handlers, as in [`Holder`].
    fn handled(&self) -> u128 {
        let handlers = self.handlers.borrow();
        handlers.keys().fold(0, |handled, signal| handled | bit(*signal))
    }

    /// Shows the handlers to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        if let Ok(handlers) = self.handlers.try_borrow() {
            handlers
                .values()
                .for_each(|handle| Handle::visit_if_sole(handle, visit));
        }
    }
}

/// The bit of a signal; signals are numbered from 1 to 64.
fn bit(signal: i32) -> u128 {
    1 << (signal & 127)
}

/// `signal.set_wakeup_fd(fd)`: what was set before. ValueError outside of the main thread.
fn set_wakeup_fd(py: Python<'_>, fd: RawFd) -> PyResult<RawFd> {
    interpreter(py)?.set_wakeup_fd.bind(py).call1((fd,))?.extract()
}

/// The end of the pipe to write to; makes the pipe at the first call.
fn open_pipe(slf: &Ref<Loop>) -> PyResult<RawFd> {
    if let Some(writer) = slf.signals.writer() {
        return Ok(writer);
    }
    let (reader, writer) = pipe::pipe().map_err(os_error)?;
    let token = slf
        .reactor()
        .register(reader.as_raw_fd(), Interest::READABLE, Source::Signals)
        .map_err(os_error)?;
    let fd = writer.as_raw_fd();
    slf.signals.pipe.replace(Some(Pipe {
        reader,
        writer,
        token,
    }));
    Ok(fd)
}

/// Makes the loop's pipe known to the interpreter. ValueError outside of the main thread.
fn hold(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    let fd = open_pipe(slf)?;
    reset_in_children(py)?;
    let current = set_wakeup_fd(py, fd)?;
    // To the chain's head, from wherever it stood.
    let before = leave_chain(fd);
    let previous = if current == fd {
        before.unwrap_or(-1)
    } else {
        current
    };
    let handled = slf.signals.handled();
    holders().push(Holder {
        fd,
        previous,
        handled,
    });
    Ok(())
}

/// Tells the chain which signals the loop has handlers for.
fn tell_handled(slf: &Loop) {
    let own = slf.signals.writer();
    let handled = slf.signals.handled();
    if let Some(holder) = holders().iter_mut().find(|holder| Some(holder.fd) == own) {
        holder.handled = handled;
    }
}

/// Takes the loop's pipe back, unless it is still wanted.
fn release(slf: &Ref<Loop>, py: Python<'_>) {
    if let Some(fd) = slf.signals.writer().filter(|_| !slf.signals.wanted()) {
        unlink(py, fd);
    }
}

/// Takes the pipe that ends in `fd` out of the chain, if it stands there. False if the interpreter goes on writing to
/// it: outside of the main thread.
fn unlink(py: Python<'_>, fd: RawFd) -> bool {
    let place = holders()
        .iter()
        .find(|holder| holder.fd == fd)
        .map(|holder| holder.previous);
    let Some(previous) = place else {
        return true;
    };
    // What was set before the chain may be closed by now.
    let current = set_wakeup_fd(py, previous).or_else(|_| set_wakeup_fd(py, -1));
    let Ok(current) = current else {
        return false;
    };
    leave_chain(fd);
    // Set by somebody else while the loop held its own: again unless it is closed.
    current == fd || set_wakeup_fd(py, current).is_ok() || set_wakeup_fd(py, -1).is_ok()
}

/// What stood before `fd` in the chain, if it stands there.
fn leave_chain(fd: RawFd) -> Option<RawFd> {
    let mut holders = holders();
    let index = holders.iter().position(|holder| holder.fd == fd)?;
    let gone = holders.swap_remove(index);
    for holder in holders.iter_mut().filter(|holder| holder.previous == fd) {
        holder.previous = gone.previous;
    }
    Some(gone.previous)
}

/// Sees to it that a forked child, which shares the pipes with its parent, does not write to them.
fn reset_in_children(py: Python<'_>) -> PyResult<()> {
    static HOOK: Once = Once::new();
    let mut result = Ok(());
    HOOK.call_once(|| {
        result = PyCFunction::new_closure(py, None, None, |args, _kwargs| {
            let inherited = std::mem::take(&mut *holders());
            if inherited.is_empty() {
                return Ok(());
            }
            set_wakeup_fd(args.py(), -1).map(|_| ())
        })
        .and_then(|reset| {
            let kwargs = PyDict::new(py);
            kwargs.set_item("after_in_child", reset)?;
            py.import("os")?
                .call_method("register_at_fork", (), Some(&kwargs))?;
            Ok(())
        });
    });
    result
}

/// The loop starts to run.
pub(super) fn start(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    slf.signals.running.set(true);
    match hold(slf, py) {
        // Not in the main thread: signals are no concern of this loop.
        Err(error) if error.is_instance_of::<PyValueError>(py) => Ok(()),
        result => result.inspect_err(|_| slf.signals.running.set(false)),
    }
}

/// The loop has stopped.
pub(super) fn finish(slf: &Ref<Loop>, py: Python<'_>) {
    slf.signals.running.set(false);
    release(slf, py);
}

/// Signals have come: their handlers go onto the ready queue.
pub(crate) fn ready(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    let mut buffer = [0; 1024];
    loop {
        let count = match &*slf.signals.pipe.borrow() {
            Some(pipe) => pipe::read(&pipe.reader, &mut buffer).unwrap_or(0),
            None => 0,
        };
        let numbers = &buffer[..count];
        pass_on(slf, numbers);
        for number in numbers {
            handle(slf, py, i32::from(*number))?;
        }
        if count < buffer.len() {
            return Ok(());
        }
    }
}

/// A signal has come.
fn handle(slf: &Ref<Loop>, py: Python<'_>, signal: i32) -> PyResult<()> {
    match slf.signals.handler(signal) {
        Some(handle) if handle.is_cancelled() => remove(slf, py, signal).map(drop).or_else(|error| {
            let message = "Exception while removing a cancelled signal handler";
            errors::exit_or_report(py, slf, error, message, &[])
        }),
        Some(handle) => {
            if signal == CHILD {
                // A handler that takes the status of every child, as that of a process with the number 1 does, must not
                // take those that the loop waits for: right before it is called the loop looks itself.
                slf.push(Ready::job(slf.as_obj().clone(), subprocess::look_at_all));
            }
            slf.push(Ready::Call(handle));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Writes what was read to the descriptor that was set before the chain, and to the loops that it is for. What does not
/// fit is lost, as it is where the interpreter writes.
fn pass_on(slf: &Loop, numbers: &[u8]) {
    let own = slf.signals.writer();
    let holders = holders();
    let mut next = holders.iter().find(|holder| Some(holder.fd) == own);
    let mut users = None;
    // At most so many steps: a loop of the chain stands in it once.
    for _ in 0..holders.len() {
        let Some(holder) = next else { break };
        users = Some(holder.previous);
        next = holders.iter().find(|other| other.fd == holder.previous);
    }
    let write = |fd: RawFd, numbers: &[u8]| {
        if let Ok(fd) = sys::borrow(fd) {
            let _ = pipe::write(fd, numbers);
        }
    };
    if let Some(users) = users.filter(|_| !numbers.is_empty()) {
        write(users, numbers);
    }
    for number in numbers {
        let bit = bit(i32::from(*number));
        let is_other = |holder: &&Holder| Some(holder.fd) != own && holder.handled & bit != 0;
        if slf.signals.handler(i32::from(*number)).is_none()
            && let Some(other) = holders.iter().find(is_other)
        {
            write(other.fd, &[*number]);
        }
    }
}

/// What the interpreter runs when the signal comes: nothing, the loop has been told already.
#[pyfunction]
#[pyo3(name = "_sighandler_noop")]
fn do_nothing(_signum: &Bound<'_, PyAny>, _frame: &Bound<'_, PyAny>) {}

/// TypeError and ValueError for what is no number of a signal.
fn check_signal(signal: &Bound<'_, PyAny>) -> PyResult<i32> {
    let py = signal.py();
    if !signal.is_instance_of::<PyInt>() {
        return Err(PyTypeError::new_err(format!(
            "sig must be an int, not {}",
            signal.repr()?
        )));
    }
    let valid = py.import("signal")?.call_method0("valid_signals")?;
    if !valid.contains(signal)? {
        return Err(PyValueError::new_err(format!(
            "invalid signal number {}",
            signal.str()?
        )));
    }
    signal.extract()
}

/// RuntimeError in the place of EINVAL, which says that the signal can not be caught.
fn cannot_be_caught(py: Python<'_>, signal: i32, error: PyErr) -> PyErr {
    let is_invalid = error.is_instance_of::<PyOSError>(py)
        && error
            .value(py)
            .getattr("errno")
            .and_then(|errno| errno.eq(py.import("errno")?.getattr("EINVAL")?))
            .unwrap_or(false);
    if is_invalid {
        PyRuntimeError::new_err(format!("sig {signal} cannot be caught"))
    } else {
        error
    }
}

fn add_signal_handler(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let (signal, callback) = args.leading_pair("add_signal_handler", ["sig", "callback"])?;
    debug::refuse_coroutine(py, callback, "add_signal_handler")?;
    let number = check_signal(signal)?;
    slf.check_closed()?;
    hold(slf, py).map_err(|error| {
        if error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyOSError>(py) {
            PyRuntimeError::new_err(error.value(py).to_string())
        } else {
            error
        }
    })?;
    let data = Handle::new(
        Obj::from(callback),
        Captured {
            context: context_copy_current(py)?,
            shared: false,
        },
        slf.clone(),
        Kind::Persistent,
    );
    let handle = Ref::create(py, data)?;
    handle.arguments().fill(args.positional_from(2));
    if slf.debug() {
        handle.record_source(py)?;
    }
    let previous = slf.signals.handlers.borrow_mut().insert(number, handle);
    drop(previous);
    tell_handled(slf);
    catch(py, number).map_err(|error| {
        drop(slf.signals.take_handler(number));
        tell_handled(slf);
        release(slf, py);
        cannot_be_caught(py, number, error)
    })
}

/// Has the interpreter catch the signal, without interrupting system calls.
fn catch(py: Python<'_>, signal: i32) -> PyResult<()> {
    let module = py.import("signal")?;
    module.call_method1("signal", (signal, wrap_pyfunction!(do_nothing, py)?))?;
    module.call_method1("siginterrupt", (signal, false))?;
    Ok(())
}

/// Makes the signal do again what it does in a Python program by itself.
fn reset(py: Python<'_>, signal: i32) -> PyResult<()> {
    let module = py.import("signal")?;
    let is_interrupt = module.getattr("SIGINT")?.eq(signal)?;
    let handler = module.getattr(if is_interrupt {
        "default_int_handler"
    } else {
        "SIG_DFL"
    })?;
    module
        .call_method1("signal", (signal, handler))
        .map_err(|error| cannot_be_caught(py, signal, error))?;
    Ok(())
}

/// `_signal_handlers`: number -> handle, as it is now. prompt_toolkit looks there for the handler that it displaces.
fn signal_handlers(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<Obj> {
    let handlers: Vec<_> = {
        let handlers = slf.signals.handlers.borrow();
        handlers
            .iter()
            .map(|(signal, handle)| (*signal, handle.clone()))
            .collect()
    };
    let dict = PyDict::new(py);
    for (signal, handle) in handlers {
        dict.set_item(signal, handle.bind(py))?;
    }
    Ok(Obj::from(&dict))
}

/// Removes the handler of a signal: whether there was one.
fn remove(slf: &Ref<Loop>, py: Python<'_>, signal: i32) -> PyResult<bool> {
    let Some(handle) = slf.signals.take_handler(signal) else {
        return Ok(false);
    };
    drop(handle);
    tell_handled(slf);
    let result = reset(py, signal);
    release(slf, py);
    result.map(|()| true)
}

/// The loop is being closed: gives back all that concerns signals, whatever goes wrong with one of them.
pub(super) fn close(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    let handlers = slf.signals.handlers.take();
    let pipe = slf.signals.pipe.take();
    if let Some(pipe) = pipe {
        drop(slf.reactor().deregister(pipe.token));
        if !unlink(py, pipe.writer.as_raw_fd()) {
            // The number must not come to mean another file: the pipe stays open, for ever.
            pipe.keep_open();
        }
    }
    if !handlers.is_empty() && is_finalizing(py)? {
        return warn_of_handlers(slf, py);
    }
    let mut result = Ok(());
    for signal in handlers.keys() {
        result = result.and(reset(py, *signal));
    }
    result
}

/// Whether the interpreter is about to end: its signal module may be gone already.
fn is_finalizing(py: Python<'_>) -> PyResult<bool> {
    interpreter(py)?.is_finalizing.bind(py).call0()?.is_truthy()
}

fn warn_of_handlers(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    let message = format!(
        "Closing the loop {} on interpreter shutdown stage, skipping signal handlers removal",
        slf.bind(py).repr()?
    );
    interpreter(py)?.warn(&message, &py.get_type::<PyResourceWarning>(), slf.bind(py))
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"add_signal_handler",
            c"add_signal_handler($self, sig, callback, *args)\n--\n\nCall callback(*args) in the loop whenever the signal comes. RuntimeError outside of the main thread.",
            add_signal_handler,
        )
        .method(
            c"remove_signal_handler",
            c"remove_signal_handler($self, sig)\n--\n\nRemove the handler of a signal; whether there was one.",
            |slf, args| {
                let number = check_signal(args.single("remove_signal_handler", "sig")?)?;
                remove(slf, args.py(), number)
            },
        )
        .getter(
            c"_signal_handlers",
            c"The handles of the signals that have handlers, by number: a copy.",
            signal_handlers,
        );
}
