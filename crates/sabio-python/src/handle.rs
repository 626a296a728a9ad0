//! `Handle`, `TimerHandle` and the handle of `call_soon_threadsafe`: callbacks that users may cancel.
//!
//! Only calls that a user made have a handle; steps of tasks have none. A handle lets go of callback, arguments, context
//! and loop as soon as it can never run again (it ran, it was cancelled, or its loop was closed), so that who keeps it
//! then is not kept by it, although the collector does not look into it. Their `__class__` is asyncio's own, so
//! `isinstance` holds.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::asyncio::asyncio;
use crate::event_loop::Loop;
use crate::ffi::{
    Arguments, Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, ObjCell, Ref, Slot, Visit, call_args,
};
use crate::ffi::{
    Captured, Outcome, Raised, context_copy, context_copy_current, context_enter, context_exit,
};
use crate::idle_signal::IDLE;
use crate::timer_handle::{self, TimerHandle};

/// How often a handle runs, and from where it may be cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs once.
    Once,
    /// Runs for each event of a descriptor or signal, until it is removed.
    Persistent,
    /// Runs once; another thread that cancels it meanwhile waits for its end.
    ThreadSafe,
}

/// See [`Handle::origin`].
#[derive(Clone, Default)]
struct Origin {
    given: Option<Obj>,
    source_traceback: Option<Obj>,
    described: Option<Obj>,
}

/// The data of a handle. The callback is `None` once it can never run again, context and loop once it does not run either.
pub(crate) struct Handle {
    callback: ObjCell,
    args: Arguments,
    context: ObjCell,
    event_loop: Slot<Ref<Loop>>,
    /// What few handles have. Of a timer, the time that `call_at` was given, if it was no plain float; and what debug mode
    /// keeps: the stack where the handle was made or, once it is cancelled, its description too.
    origin: Cell<Option<Box<Origin>>>,
    cancelled: Cell<bool>,
    running: Cell<bool>,
    /// Whether the context is a pristine copy that other handles share.
    shared: Cell<bool>,
    kind: Kind,
}

static HANDLE: ClassCell = ClassCell::new();

impl Class for Handle {
    const NAME: &'static std::ffi::CStr = c"sabio.Handle";
    const COLLECTED: bool = false;
    const RECYCLED: bool = true;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &HANDLE
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

impl Handle {
    /// The data of a new handle, without arguments: see [`Handle::arguments`].
    #[inline(always)]
    pub(crate) fn new(callback: Obj, context: Captured, event_loop: Ref<Loop>, kind: Kind) -> Handle {
        Handle {
            callback: ObjCell::new(Some(callback)),
            args: Arguments::empty(),
            context: ObjCell::new(Some(context.context)),
            event_loop: Slot::new(Some(event_loop)),
            origin: Cell::new(None),
            cancelled: Cell::new(false),
            running: Cell::new(false),
            shared: Cell::new(context.shared),
            kind,
        }
    }

    /// The arguments, to be filled in when the handle has been made.
    #[inline(always)]
    pub(crate) fn arguments(&self) -> &Arguments {
        &self.args
    }

    /// Whether it was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Keeps the stack of the caller (debug mode).
    pub(crate) fn record_source(&self, py: Python<'_>) -> PyResult<()> {
        let stack = crate::event_loop::debug::caller_stack(py)?;
        self.change_origin(|origin| origin.source_traceback = Some(stack));
        Ok(())
    }

    /// Keeps the time of a timer as it was given.
    #[cold]
    pub(crate) fn set_given(&self, given: Obj) {
        self.change_origin(|origin| origin.given = Some(given));
    }

    /// The time of a timer as it was given, if that was kept.
    pub(crate) fn given(&self) -> Option<Obj> {
        self.origin().given
    }

    fn change_origin(&self, change: impl FnOnce(&mut Origin)) {
        let mut origin = self.origin.take().unwrap_or_default();
        change(&mut origin);
        self.origin.set(Some(origin));
    }

    fn origin(&self) -> Origin {
        let origin = self.origin.take();
        let copy = origin.as_deref().cloned().unwrap_or_default();
        self.origin.set(origin);
        copy
    }

    /// The stack that was kept, if any.
    pub(crate) fn source_traceback(&self) -> Option<Obj> {
        self.origin().source_traceback
    }

    /// The callback, while it may still run.
    pub(crate) fn callback(&self) -> Option<Obj> {
        self.callback.get()
    }

    /// Calls the callback in the handle's own context.
    fn call(&self, py: Python<'_>, callback: &Obj) -> Outcome<Obj> {
        let context = match self.context.get() {
            Some(context) => context,
            None => context_copy_current(py)?,
        };
        context_enter(py, &context)?;
        let result = self.args.call(py, callback);
        context_exit(py, &context)?;
        result
    }

    /// Calls the callback in a copy of the pristine context. If it fails, that copy is the handle's from then on: the
    /// exception handler runs in it.
    #[inline]
    fn call_shared(&self, py: Python<'_>, callback: &Obj) -> Outcome<Obj> {
        let Some(pristine) = self.context.take() else {
            return self.call(py, callback);
        };
        let Some(event_loop) = self.event_loop.get() else {
            return self.call(py, callback);
        };
        let contexts = &event_loop.contexts;
        let context = contexts.enterable(py, &pristine)?;
        self.context.set(Some(context.clone()));
        self.shared.set(false);
        context_enter(py, &context)?;
        let result = self.args.call(py, callback);
        context_exit(py, &context)?;
        if result.is_ok() {
            self.shared.set(true);
            self.context.set(Some(pristine));
            contexts.recycle(context);
        }
        result
    }

    /// The context that the callback runs in, as the handle's own.
    fn own_context(&self, py: Python<'_>) -> PyResult<Option<Obj>> {
        let context = self.context.get();
        match context {
            Some(pristine) if self.shared.get() => {
                let own = context_copy(py, &pristine)?;
                self.shared.set(false);
                self.context.set(Some(own.clone()));
                Ok(Some(own))
            }
            context => Ok(context),
        }
    }

    /// Tells the loop that the callback raised.
    #[cold]
    fn failed(&self, slf: &Ref<Handle>, py: Python<'_>, callback: &Obj, raised: Raised) -> Outcome<()> {
        let error: PyErr = raised.into();
        let Some(event_loop) = self.event_loop.get() else {
            return Err(error.into());
        };
        Ok(crate::event_loop::errors::callback_failed(
            py,
            &event_loop,
            slf,
            callback,
            error,
        )?)
    }

    /// Lets go of callback and arguments and, unless the callback is running, of what that needs.
    #[inline]
    pub(crate) fn release(&self) {
        drop(self.callback.take());
        self.args.clear();
        if !self.running.get() {
            drop(self.context.take());
            drop(self.event_loop.take());
        }
    }

    /// What the collector may know of a handle that only the loop refers to.
    pub(crate) fn visit_contents(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.callback);
        self.args.visit(visit);
        visit.slot(&self.context);
        visit.slot(&self.event_loop);
    }

    /// Shows the contents to the collector if the one who asks holds the only reference. A handle is not collected
    /// itself: while somebody else refers to it, it counts as alive.
    pub(crate) fn visit_if_sole(slf: &Ref<Handle>, visit: &mut Visit<'_>) {
        if slf.as_obj().refcount() == 1 {
            slf.visit_contents(visit);
        }
    }

    fn mark_cancelled(slf: &Ref<Handle>, py: Python<'_>) -> PyResult<bool> {
        if slf.cancelled.get() {
            return Ok(false);
        }
        slf.cancelled.set(true);
        let described = if slf.event_loop.get().is_some_and(|event_loop| event_loop.debug()) {
            // The description outlives the callback: a cancelled handle still says in debug mode what it was.
            describe(slf, py).map(|described| slf.change_origin(|origin| origin.described = Some(described)))
        } else {
            Ok(())
        };
        slf.release();
        described.map(|()| true)
    }

    /// Cancels: the callback will not run.
    pub(crate) fn cancel(slf: &Ref<Handle>, py: Python<'_>) -> PyResult<()> {
        if slf.kind == Kind::ThreadSafe {
            slf.wait_until_idle(py);
        }
        let event_loop = slf.event_loop.get();
        if Handle::mark_cancelled(slf, py)?
            && let Some(timer) = Ref::<TimerHandle>::downcast(slf.bind(py))
            && let Some(event_loop) = event_loop
        {
            timer.unschedule(&event_loop);
        }
        Ok(())
    }

    /// Calls the callback in its context. Exceptions go to the loop's exception handler, except SystemExit and
    /// KeyboardInterrupt, which are returned.
    #[inline]
    pub(crate) fn run(slf: &Ref<Handle>, py: Python<'_>) -> Outcome<()> {
        let Some(callback) = slf.callback.get() else {
            return Ok(());
        };
        // A callback may call its own handle.
        let was_running = slf.running.replace(true);
        let result = if slf.shared.get() {
            slf.call_shared(py, &callback)
        } else {
            slf.call(py, &callback)
        };
        let handled = match result {
            Ok(_) => Ok(()),
            Err(raised) => slf.failed(slf, py, &callback, raised),
        };
        slf.running.set(was_running);
        // One that runs again is released if it was removed by its own callback.
        if slf.kind != Kind::Persistent || slf.callback.is_none() {
            slf.release();
        }
        if slf.kind == Kind::ThreadSafe {
            IDLE.signal();
        }
        handled
    }
}

/// `callback(*args)` inside `context`.
#[inline]
pub(crate) fn call_in_context(py: Python<'_>, context: &Obj, callback: &Obj, args: &[Obj]) -> PyResult<Obj> {
    context_enter(py, context)?;
    let result = call_args(py, callback, args);
    context_exit(py, context)?;
    Ok(result?)
}

fn describe(slf: &Ref<Handle>, py: Python<'_>) -> PyResult<Obj> {
    if let Some(described) = slf.origin().described {
        return Ok(described);
    }
    // asyncio's own description of a handle, read from our attributes: the words differ between versions.
    Ok(slf
        .bind(py)
        .getattr("__class__")?
        .getattr("__repr__")?
        .call1((slf.bind(py),))?
        .into())
}

pub(crate) fn args_tuple(slf: &Ref<Handle>, py: Python<'_>) -> PyResult<Option<Obj>> {
    if slf.callback.is_none() {
        return Ok(None);
    }
    let args = slf.args.to_vec();
    Ok(Some(
        PyTuple::new(py, args.iter().map(|arg| arg.bind(py)))?.into(),
    ))
}

fn define_handle(table: &mut MethodTable<Handle>) {
    table
        .fast_noargs(
            c"cancel",
            c"cancel($self, /)\n--\n\nCancel the callback: it will not run. Harmless if it ran already.",
            Handle::cancel,
        )
        .noargs(
            c"cancelled",
            c"cancelled($self, /)\n--\n\nWhether the handle was cancelled.",
            |slf, py| {
                if slf.kind == Kind::ThreadSafe {
                    slf.wait_until_idle(py);
                }
                Ok(slf.cancelled.get())
            },
        )
        .noargs(
            c"get_context",
            c"get_context($self, /)\n--\n\nThe contextvars.Context that the callback runs in, or None once it can not run any more.",
            |slf, py| slf.own_context(py),
        )
        .noargs(
            c"_run",
            c"_run($self, /)\n--\n\nCall the callback now, as the loop does.",
            |slf, py| Ok(Handle::run(slf, py)?),
        )
        .noargs(
            c"_repr_info",
            c"_repr_info($self, /)\n--\n\nThe parts of the description.",
            |slf, py| {
                let class = slf.bind(py).getattr("__class__")?;
                Ok(Obj::from(class.getattr("_repr_info")?.call1((slf.bind(py),))?))
            },
        )
        .getter(
            c"__class__",
            c"The class of asyncio that this handle stands for.",
            |slf, py| {
                let asyncio = asyncio(py)?;
                let thread_safe = slf.kind == Kind::ThreadSafe;
                Ok(if thread_safe {
                    asyncio.thread_safe_handle.clone()
                } else {
                    asyncio.handle.clone()
                })
            },
        )
        .getter(
            c"_callback",
            c"The callback, or None once it can not run any more.",
            |slf, _py| Ok(slf.callback.get()),
        )
        .getter(
            c"_args",
            c"The arguments as a tuple, or None once it can not run any more.",
            args_tuple,
        )
        .getter(c"_cancelled", c"Whether the handle was cancelled.", |slf, _py| {
            Ok(slf.cancelled.get())
        })
        .getter(
            c"_context",
            c"The contextvars.Context that the callback runs in.",
            |slf, py| slf.own_context(py),
        )
        .getter(c"_loop", c"The event loop, or None once it can not run any more.", |slf, _py| {
            Ok(slf.event_loop.get())
        })
        .getter(
            c"_repr",
            c"The description that was kept when the handle was cancelled in debug mode.",
            |slf, _py| Ok(slf.origin().described),
        )
        .getter(
            c"_source_traceback",
            c"The stack where the handle was made (debug mode), or None.",
            |slf, _py| Ok(slf.origin().source_traceback),
        );
}

impl Handle {
    /// Blocks while another thread runs this thread-safe handle.
    fn wait_until_idle(&self, py: Python<'_>) {
        let elsewhere = || {
            let event_loop = self.event_loop.get();
            self.running.get() && event_loop.is_some_and(|event_loop| !event_loop.is_running_here())
        };
        while elsewhere() {
            IDLE.wait(py);
        }
    }
}

/// Builds both classes and adds them to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let handle = ClassBuilder::<Handle>::new(
        c"A callback that the loop will call: what loop.call_soon() gives (asyncio: Callback Handles).",
    )
    .members(define_handle)
    .repr(describe)
    .weakrefs()
    .build(py, &Base::Object)?;
    let timer = timer_handle::build(&handle)?;
    let add = |class: &Bound<'_, PyType>| module.add(class.name()?, class);
    add(&handle)?;
    add(&timer)
}
