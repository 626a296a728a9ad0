//! `sabio.sleep`: waiting for a time without a future, a callback or a handle.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sabio_reactor::Nanos;
use sabio_sync::yield_now;

use crate::coroutine;
use crate::event_loop;
use crate::ffi::Obj;

/// Waits for `delay` seconds of the running loop's clock, never less; zero and less let everything run that is ready
/// (asyncio: Sleeping). ValueError for NaN.
async fn sleep_for(delay: Obj) -> PyResult<()> {
    enum Wait {
        Turn,
        Until(std::rc::Rc<event_loop::LoopReactor>, Nanos),
    }
    let wait = Python::attach(|py| {
        let seconds: f64 = delay.bind(py).extract()?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err("Invalid delay: NaN (not a number)"));
        }
        if seconds <= 0.0 {
            return Ok(Wait::Turn);
        }
        let event_loop = event_loop::running(py)?;
        Ok(Wait::Until(
            event_loop.reactor().clone(),
            Nanos::at_or_after(event_loop::time() + seconds),
        ))
    })?;
    match wait {
        Wait::Turn => yield_now().await,
        Wait::Until(reactor, deadline) => reactor.sleep_until(deadline).await,
    }
    Ok(())
}

/// Wait for `delay` seconds, then return `result`.
#[pyfunction]
#[pyo3(signature = (delay, result=None))]
fn sleep(py: Python<'_>, delay: &Bound<'_, PyAny>, result: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    let delay = Obj::from(delay);
    let result = result.map_or_else(|| Obj::none(py), Obj::from);
    let coroutine = coroutine::create(py, "sleep", async move {
        sleep_for(delay).await?;
        Ok(result)
    })?;
    Ok(coroutine.into_bound(py).unbind())
}

/// Adds the function to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sleep, module)?)
}
