//! The future that `gather` gives: cancelling it cancels the children, and it ends when they do.
//!
//! It is a `sabio.Future` but for that, on whatever loop the children belong to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::asyncio::asyncio;
use crate::event_loop::Loop;
use crate::ffi::{Args, Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, Ref, Visit};
use crate::future::{self, Future};
use crate::future_core::{FutureCore, FutureLike};
use crate::names::names;
use crate::outcome;

/// What a gathering future holds besides a future's data.
#[derive(Default)]
pub(crate) struct Gathering {
    children: RefCell<Rc<[Obj]>>,
    cancel_requested: Cell<bool>,
}

static GATHERING: ClassCell = ClassCell::new();

impl Class for Gathering {
    const NAME: &'static std::ffi::CStr = c"sabio._GatheringFuture";
    const PLAIN: bool = false;

    fn cell() -> &'static ClassCell {
        &GATHERING
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        // The slice is shared only for the time of a call, when nothing is being collected that it belongs to.
        self.children.borrow().iter().for_each(|child| visit.obj(child));
    }

    fn clear(&self) {
        drop(self.children.replace(Rc::default()));
    }
}

impl Gathering {
    /// The children, in the order of the arguments.
    pub(super) fn children(&self) -> Rc<[Obj]> {
        Rc::clone(&self.children.borrow())
    }

    /// Whether a cancellation has reached a child.
    pub(super) fn is_cancel_requested(&self) -> bool {
        self.cancel_requested.get()
    }
}

/// A new gathering future of this loop.
pub(super) fn create(py: Python<'_>, event_loop: &Obj, children: Vec<Obj>) -> PyResult<Ref<Gathering>> {
    let no_args = PyTuple::empty(py);
    let outer = Ref::<Gathering>::create_uninitialised(py, &no_args)?;
    drop(outer.children.replace(children.into()));
    let ours = Ref::<Loop>::downcast(event_loop.bind(py));
    let kwargs = match ours {
        Some(event_loop) => event_loop.loop_kwargs(py)?,
        None => {
            let kwargs = PyDict::new(py);
            kwargs.set_item(names(py)?.loop_.bind(py), event_loop.bind(py))?;
            kwargs
        }
    };
    let base = &asyncio(py)?.future.class;
    base.init(py, outer.as_obj(), &no_args, Some(&kwargs))?;
    if let Some(event_loop) = ours {
        as_future(py, &outer)?.core().set_event_loop(event_loop.clone());
    }
    Ok(outer)
}

/// The common part of a gathering future.
#[inline]
pub(crate) fn core<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a FutureCore> {
    Ref::<Gathering>::downcast_exact(object)?;
    Ref::<Future>::downcast(object).map(|future| future.core())
}

/// The same object as a future.
pub(super) fn as_future<'a>(py: Python<'a>, outer: &'a Ref<Gathering>) -> PyResult<&'a Ref<Future>> {
    Ref::<Future>::downcast(outer.bind(py))
        .ok_or_else(|| pyo3::exceptions::PySystemError::new_err("a gathering future is no future"))
}

/// `cancel(msg=None)`: passed on to every child; False if there was nothing left to cancel.
fn cancel(slf: &Ref<Gathering>, args: Args<'_, '_>) -> PyResult<bool> {
    let py = args.py();
    let names = names(py)?;
    let message = args
        .only_keyword("cancel", &names.msg_keyword)?
        .or_else(|| args.get(0));
    if outcome::is_done(py, slf.as_obj())? {
        return Ok(false);
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("msg", message)?;
    let mut cancelled = false;
    for child in slf.children().iter() {
        if child
            .bind(py)
            .call_method(names.cancel.text(py), (), Some(&kwargs))?
            .is_truthy()?
        {
            cancelled = true;
        }
    }
    if cancelled {
        slf.cancel_requested.set(true);
    }
    Ok(cancelled)
}

fn define(table: &mut MethodTable<Gathering>) {
    table
        .method(
            c"cancel",
            c"cancel($self, /, msg=None)\n--\n\nCancel the children. False if all of them are done already.",
            cancel,
        )
        .getter(c"_children", c"The futures that are gathered.", |slf, py| {
            let children = slf.children();
            let list = PyList::new(py, children.iter().map(|child| child.bind(py)))?;
            Ok(Obj::from(&list))
        })
        .getter(
            c"_cancel_requested",
            c"Whether a child was cancelled through this future.",
            |slf, _py| Ok(slf.is_cancel_requested()),
        );
}

/// Builds the class.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    ClassBuilder::<Gathering>::new(c"The future that gather() gives.")
        .members(define)
        .derived_constructor()
        .build(py, &Base::Native(future::class(py)?))?;
    Ok(())
}
