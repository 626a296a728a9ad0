//! How the end of a process is seen, and its status taken.
//!
//! A pidfd is registered with the reactor like any descriptor: no thread waits, no signal handler is set and nobody looks
//! again and again. Where the system gives no pidfd (Linux before 5.3, or a policy that forbids the call) a thread waits
//! for each process as in asyncio, without taking its status: that is always done on the loop's thread.

use std::io;
use std::time::Duration;

use pyo3::exceptions::{PyChildProcessError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use sabio_reactor::Interest;
use sabio_reactor::process::Child;

use super::transport::ProcessTransport;
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready};
use crate::ffi::Ref;
use crate::names::names;
use crate::os_error::os_error;
use crate::transport::Source;

/// What is told of a process that somebody else has waited for (asyncio's number of the same meaning).
const UNKNOWN: i32 = 255;

/// `EPERM`, `ESRCH`, `EINVAL` and `ENOSYS` of Linux.
const NOT_PERMITTED: i32 = 1;
const NO_SUCH_PROCESS: i32 = 3;
const INVALID: i32 = 22;
const NOT_IMPLEMENTED: i32 = 38;

/// How long the interpreter is left to a thread that is about to wait for the same process.
const A_MOMENT: Duration = Duration::from_micros(100);

/// Begins to watch a process that has just been started.
///
/// # Errors
/// OSError when there is no descriptor or no memory left for it; the process is watched by a thread then, so that it is
/// waited for in any case.
pub(super) fn watch(slf: &Ref<ProcessTransport>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let child = match Child::open(slf.pid.get().unwrap_or(0)) {
        Ok(child) => child,
        Err(error) => {
            return match error.raw_os_error() {
                Some(NO_SUCH_PROCESS) => {
                    gone_already(slf, event_loop);
                    Ok(())
                }
                Some(NOT_PERMITTED | INVALID | NOT_IMPLEMENTED) => watch_in_thread(slf, py, event_loop),
                _ => watch_in_thread(slf, py, event_loop).and(Err(os_error(error))),
            };
        }
    };
    let source = Source::Process(slf.clone());
    let registered = event_loop
        .reactor()
        .register(child.descriptor(), Interest::READABLE, source);
    match registered {
        Ok(token) => {
            slf.token.set(Some(token));
            *slf.child.borrow_mut() = Some(child);
            Ok(())
        }
        Err(error) => watch_in_thread(slf, py, event_loop).and(Err(os_error(error))),
    }
}

/// The system takes the status of every child itself (SIGCHLD is ignored), or somebody was faster.
fn gone_already(slf: &Ref<ProcessTransport>, event_loop: &Ref<Loop>) {
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, event_loop| {
        let returncode = known_or_lost(&transport, py)?;
        exited(&transport, py, event_loop, returncode)
    }));
}

/// The pidfd is readable. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn ready(slf: &Ref<ProcessTransport>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    match take_status(slf, py)? {
        Some(returncode) => {
            forget(slf, event_loop);
            exited(slf, py, event_loop, returncode)
        }
        None => Ok(()),
    }
}

/// Looks at every process now, whatever the poller has said of it.
pub(crate) fn look_at_all(py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let mut processes = Vec::new();
    let collect = |source: &Source| {
        if let Source::Process(process) = source {
            processes.push(process.clone());
        }
    };
    event_loop.reactor().visit(collect, |_| {}, |_| {});
    processes
        .iter()
        .try_for_each(|process| ready(process, py, event_loop))
}

/// The pidfd leaves the reactor and is closed.
fn forget(slf: &Ref<ProcessTransport>, event_loop: &Ref<Loop>) {
    let source = slf
        .token
        .take()
        .and_then(|token| event_loop.reactor().deregister(token));
    let child = slf.child.borrow_mut().take();
    drop(child);
    drop(source);
}

/// The status of the process, which nobody can take any more then; None if it has to be asked for once more.
fn take_status(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<Option<i32>> {
    let Some(popen) = slf.popen.get() else {
        return Ok(Some(UNKNOWN));
    };
    let popen = popen.bind(py);
    let lock = popen.getattr_opt("_waitpid_lock")?;
    if let Some(lock) = &lock
        && !lock.call_method1("acquire", (false,))?.is_truthy()?
    {
        // Another thread is in `Popen.wait()` and has or will get the status there: it must be let on.
        py.detach(|| std::thread::sleep(A_MOMENT));
        return Ok(None);
    }
    let waited = match slf.child.borrow().as_ref() {
        Some(child) => child.try_wait(),
        None => Err(io::Error::from_raw_os_error(NO_SUCH_PROCESS)),
    };
    let status = match waited {
        Ok(None) => Ok(None),
        Ok(Some(exit)) => popen
            .setattr("returncode", exit.returncode())
            .map(|()| Some(exit.returncode())),
        Err(_) => known_or_lost(slf, py).map(Some),
    };
    if let Some(lock) = lock {
        lock.call_method0("release")?;
    }
    status
}

/// The status that `Popen` has taken itself. Where it has none, somebody else has waited for the process.
fn known_or_lost(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<i32> {
    if let Some(popen) = slf.popen.get() {
        let known = popen.bind(py).getattr("returncode")?;
        if !known.is_none() {
            return known.extract();
        }
        popen.bind(py).setattr("returncode", UNKNOWN)?;
    }
    let message = "child process pid %d exit status already read:  will report returncode 255";
    let logger = asyncio(py)?.logger.bind(py);
    logger.call_method1("warning", (message, slf.pid.get()))?;
    Ok(UNKNOWN)
}

/// The process has ended: the protocol is told, and who waits goes on.
fn exited(
    slf: &Ref<ProcessTransport>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    returncode: i32,
) -> PyResult<()> {
    if slf.returncode().is_some() {
        return Ok(());
    }
    if event_loop.debug() {
        let logger = asyncio(py)?.logger.bind(py);
        let message = "%r exited with return code %r";
        logger.call_method1("info", (message, slf.bind(py), returncode))?;
    }
    slf.ending.returncode.set(Some(returncode));
    let transport = slf.clone();
    let told = slf.when_begun(py, event_loop, move |py, event_loop| {
        let told = transport.tell(py, event_loop, &names(py)?.process_exited, &[]);
        transport.try_finish();
        told
    });
    // As in asyncio: who waits goes on after the protocol has been told.
    slf.ending.waiters.wake_all();
    told
}

/// Has a thread wait for the process: see the top of this file. It can be called from any moment on.
fn watch_in_thread(slf: &Ref<ProcessTransport>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let pid = slf.pid.get().unwrap_or(0);
    let transport = slf.bind(py).clone().unbind();
    let event_loop = event_loop.bind(py).clone().unbind();
    let body = PyCFunction::new_closure(py, None, None, move |args, _kwargs| {
        let py = args.py();
        wait_for_end(py, pid)?;
        let ended = transport.bind(py).getattr("_child_ended")?;
        let told = event_loop
            .bind(py)
            .call_method1("call_soon_threadsafe", (&ended,));
        match told {
            Err(error) if error.is_instance_of::<PyRuntimeError>(py) => {
                // The loop is closed: nobody will be told, but the process has to be waited for.
                let logger = asyncio(py)?.logger.bind(py);
                let message = "Loop %r that handles pid %r is closed";
                logger.call_method1("warning", (message, event_loop.bind(py), pid))?;
                ended.call0().map(drop)
            }
            told => told.map(drop),
        }
    })?;
    let kwargs = PyDict::new(py);
    kwargs.set_item("target", body)?;
    kwargs.set_item("name", format!("sabio-waitpid-{pid}"))?;
    kwargs.set_item("daemon", true)?;
    let thread = py.import("threading")?.getattr("Thread")?;
    let started = thread
        .call((), Some(&kwargs))
        .and_then(|thread| thread.call_method0("start"));
    started.map(drop).inspect_err(|_| kill_and_wait(slf, py))
}

/// Blocks until the process has ended, without taking its status.
fn wait_for_end(py: Python<'_>, pid: i32) -> PyResult<()> {
    let os = py.import("os")?;
    let options = os
        .getattr("WEXITED")?
        .call_method1("__or__", (os.getattr("WNOWAIT")?,))?;
    match os.call_method1("waitid", (os.getattr("P_PID")?, pid, options)) {
        Err(error) if !error.is_instance_of::<PyChildProcessError>(py) => Err(error),
        _ => Ok(()),
    }
}

/// Not even a thread could be started: the process ends here and now.
#[cold]
fn kill_and_wait(slf: &Ref<ProcessTransport>, py: Python<'_>) {
    let Some(popen) = slf.popen.get() else { return };
    let popen = popen.bind(py);
    let waited = popen
        .call_method0("kill")
        .and_then(|_| popen.call_method0("wait"));
    match waited.and_then(|returncode| returncode.extract()) {
        Ok(returncode) => slf.ending.returncode.set(Some(returncode)),
        Err(error) => error.write_unraisable(py, Some(popen)),
    }
}

/// `_child_ended()`: a thread has seen the end.
pub(super) fn ended_in_thread(slf: &Ref<ProcessTransport>, py: Python<'_>) -> PyResult<()> {
    let returncode = match slf.popen.get() {
        Some(popen) if popen.bind(py).getattr("returncode")?.is_none() => {
            let os = py.import("os")?;
            match os.call_method1("waitpid", (slf.pid.get(), 0)) {
                Ok(waited) => {
                    let status = waited.get_item(1)?;
                    let code: i32 = os.call_method1("waitstatus_to_exitcode", (status,))?.extract()?;
                    popen.bind(py).setattr("returncode", code)?;
                    code
                }
                Err(error) if error.is_instance_of::<PyChildProcessError>(py) => known_or_lost(slf, py)?,
                Err(error) => return Err(error),
            }
        }
        _ => known_or_lost(slf, py)?,
    };
    match slf.event_loop.get() {
        Some(event_loop) if !event_loop.is_closed() => exited(slf, py, &event_loop, returncode),
        _ => {
            slf.ending.returncode.set(Some(returncode));
            Ok(())
        }
    }
}
