//! `sabio.sleep`: waiting for a time without a future, a callback or a handle.

use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};
use sabio_reactor::Nanos;
use sabio_sync::yield_now;

use crate::alarm::Alarmed;
use crate::asyncio::asyncio;
use crate::coroutine;
use crate::event_loop::{Loop, LoopReactor};
use crate::ffi::{Args, Global, IntoObj, Obj, Ref, Signature, add_fast_function};
use crate::{pause, task};

/// What a sleep waits for.
enum Wait {
    Turn,
    Until(Rc<LoopReactor>, Nanos),
    Elsewhere(Alarmed),
}

/// Waits for `delay` seconds of the running loop's clock, never less; zero and less let everything run that is ready
/// (asyncio: Sleeping). ValueError for NaN, RuntimeError if no loop runs.
async fn sleep_for(delay: Obj) -> PyResult<()> {
    let wait = Python::attach(|py| begin(delay.bind(py)))?;
    drop(delay);
    match wait {
        Wait::Turn => yield_now().await,
        Wait::Until(reactor, deadline) => reactor.sleep_until(deadline).await,
        Wait::Elsewhere(alarm) => alarm.await,
    }
    Ok(())
}

fn begin(delay: &Bound<'_, PyAny>) -> PyResult<Wait> {
    if delay.le(0)? {
        return Ok(Wait::Turn);
    }
    let seconds: f64 = delay.extract()?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("Invalid delay: NaN (not a number)"));
    }
    let until = |event_loop: &Ref<Loop>| {
        event_loop.make_room_for_timer()?;
        let deadline = Nanos::at_or_after(Loop::time(event_loop, delay.py())? + seconds);
        Ok(Wait::Until(Rc::clone(event_loop.reactor()), deadline))
    };
    let py = delay.py();
    if let Some(task) = task::current(py)
        && let Some(event_loop) = task.event_loop()
    {
        return until(event_loop);
    }
    let running = asyncio(py)?.events.bind(py).call_method0("get_running_loop")?;
    match Ref::<Loop>::downcast(&running) {
        Some(event_loop) => until(event_loop),
        None => Ok(Wait::Elsewhere(Alarmed::start(&running, delay)?)),
    }
}

/// The integer that nearly every call names.
static ZERO: Global<Obj> = Global::new();

/// Whether `delay` is a plain number that is zero or less. What other objects compare as is asked when they are
/// awaited, as by asyncio.
#[inline]
fn is_a_turn(delay: &Bound<'_, PyAny>) -> bool {
    if ZERO.get(delay.py()).is_ok_and(|zero| zero.is(delay)) {
        return true;
    }
    if let Ok(seconds) = delay.cast_exact::<PyInt>() {
        return seconds.extract::<i64>().is_ok_and(|seconds| seconds <= 0);
    }
    delay
        .cast_exact::<PyFloat>()
        .is_ok_and(|seconds| seconds.value() <= 0.0)
}

/// The arguments where they are not one delay by position.
#[cold]
fn parse<'a, 'py>(args: &Args<'a, 'py>) -> PyResult<(&'a Bound<'py, PyAny>, Option<&'a Bound<'py, PyAny>>)> {
    let [delay, result] = args.parse(&Signature {
        function: "sleep",
        parameters: ["delay", "result"],
        required: 1,
        positional: 2,
    })?;
    let Some(delay) = delay else {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "sleep() missing 1 required positional argument: 'delay'",
        ));
    };
    Ok((delay, result.filter(|result| !result.is_none())))
}

/// `sleep(delay, result=None)`.
fn sleep(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let (delay, result) = match args.only_positional() {
        Some(delay) => (delay, None),
        None => parse(&args)?,
    };
    match result {
        None if is_a_turn(delay) => Ok(pause::create(py)?),
        None => {
            let delay = Obj::from(delay);
            coroutine::create(py, "sleep", async move {
                sleep_for(delay).await?;
                Ok(Python::attach(Obj::none))
            })
        }
        Some(result) => {
            let delay = Obj::from(delay);
            let result = Obj::from(result);
            coroutine::create_with(py, "sleep", |awaiter| {
                let result = awaiter.hold(result);
                async move {
                    sleep_for(delay).await?;
                    Ok(Obj::clone(&result))
                }
            })
        }
    }
}

/// Adds the function to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    ZERO.set(py, 0_usize.into_obj(py)?);
    pause::init(py)?;
    add_fast_function(
        module,
        c"sleep",
        c"sleep(delay, result=None)\n--\n\nWait for `delay` seconds, then return `result`. A coroutine.",
        sleep,
    )
}
