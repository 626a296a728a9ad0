//! `timeout`, `timeout_at` and `Timeout` (asyncio: Timeouts).
//!
//! The class is a thin face over [`Expiry`], which `wait_for` uses as well. Both ends of `async with` are awaited at
//! once: `__aexit__` acts when it is called.

mod alarm;
mod expiry;

use std::rc::Rc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, Outcome, Ref, Signature, Visit,
    add_fast_function, public_class,
};
use crate::prompt;

pub(crate) use alarm::Alarm;
use expiry::State;
pub(crate) use expiry::{Expiry, timeout_error};

/// The data of a `Timeout`. The Rust future of `wait_for` shares the state.
pub(crate) struct Timeout {
    expiry: Rc<Expiry>,
}

static TIMEOUT: ClassCell = ClassCell::new();

impl Class for Timeout {
    const NAME: &'static std::ffi::CStr = c"sabio._TimeoutCore";
    const SUBCLASSABLE: bool = true;
    const RECYCLED: bool = true;

    fn cell() -> &'static ClassCell {
        &TIMEOUT
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.expiry.visit(visit);
    }

    fn clear(&self) {
        self.expiry.clear();
    }
}

impl Timeout {
    fn new(expiry: Expiry) -> Timeout {
        Timeout {
            expiry: Rc::new(expiry),
        }
    }

    /// The object by which a coroutine shows the garbage collector a timeout that no Python code gets to see.
    pub(crate) fn hidden(py: Python<'_>, expiry: Rc<Expiry>) -> PyResult<Obj> {
        Ok(Ref::create(py, Timeout { expiry })?.into_obj())
    }
}

/// `timeout(delay)`.
fn timeout(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let expiry = Expiry::after(py, args.single("timeout", "delay")?)?;
    Ok(Ref::create_public(py, Timeout::new(expiry))?.into_obj())
}

/// `timeout_at(when)`.
fn timeout_at(args: Args<'_, '_>) -> PyResult<Obj> {
    let expiry = Expiry::new(args.single("timeout_at", "when")?);
    Ok(Ref::create_public(args.py(), Timeout::new(expiry))?.into_obj())
}

/// `Timeout(when)`. Apart from the constructor, which takes anything: a subclass may have other parameters.
fn initialize(
    slf: &Ref<Timeout>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let given = kwargs
        .map(|kwargs| kwargs.get_item("when"))
        .transpose()?
        .flatten();
    let count = args.len() + kwargs.map_or(0, |kwargs| kwargs.len());
    let when = match (args.len(), given) {
        (1, None) if count == 1 => args.get_item(0)?,
        (0, Some(when)) if count == 1 => when,
        _ => return Err(PyTypeError::new_err("Timeout() takes one argument: 'when'")),
    };
    slf.expiry.set_when(&when);
    Ok(())
}

fn repr(slf: &Ref<Timeout>, py: Python<'_>) -> PyResult<Obj> {
    let expiry = &slf.expiry;
    let mut when = String::new();
    if expiry.state() == State::Entered {
        let shown = expiry.when(py)?.into_bound(py);
        when = if shown.is_none() {
            " when=None".to_owned()
        } else {
            let round = py.import("builtins")?.getattr("round")?;
            format!(" when={}", round.call1((shown, 3))?.str()?)
        };
    }
    let text = format!("<Timeout [{}]{when}>", expiry.state().word());
    Ok(Obj::from(PyString::new(py, &text)))
}

fn enter(py: Python<'_>, owner: &Obj) -> PyResult<Obj> {
    if let Some(timeout) = Ref::<Timeout>::downcast(owner.bind(py)) {
        timeout.expiry.enter(py)?;
    }
    Ok(owner.clone())
}

const EXIT: Signature<3> = Signature {
    function: "__aexit__",
    parameters: ["exc_type", "exc_val", "exc_tb"],
    required: 3,
    positional: 3,
};

fn exit(slf: &Ref<Timeout>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [class, exception, _traceback] = args.all(&EXIT)?;
    slf.expiry.exit(py, class, exception)?;
    prompt::done(py)
}

fn define(table: &mut MethodTable<Timeout>) {
    table
        .noargs(
            c"when",
            c"when($self, /)\n--\n\nThe current deadline in seconds of loop.time(), or None.",
            |slf, py| slf.expiry.when(py),
        )
        .method(
            c"reschedule",
            c"reschedule($self, when)\n--\n\nMove the deadline (seconds of loop.time(); None: no limit). RuntimeError if the timeout is not active.",
            |slf, args| slf.expiry.reschedule(args.single("reschedule", "when")?),
        )
        .noargs(
            c"expired",
            c"expired($self, /)\n--\n\nWhether the block has taken too long.",
            |slf, _py| Ok(matches!(slf.expiry.state(), State::Expiring | State::Expired)),
        )
        .fast_noargs(
            c"__aenter__",
            c"__aenter__($self, /)\n--\n\nStart the clock. RuntimeError outside of a task, and the second time.",
            |slf, py| -> PyResult<Obj> {
                let entering: Outcome<Obj> =
                    prompt::create(py, "Timeout.__aenter__", slf.as_obj().clone(), enter);
                Ok(entering?)
            },
        )
        .fast_method(
            c"__aexit__",
            c"__aexit__($self, exc_type, exc_val, exc_tb)\n--\n\nStop the clock; TimeoutError if it has run down.",
            exit,
        );
}

/// Builds the class, in front of asyncio's, and adds it and the functions to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    alarm::init(py)?;
    let core = ClassBuilder::<Timeout>::new(c"The native part of sabio.Timeout.")
        .members(define)
        .constructor(|_class, _args, _kwargs| Ok(Timeout::new(Expiry::unset())))
        .initializer(initialize)
        .repr(repr)
        .build(py, &Base::Object)?;
    let base = py.import("asyncio.timeouts")?.getattr("Timeout")?;
    let doc = "Timeout(when)\n--\n\nCancels a block that takes too long (asyncio: Timeouts); subclass of asyncio.Timeout.";
    let class = public_class(py, "Timeout", &[&core, &base], doc)?;
    TIMEOUT.set_public(&class)?;
    module.add("Timeout", class)?;
    add_fast_function(
        module,
        c"timeout",
        c"timeout(delay)\n--\n\nCancel the current task, and raise TimeoutError, if the block takes more than `delay` seconds (None: no limit).",
        timeout,
    )?;
    add_fast_function(
        module,
        c"timeout_at",
        c"timeout_at(when)\n--\n\nAs timeout(), for a time of the loop's clock: loop.time() seconds.",
        timeout_at,
    )
}
