//! Flow control towards the protocol (asyncio: Transports, "Write-only Transports"): `pause_writing` when more than the
//! high-water mark could not be sent, `resume_writing` when no more than the low-water mark is left.

use std::cell::Cell;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::shared::Transport;
use crate::event_loop::errors;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, call_method};
use crate::names::{Name, names};

/// Where writing is paused when nothing else was set, in bytes.
const HIGH_WATER: usize = 64 * 1024;

/// The limits of a transport's write buffer, in bytes, and whether its protocol is paused.
pub(super) struct Limits {
    pub(super) high: Cell<usize>,
    pub(super) low: Cell<usize>,
    pub(super) paused: Cell<bool>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(HIGH_WATER)
    }
}

impl Limits {
    /// Limits of which the high one is `high`.
    pub(super) fn new(high: usize) -> Limits {
        Limits {
            high: Cell::new(high),
            low: Cell::new(high / 4),
            paused: Cell::new(false),
        }
    }
}

/// Calls `pause_writing` if too much waits.
#[inline]
pub(super) fn maybe_pause<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    if slf.queued() <= slf.shared().limits.high.get() || slf.shared().limits.paused.replace(true) {
        return Ok(());
    }
    let name = &names(py)?.pause_writing;
    tell(slf, py, "protocol.pause_writing() failed", |protocol| {
        // As in asyncio within the caller's context: it is part of the caller's write().
        Ok(call_method(py, protocol, name, &[])?)
    })
}

/// Calls `resume_writing` if it is paused and little enough is left.
#[inline]
pub(super) fn maybe_resume<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    if !slf.shared().limits.paused.get() || slf.queued() > slf.shared().limits.low.get() {
        return Ok(());
    }
    slf.shared().limits.paused.set(false);
    let name: &Name = &names(py)?.resume_writing;
    tell(slf, py, "protocol.resume_writing() failed", |protocol| {
        slf.shared().notify(py, protocol, name, &[])
    })
}

#[cold]
fn tell<T: Transport>(
    slf: &Ref<T>,
    py: Python<'_>,
    message: &str,
    call: impl FnOnce(&Obj) -> PyResult<Obj>,
) -> PyResult<()> {
    let Some(protocol) = slf.shared().protocol.get() else {
        return Ok(());
    };
    let Err(error) = call(&protocol) else {
        return Ok(());
    };
    let Some(event_loop) = slf.shared().event_loop.get() else {
        return Err(error);
    };
    let keys = [("transport", slf.as_obj()), ("protocol", &protocol)];
    errors::exit_or_report(py, &event_loop, error, message, &keys)
}

/// A limit in whole bytes; what no buffer can reach, such as 2**64 or infinity, as the most that there is.
fn whole(limit: &Bound<'_, PyAny>) -> usize {
    match limit.extract::<usize>() {
        Ok(limit) => limit,
        Err(_) => limit.extract::<f64>().map_or(usize::MAX, |limit| limit as usize),
    }
}

/// The arguments `high` and `low` of `function`: `(low, high)` in bytes. Where neither is given, `default` is the high
/// one. They may be of any kind of number.
///
/// # Errors
/// TypeError for what is no number, ValueError for limits that contradict each other.
pub(super) fn parse_limits<'py>(
    function: &'static str,
    args: Args<'_, 'py>,
    default: usize,
) -> PyResult<(usize, usize)> {
    let signature = Signature {
        function,
        parameters: ["high", "low"],
        required: 0,
        positional: 2,
    };
    let [high, low] = args.parse(&signature)?;
    let py = args.py();
    let given = |limit: Option<&Bound<'py, PyAny>>| limit.filter(|limit| !limit.is_none()).cloned();
    let (high, low) = match (given(high), given(low)) {
        (None, None) => return Ok((default / 4, default)),
        (None, Some(low)) => (4_i32.into_pyobject(py)?.mul(&low)?, low),
        (Some(high), None) => {
            let low = high.floor_div(4)?;
            (high, low)
        }
        (Some(high), Some(low)) => (high, low),
    };
    if !(high.ge(&low)? && low.ge(0)?) {
        let (high, low) = (high.repr()?, low.repr()?);
        return Err(PyValueError::new_err(format!(
            "high ({high}) must be >= low ({low}) must be >= 0"
        )));
    }
    Ok((whole(&low), whole(&high)))
}

fn set_write_buffer_limits<T: Transport>(slf: &Ref<T>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let (low, high) = parse_limits("set_write_buffer_limits", args, HIGH_WATER)?;
    slf.shared().limits.high.set(high);
    slf.shared().limits.low.set(low);
    if slf.queued() > slf.shared().limits.high.get() {
        T::flush_now(slf, py)?;
    }
    maybe_pause(slf, py)
}

pub(super) fn define<T: Transport>(table: &mut MethodTable<T>) {
    table
        .method(
            c"set_write_buffer_limits",
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\nSet when the protocol is paused and resumed, in bytes.",
            set_write_buffer_limits::<T>,
        )
        .noargs(
            c"get_write_buffer_limits",
            c"get_write_buffer_limits($self, /)\n--\n\nThe limits (low, high), in bytes.",
            |slf, py| {
                let limits = (slf.shared().limits.low.get(), slf.shared().limits.high.get());
                Ok(Obj::from(limits.into_pyobject(py)?))
            },
        )
        .noargs(
            c"get_write_buffer_size",
            c"get_write_buffer_size($self, /)\n--\n\nHow many bytes could not be sent yet.",
            |slf, py| {
                T::flush_now(slf, py)?;
                Ok(slf.queued())
            },
        )
        .getter(c"_high_water", c"The limit above which writing is paused, in bytes.", |slf, _py| {
            Ok(slf.shared().limits.high.get())
        })
        .getter(c"_low_water", c"The limit at which writing is resumed, in bytes.", |slf, _py| {
            Ok(slf.shared().limits.low.get())
        })
        .getter(c"_protocol_paused", c"Whether the protocol was told to pause writing.", |slf, _py| {
            Ok(slf.shared().limits.paused.get())
        });
}
