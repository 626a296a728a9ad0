//! `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at` and the clock (asyncio: Scheduling callbacks).

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};
use sabio_reactor::Nanos;

use super::{FirstStep, Loop, Ready, debug};
use crate::asyncio::asyncio;
use crate::ffi::{Args, BoundFunction, MethodTable, Obj, Ref, Signature};
use crate::ffi::{Captured, Outcome, double};
use crate::handle::{Handle, Kind};
use crate::names::names;
use crate::task::Task;
use crate::timer_handle::TimerHandle;
use crate::wakeup::Wakeup;

/// The arguments of a scheduling call.
struct Call<'b, 'a, 'py> {
    /// The delay or the time, for the calls that take one.
    time: Option<&'a Bound<'py, PyAny>>,
    callback: &'a Bound<'py, PyAny>,
    /// The call itself and the position from which on its arguments are the callback's.
    args: &'b Args<'a, 'py>,
    first: usize,
    context: Option<&'a Bound<'py, PyAny>>,
}

/// Takes the arguments of `function` apart; `time` names the parameter before the callback, if there is one.
#[inline(always)]
fn parse<'b, 'a, 'py>(
    function: &'static str,
    time: Option<&'static str>,
    args: &'b Args<'a, 'py>,
) -> PyResult<Call<'b, 'a, 'py>> {
    let first = usize::from(time.is_some());
    let Some(callback) = args.get(first) else {
        return parse_named(function, time, args);
    };
    let context = args.only_keyword(function, &names(args.py())?.context_keyword)?;
    Ok(Call {
        time: time.and(args.get(0)),
        callback,
        args,
        first: first + 1,
        context: context.filter(|context| !context.is_none()),
    })
}

/// As [`parse`], for calls that give the callback by name, or not at all.
#[cold]
fn parse_named<'b, 'a, 'py>(
    function: &'static str,
    time: Option<&'static str>,
    args: &'b Args<'a, 'py>,
) -> PyResult<Call<'b, 'a, 'py>> {
    let (time, callback, context) = match time {
        None => {
            let [callback, context] = args.parse(&Signature {
                function,
                parameters: ["callback", "context"],
                required: 1,
                positional: 1,
            })?;
            (None, callback, context)
        }
        Some(time) => {
            let [time, callback, context] = args.parse(&Signature {
                function,
                parameters: [time, "callback", "context"],
                required: 2,
                positional: 2,
            })?;
            (time, callback, context)
        }
    };
    let Some(callback) = callback else {
        return Err(PyTypeError::new_err(format!(
            "{function}() missing 1 required positional argument: 'callback'"
        )));
    };
    Ok(Call {
        time,
        callback,
        args,
        first: args.len(),
        context: context.filter(|context| !context.is_none()),
    })
}

#[inline(always)]
fn context_of(slf: &Ref<Loop>, py: Python<'_>, call: &Call<'_, '_, '_>) -> Outcome<Captured> {
    match call.context {
        Some(context) => Ok(Captured {
            context: Obj::from(context),
            shared: false,
        }),
        None => slf.contexts.capture(py),
    }
}

fn call_soon(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    slf.check_closed()?;
    if let Some(context) = slf.dropped_step(&args)? {
        if slf.debug() {
            debug::check_thread(slf)?;
        }
        slf.first_step.set(FirstStep::Dropped(context));
        return Ok(Obj::none(py));
    }
    let call = parse("call_soon", None, &args)?;
    if slf.debug() {
        debug::check_thread(slf)?;
        debug::check_callback(py, call.callback, "call_soon")?;
    }
    if let Some(task) = BoundFunction::<Wakeup>::target(call.callback)
        && let (Some(task), Some(future)) = (Ref::<Task>::downcast(task.bind(py)), call.args.get(call.first))
    {
        crate::step::wake(slf, task, future);
        return Ok(Obj::none(py));
    }
    let context = context_of(slf, py, &call)?;
    slf.make_room()?;
    let handle = Ref::create_with(py, || {
        Handle::new(Obj::from(call.callback), context, slf.clone(), Kind::Once)
    })?;
    handle.arguments().fill(call.args.positional_from(call.first));
    if slf.debug() {
        handle.record_source(py)?;
    }
    slf.push(Ready::Call(handle.clone()));
    Ok(handle.into_obj())
}

fn call_soon_threadsafe(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    slf.check_closed()?;
    let call = parse("call_soon_threadsafe", None, &args)?;
    if slf.debug() {
        debug::check_callback(py, call.callback, "call_soon_threadsafe")?;
    }
    let context = context_of(slf, py, &call)?;
    slf.make_room()?;
    let handle = Ref::create_with(py, || {
        Handle::new(Obj::from(call.callback), context, slf.clone(), Kind::ThreadSafe)
    })?;
    handle.arguments().fill(call.args.positional_from(call.first));
    if slf.debug() {
        handle.record_source(py)?;
    }
    slf.push(Ready::Call(handle.clone()));
    slf.wake_if_waiting();
    Ok(handle.into_obj())
}

/// Puts a timer on the heap.
fn call_at_time(
    slf: &Ref<Loop>,
    py: Python<'_>,
    when: f64,
    given: Option<Obj>,
    call: &Call<'_, '_, '_>,
) -> PyResult<Obj> {
    let context = context_of(slf, py, call)?;
    slf.make_room_for_timer()?;
    let data = || Handle::new(Obj::from(call.callback), context, slf.clone(), Kind::Once);
    let timer = Ref::create_derived(py, data, TimerHandle::new(when))?;
    timer
        .as_parent()
        .arguments()
        .fill(call.args.positional_from(call.first));
    if slf.debug() {
        timer.as_parent().record_source(py)?;
    }
    if let Some(given) = given {
        timer.as_parent().set_given(given);
    }
    let key = slf
        .reactor()
        .schedule(Nanos::at_or_after(when), timer.as_parent().clone());
    timer.set_key(Some(key));
    Ok(timer.into_obj())
}

fn call_later(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let call = parse("call_later", Some("delay"), &args)?;
    if let Some(delay) = call.time
        && !delay.is_instance_of::<PyFloat>()
        && !delay.is_instance_of::<PyInt>()
        && !delay.is_none()
    {
        check_addable(delay)?;
    }
    let delay = seconds(&call, "delay must not be None")?;
    slf.check_closed()?;
    check_timer(slf, py, &call, "call_later")?;
    call_at_time(slf, py, Loop::time(slf, py)? + delay, None, &call)
}

fn call_at(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let call = parse("call_at", Some("when"), &args)?;
    let when = seconds(&call, "when cannot be None")?;
    slf.check_closed()?;
    check_timer(slf, py, &call, "call_at")?;
    let given = call.time.filter(|time| !time.is_exact_instance_of::<PyFloat>());
    call_at_time(slf, py, when, given.map(Obj::from), &call)
}

/// TypeError for a delay that cannot be added to the time, which is a float: a text or a Decimal, for one. None has an
/// error of its own.
#[cold]
fn check_addable(delay: &Bound<'_, PyAny>) -> PyResult<()> {
    PyFloat::new(delay.py(), super::time()).add(delay).map(|_| ())
}

/// The delay or time of a call in seconds; `message` is for None in its place.
#[inline]
fn seconds(call: &Call<'_, '_, '_>, message: &'static str) -> PyResult<f64> {
    match call.time {
        Some(time) if !time.is_none() => Ok(double(time)?),
        _ => Err(PyTypeError::new_err(message)),
    }
}

#[inline]
fn check_timer(slf: &Ref<Loop>, py: Python<'_>, call: &Call<'_, '_, '_>, method: &str) -> PyResult<()> {
    if slf.debug() {
        debug::check_thread(slf)?;
        debug::check_callback(py, call.callback, method)?;
    }
    Ok(())
}

impl Loop {
    /// The context of the step that the initialiser of a task's base schedules, if this is that call.
    #[inline(always)]
    fn dropped_step(&self, args: &Args<'_, '_>) -> PyResult<Option<Obj>> {
        match self.first_step.take() {
            FirstStep::Unexpected => Ok(None),
            FirstStep::Expected => {
                let step = args
                    .get(0)
                    .filter(|callback| asyncio(args.py()).is_ok_and(|a| a.is_step_of_base(callback)));
                let context =
                    step.and_then(|_| args.keywords().next().map(|(_, context)| Obj::from(context)));
                if context.is_none() {
                    self.first_step.set(FirstStep::Expected);
                }
                Ok(context)
            }
            dropped @ FirstStep::Dropped(_) => {
                self.first_step.set(dropped);
                Ok(None)
            }
        }
    }

    /// Ends the loop's wait, if it waits: called by other threads, which have just changed something.
    #[inline]
    pub(crate) fn wake_if_waiting(&self) {
        // Set and read under the GIL: a loop that is not waiting now looks at the ready queue before it waits.
        if self.waiting.get() {
            self.reactor.waker().wake();
        }
    }
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .fast_method(
            c"call_soon",
            c"call_soon($self, callback, *args, context=None)\n--\n\nCall callback(*args) in the next turn of the loop.",
            call_soon,
        )
        .fast_method(
            c"call_soon_threadsafe",
            c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nAs call_soon(), from any thread.",
            call_soon_threadsafe,
        )
        .fast_method(
            c"call_later",
            c"call_later($self, delay, callback, *args, context=None)\n--\n\nCall callback(*args) after delay seconds, never earlier.",
            call_later,
        )
        .fast_method(
            c"call_at",
            c"call_at($self, when, callback, *args, context=None)\n--\n\nCall callback(*args) when time() has reached `when` (seconds), never earlier.",
            call_at,
        )
        .fast_noargs(c"time", c"time($self, /)\n--\n\nThe loop's clock in seconds: the same as time.monotonic().", |_slf, _py| Ok(super::time()));
}
