//! `wait_for` (asyncio: Timeouts), with the semantics of 3.12 on every version: the awaitable is awaited in the task
//! that waits, under a timeout of its own.
//!
//! A future that is done when the time is up has come in time: its result counts. (asyncio cancels the task in the turn
//! between, and the result is lost.)

use std::rc::Rc;

use pyo3::prelude::*;
use sabio_sync::Waiters;

use crate::any_task;
use crate::asyncio::asyncio;
use crate::awaiter::Awaiter;
use crate::combinators::{add_awaiter, discard_awaiter, is_future};
use crate::coroutine;
use crate::ffi::{Args, Obj, Ref, Signature, Visit, add_fast_function, is_cancelled_error};
use crate::observer::{self, Observe, Observer};
use crate::outcome;
use crate::timeouts::{Expiry, Timeout, timeout_error};
use crate::waker::visit_waker;

const WAIT_FOR: Signature<2> = Signature {
    function: "wait_for",
    parameters: ["fut", "timeout"],
    required: 2,
    positional: 2,
};

/// `wait_for(fut, timeout)`.
fn wait_for(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [fut, timeout] = args.all(&WAIT_FOR)?;
    let expiry = Rc::new(Expiry::unset());
    expiry.set_subject(Obj::from(fut), Obj::from(timeout));
    let owner = Timeout::hidden(py, Rc::clone(&expiry))?;
    coroutine::create_with_for(py, "wait_for", owner, |awaiter| run(awaiter, expiry))
}

async fn run(awaiter: Awaiter, expiry: Rc<Expiry>) -> PyResult<Obj> {
    let started = Python::attach(|py| start(py, &expiry))?;
    let armed = Armed(expiry);
    let outcome = match started {
        Start::Await(awaitable) => awaiter.wait(awaitable).await,
        Start::TooLate(late) => return late.settle(&awaiter).await,
        Start::Done(result) => return Ok(result),
    };
    Python::attach(|py| armed.finish(py, outcome))
}

/// How a wait begins.
enum Start {
    /// The timeout is set.
    Await(Obj),
    /// There is no time, and the result is there.
    Done(Obj),
    /// There is no time, and no result.
    TooLate(Late),
}

fn start(py: Python<'_>, expiry: &Rc<Expiry>) -> PyResult<Start> {
    let none = || Obj::none(py);
    let (fut, timeout) = expiry.take_subject().unwrap_or_else(|| (none(), none()));
    let delay = timeout.bind(py);
    if !delay.is_none() && delay.le(0)? {
        return Late::start(py, &fut);
    }
    expiry.start(py, delay)?;
    expiry.enter(py)?;
    if is_future(fut.bind(py))? {
        expiry.set_awaited(fut.clone());
    }
    Ok(Start::Await(fut))
}

/// A timeout that runs: taken back whatever way the wait ends.
struct Armed(Rc<Expiry>);

impl Drop for Armed {
    fn drop(&mut self) {
        if !self.0.is_armed() {
            return;
        }
        Python::attach(|py| {
            if let Err(error) = self.0.disarm(py) {
                error.write_unraisable(py, None);
            }
        });
    }
}

impl Armed {
    /// What the wait ends with, given what was awaited ended with.
    fn finish(&self, py: Python<'_>, outcome: PyResult<Obj>) -> PyResult<Obj> {
        match outcome {
            Ok(result) => {
                let none = py.None().into_bound(py);
                self.0.exit(py, &none, &none)?;
                Ok(result)
            }
            Err(error) => {
                let exception = error.value(py).as_any();
                self.0.exit(py, exception.get_type().as_any(), exception)?;
                Err(error)
            }
        }
    }
}

/// A future that is cancelled at once, for lack of time.
struct Late {
    future: Obj,
    /// Who waits, for the call graph.
    task: Option<Obj>,
    observer: Ref<Observer>,
    waiters: Waiters,
}

impl Late {
    fn start(py: Python<'_>, fut: &Obj) -> PyResult<Start> {
        let ensured = asyncio(py)?
            .tasks
            .bind(py)
            .call_method1("ensure_future", (fut.bind(py),))?;
        let future = Obj::from(ensured);
        if outcome::is_done(py, &future)? {
            return Ok(Start::Done(outcome::result(py, &future)?));
        }
        let waiters = Waiters::new();
        let observer = Observer::create(py, Release(waiters.clone()))?;
        observer::watch(py, &future, &observer)?;
        let task = any_task::current(py)?;
        add_awaiter(py, &future, task.as_ref())?;
        any_task::cancel(py, &future)?;
        Ok(Start::TooLate(Late {
            future,
            task,
            observer,
            waiters,
        }))
    }

    /// Waits until the future has ended. A cancellation ends the wait, not the future.
    async fn settle(self, awaiter: &Awaiter) -> PyResult<Obj> {
        let waited = awaiter.catch(self.waiters.wait()).await;
        Python::attach(|py| {
            observer::unwatch(py, &self.future, &self.observer)?;
            discard_awaiter(py, &self.future, self.task.as_ref())?;
            waited?;
            outcome::result(py, &self.future).map_err(|error| match asyncio(py) {
                Ok(asyncio) if is_cancelled_error(py, &error, &asyncio.cancelled_error) => {
                    timeout_error(error.value(py).as_any()).unwrap_or_else(|error| error)
                }
                _ => error,
            })
        })
    }
}

/// Wakes who waits for the end of a future.
struct Release(Waiters);

impl Observe for Release {
    fn done(&self, _py: Python<'_>, _slf: &Ref<Observer>, _future: &Obj) -> PyResult<()> {
        self.0.wake_all();
        Ok(())
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.0.visit(&mut |waker| visit_waker(visit, waker));
    }

    fn clear(&self) {}
}

/// Adds the function to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_fast_function(
        module,
        c"wait_for",
        c"wait_for(fut, timeout)\n--\n\nWait for a future or coroutine, at most `timeout` seconds (None: no limit). When the time is up it is cancelled and\nTimeoutError raised. If the wait is cancelled, so is what is waited for.",
        wait_for,
    )
}
