//! `wrap_future`, and futures that end as another one does: of asyncio, of `concurrent.futures`, on any thread.
//!
//! What is cancelled at the end of a chain cancels its beginning. Each side is touched only on its own loop's thread,
//! if it has a loop.

use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;

use super::ensure::{is_future, loop_of};
use super::event_loop_of_caller;
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, wrap_future as native};
use crate::ffi::{
    Args, Base, BoundFunction, Class, ClassBuilder, ClassCell, FunctionDef, FunctionDefinition, Obj, ObjCell,
    Ref, Signature, Visit, add_function, call_method,
};
use crate::names::names;
use crate::outcome;
use crate::running_loop::running_loop_if_any;

/// Two futures, and the loops of those that have one.
pub(crate) struct Chain {
    source: ObjCell,
    source_loop: ObjCell,
    destination: ObjCell,
    destination_loop: ObjCell,
}

static CHAIN: ClassCell = ClassCell::new();

impl Class for Chain {
    const NAME: &'static std::ffi::CStr = c"sabio._Chain";

    fn cell() -> &'static ClassCell {
        &CHAIN
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.source);
        visit.slot(&self.source_loop);
        visit.slot(&self.destination);
        visit.slot(&self.destination_loop);
    }

    fn clear(&self) {
        self.source.set(None);
        self.source_loop.set(None);
        self.destination.set(None);
        self.destination_loop.set(None);
    }
}

/// Defines a function that is bound to a [`Chain`].
macro_rules! chain_function {
    ($(#[$doc:meta])* $name:ident, $text:literal, $body:expr) => {
        $(#[$doc])*
        struct $name;

        impl FunctionDef for $name {
            const NAME: &'static std::ffi::CStr = $text;

            fn definition() -> &'static FunctionDefinition {
                static DEFINITION: FunctionDefinition = FunctionDefinition::new::<$name>();
                &DEFINITION
            }

            fn call(py: Python<'_>, slf: &Obj, future: &Obj) -> PyResult<Obj> {
                if let Some(chain) = Ref::<Chain>::downcast(slf.bind(py)) {
                    let body: fn(Python<'_>, &Ref<Chain>, &Obj) -> PyResult<()> = $body;
                    body(py, chain, future)?;
                }
                Ok(Obj::none(py))
            }
        }
    };
}

chain_function!(
    /// The destination's callback.
    CheckCancel,
    c"_call_check_cancel",
    check_cancel
);
chain_function!(
    /// The source's callback.
    SetState,
    c"_call_set_state",
    set_state
);
chain_function!(
    /// What the destination's loop calls when the source has ended on another thread.
    CopyState,
    c"_set_state",
    |py, chain, source| match chain.destination.get() {
        Some(destination) => copy_state(py, source, &destination),
        None => Ok(()),
    }
);

/// Makes `destination` end as `source` does, and a cancellation of `destination` cancel `source`.
pub(super) fn chain(source: &Bound<'_, PyAny>, destination: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = source.py();
    let concurrent = asyncio(py)?.concurrent_future.bind(py);
    let event_loop = |future: &Bound<'_, PyAny>, which: &str| -> PyResult<Option<Obj>> {
        if is_future(future)? {
            return Ok(Some(loop_of(future)?));
        }
        if future.is_instance(concurrent)? {
            return Ok(None);
        }
        Err(PyTypeError::new_err(format!(
            "A future is required for {which} argument"
        )))
    };
    let source_loop = event_loop(source, "source")?;
    let destination_loop = event_loop(destination, "destination")?;
    let chain = Ref::create(
        py,
        Chain {
            source: ObjCell::new(Some(Obj::from(source))),
            source_loop: ObjCell::new(source_loop),
            destination: ObjCell::new(Some(Obj::from(destination))),
            destination_loop: ObjCell::new(destination_loop),
        },
    )?;
    let add_done_callback = names(py)?.add_done_callback.text(py);
    let check_cancel = BoundFunction::<CheckCancel>::create(py, chain.as_obj())?;
    destination.call_method1(add_done_callback, (check_cancel.bind(py),))?;
    let set_state = BoundFunction::<SetState>::create(py, chain.as_obj())?;
    source.call_method1(add_done_callback, (set_state.bind(py),))?;
    Ok(())
}

/// Whether this loop runs on this thread.
fn is_running_here(py: Python<'_>, event_loop: &Obj) -> PyResult<bool> {
    Ok(running_loop_if_any(py)?.is_some_and(|running| running.is(event_loop.bind(py))))
}

/// The destination is done, and with it the chain: if it was cancelled, so is the source. A future of
/// `concurrent.futures` never forgets its callbacks, so that a chain which kept it would do so until the collector comes.
fn check_cancel(py: Python<'_>, chain: &Ref<Chain>, destination: &Obj) -> PyResult<()> {
    let checked = cancel_source(py, chain, destination);
    // If the source ends later, it finds no destination; the source's own loop may still be asked to cancel it.
    chain.clear();
    checked
}

/// If the destination was cancelled, so is the source.
fn cancel_source(py: Python<'_>, chain: &Ref<Chain>, destination: &Obj) -> PyResult<()> {
    let Some(source) = chain.source.get() else {
        return Ok(());
    };
    if !outcome::is_cancelled(py, destination)? {
        return Ok(());
    }
    let cancel = &names(py)?.cancel;
    match chain.source_loop.get() {
        Some(event_loop) if !is_running_here(py, &event_loop)? => {
            let cancel = source.bind(py).getattr(cancel.text(py))?;
            event_loop
                .bind(py)
                .call_method1("call_soon_threadsafe", (cancel,))?;
        }
        _ => {
            call_method(py, &source, cancel, &[])?;
        }
    }
    Ok(())
}

/// The source is done: so is the destination, on its own thread.
fn set_state(py: Python<'_>, chain: &Ref<Chain>, source: &Obj) -> PyResult<()> {
    let Some(destination) = chain.destination.get() else {
        return Ok(());
    };
    let Some(event_loop) = chain.destination_loop.get() else {
        return copy_state(py, source, &destination);
    };
    let is_closed = || event_loop.bind(py).call_method0("is_closed")?.is_truthy();
    if outcome::is_cancelled(py, &destination)? && is_closed()? {
        return Ok(());
    }
    if is_running_here(py, &event_loop)? {
        return copy_state(py, source, &destination);
    }
    if is_closed()? {
        return Ok(());
    }
    let copy = BoundFunction::<CopyState>::create(py, chain.as_obj())?;
    event_loop
        .bind(py)
        .call_method1("call_soon_threadsafe", (copy.bind(py), source.bind(py)))?;
    Ok(())
}

/// Ends `destination` as `source` has ended.
fn copy_state(py: Python<'_>, source: &Obj, destination: &Obj) -> PyResult<()> {
    let names = names(py)?;
    let bound = destination.bind(py);
    if is_future(bound)? {
        if outcome::is_cancelled(py, destination)? {
            return Ok(());
        }
        if outcome::is_cancelled(py, source)? {
            call_method(py, destination, &names.cancel, &[])?;
            return Ok(());
        }
    } else {
        if outcome::is_cancelled(py, source)? {
            call_method(py, destination, &names.cancel, &[])?;
        }
        // False if it was cancelled, by us or by who waits for it.
        if !bound.call_method0("set_running_or_notify_cancel")?.is_truthy()? {
            return Ok(());
        }
    }
    match outcome::exception(py, source)? {
        Some(exception) => {
            // The exceptions of `concurrent.futures` have counterparts in asyncio.
            let futures = asyncio(py)?.futures.bind(py);
            let exception = futures.call_method1("_convert_future_exc", (exception.bind(py),))?;
            call_method(py, destination, &names.set_exception, &[&exception.into()])?;
        }
        None => {
            let result = outcome::result(py, source)?;
            call_method(py, destination, &names.set_result, &[&result])?;
        }
    }
    Ok(())
}

/// `wrap_future(future, *, loop=None)`.
fn wrap_future(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [future, event_loop] = args.parse(&Signature {
        function: "wrap_future",
        parameters: ["future", "loop"],
        required: 1,
        positional: 1,
    })?;
    let Some(future) = future else {
        return Err(PyTypeError::new_err(
            "wrap_future() missing 1 required positional argument: 'future'",
        ));
    };
    if is_future(future)? {
        return Ok(Obj::from(future));
    }
    if !future.is_instance(asyncio(py)?.concurrent_future.bind(py))? {
        return Err(PyAssertionError::new_err(format!(
            "concurrent.futures.Future is expected, got {}",
            future.repr()?
        )));
    }
    let event_loop = match event_loop.filter(|event_loop| !event_loop.is_none()) {
        Some(event_loop) => Obj::from(event_loop),
        None => event_loop_of_caller(py)?,
    };
    if let Some(event_loop) = Ref::<Loop>::downcast(event_loop.bind(py)) {
        return native::wrap_future(py, event_loop, future);
    }
    let wrapped = call_method(py, &event_loop, &names(py)?.create_future, &[])?;
    chain(future, wrapped.bind(py))?;
    Ok(wrapped)
}

/// Builds the class and adds the function to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ClassBuilder::<Chain>::new(c"Two futures, one of which ends as the other does.")
        .build(module.py(), &Base::Object)?;
    add_function(
        module,
        c"wrap_future",
        c"wrap_future(future, *, loop=None)\n--\n\nA future of the loop that ends as a concurrent.futures.Future does.",
        wrap_future,
    )
}
