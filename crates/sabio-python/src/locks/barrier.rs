//! `sabio.Barrier` (asyncio: Synchronization Primitives, Barrier).

use std::cell::OnceCell;

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use sabio_sync::BarrierState;

use super::async_with::finished;
use super::{PublicClass, asyncio_error, describe, only_parameter, owner_as, whole_number};
use crate::awaiter::Awaiter;
use crate::begun::Begun;
use crate::copying::{self, Copied};
use crate::coroutine;
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, IntoObj, MethodTable, Obj, ObjCell, Outcome, Ref, Visit,
    call_method,
};
use crate::loop_binding::{self, LoopBinding, LoopBound};
use crate::names::names;
use crate::waker::{is_doomed, visit_waker};

/// The data of `sabio.Barrier`.
pub(crate) struct Barrier {
    /// From the initialiser on.
    state: OnceCell<sabio_sync::Barrier>,
    binding: LoopBinding,
}

static BARRIER: ClassCell = ClassCell::new();
static PUBLIC: PublicClass = PublicClass::new();

/// What asyncio says of too few parties.
const TOO_FEW: &str = if cfg!(Py_3_14) {
    "parties must be >= 1"
} else {
    "parties must be > 0"
};

impl Class for Barrier {
    const NAME: &'static std::ffi::CStr = c"sabio._BarrierCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &BARRIER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.binding.visit(visit);
        if let Some(state) = self.state.get() {
            state.visit(&mut |waker| visit_waker(visit, waker));
        }
    }

    fn clear(&self) {
        self.binding.set(None);
    }
}

impl LoopBound for Barrier {
    fn binding(&self) -> &LoopBinding {
        &self.binding
    }
}

impl Barrier {
    fn state(&self) -> PyResult<&sabio_sync::Barrier> {
        self.state
            .get()
            .ok_or_else(|| PyAttributeError::new_err("'Barrier' object has no attribute '_state'"))
    }
}

/// `Barrier(parties)`.
fn initialize(
    slf: &Ref<Barrier>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let Some(parties) = only_parameter(slf.as_obj(), Some("parties"), args, kwargs)? else {
        return Err(PyTypeError::new_err(format!(
            "{}.__init__() missing 1 required positional argument: 'parties'",
            slf.bind(args.py()).get_type().name()?
        )));
    };
    set_parties(slf, &parties)
}

fn set_parties(slf: &Ref<Barrier>, parties: &Bound<'_, PyAny>) -> PyResult<()> {
    let parties = usize::try_from(whole_number(parties)?).unwrap_or(0);
    if parties < 1 {
        return Err(PyValueError::new_err(TOO_FEW));
    }
    // A barrier keeps its parties, whatever its initialiser is called with again.
    let _ = slf
        .state
        .set(sabio_sync::Barrier::with_doomed(parties, is_doomed));
    Ok(())
}

impl Copied for Barrier {
    const STATE: &'static [&'static str] = &["_parties", "_loop"];

    fn is_in_use(&self) -> bool {
        self.state
            .get()
            .is_some_and(|state| state.count() > 0 || state.state() != BarrierState::Filling)
    }
}

fn begin_wait(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    let barrier = owner_as::<Barrier>(py, owner)?;
    let state = barrier.state()?.clone();
    if state.parties() > 1 {
        barrier.binding.bind(owner)?;
    }
    Ok(Begun::awaits(|awaiter| async move {
        let passed = state.wait(&awaiter).await?;
        Python::attach(|py| match passed {
            Ok(index) => index.into_obj(py),
            Err(broken) => Err(asyncio_error(py, "BrokenBarrierError", &broken.to_string())),
        })
    }))
}

/// For a subclass, which may have replaced `wait()`.
fn begin_wait_by_name(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    let waiting = call_method(py, owner, &names(py)?.wait, &[])?;
    Ok(Begun::awaits(
        |awaiter| async move { awaiter.wait(waiting).await },
    ))
}

async fn reset(state: sabio_sync::Barrier, awaiter: Awaiter) -> PyResult<Obj> {
    state.reset(&awaiter).await?;
    Ok(Python::attach(Obj::none))
}

async fn abort(state: sabio_sync::Barrier, awaiter: Awaiter) -> PyResult<Obj> {
    state.abort(&awaiter).await?;
    Ok(Python::attach(Obj::none))
}

fn begin_reset(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    let state = owner_as::<Barrier>(py, owner)?.state()?.clone();
    Ok(Begun::awaits(|awaiter| reset(state, awaiter)))
}

fn begin_abort(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    let state = owner_as::<Barrier>(py, owner)?.state()?.clone();
    Ok(Begun::awaits(|awaiter| abort(state, awaiter)))
}

fn enter(slf: &Ref<Barrier>, py: Python<'_>) -> PyResult<Obj> {
    let begin = if PUBLIC.is_exact(py, slf.as_obj()) {
        begin_wait
    } else {
        begin_wait_by_name
    };
    coroutine::create_method(py, "Barrier.__aenter__", slf.as_obj(), None, begin)
}

fn state_name(state: BarrierState) -> &'static str {
    match state {
        BarrierState::Filling => "filling",
        BarrierState::Draining => "draining",
        BarrierState::Resetting => "resetting",
        BarrierState::Broken => "broken",
    }
}

fn repr(slf: &Ref<Barrier>, py: Python<'_>) -> PyResult<Obj> {
    let barrier = slf.state()?;
    let mut state = state_name(barrier.state()).to_owned();
    if barrier.state() != BarrierState::Broken {
        state = format!("{state}, waiters:{}/{}", barrier.n_waiting(), barrier.parties());
    }
    describe(py, slf.as_obj(), &state)
}

fn define(table: &mut MethodTable<Barrier>) {
    loop_binding::define(table);
    copying::define(table);
    table
        .fast_noargs(
            c"wait",
            c"wait($self, /)\n--\n\nWait until all parties wait; gives a number from 0, another one to each. BrokenBarrierError.",
            |slf, py| coroutine::create_method(py, "Barrier.wait", slf.as_obj(), None, begin_wait),
        )
        .noargs(
            c"reset",
            c"reset($self, /)\n--\n\nBack to the start: tasks that wait get BrokenBarrierError.",
            |slf, py| coroutine::create_method(py, "Barrier.reset", slf.as_obj(), None, begin_reset),
        )
        .noargs(
            c"abort",
            c"abort($self, /)\n--\n\nBreak the barrier: tasks that wait, and those that come, get BrokenBarrierError.",
            |slf, py| coroutine::create_method(py, "Barrier.abort", slf.as_obj(), None, begin_abort),
        )
        .fast_noargs(c"__aenter__", c"__aenter__($self, /)\n--\n\nAs wait().", enter)
        .fast_method(
            c"__aexit__",
            c"__aexit__($self, /, *args)\n--\n\nDo nothing.",
            |_slf, args: Args<'_, '_>| finished(args.py()),
        )
        .getter(c"parties", c"How many tasks it takes to get through.", |slf, _py| Ok(slf.state()?.parties()))
        .attribute(
            c"_parties",
            c"As parties.",
            |slf, _py| Ok(slf.state()?.parties()),
            set_parties,
        )
        .getter(c"n_waiting", c"How many tasks wait.", |slf, _py| Ok(slf.state()?.n_waiting()))
        .getter(c"broken", c"Whether the barrier is broken.", |slf, _py| {
            Ok(slf.state()?.state() == BarrierState::Broken)
        })
        .getter(c"_count", c"How many tasks wait or have not gone on yet.", |slf, _py| Ok(slf.state()?.count()));
}

/// Builds the class and adds it to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<Barrier>::new(c"The native part of sabio.Barrier.")
        .members(define)
        .constructor(|_class, _args, _kwargs| {
            Ok(Barrier {
                state: OnceCell::new(),
                binding: LoopBinding::default(),
            })
        })
        .initializer(initialize)
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc =
        "Barrier(parties)\n--\n\nA point where a number of tasks wait for each other (asyncio: Barrier).";
    PUBLIC.publish(module, "Barrier", doc, &core)?;
    Ok(())
}
