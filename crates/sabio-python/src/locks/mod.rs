//! Lock, Event, Condition, Semaphore, BoundedSemaphore and Barrier (asyncio: Synchronization Primitives).
//!
//! What waiting means is pure Rust (`sabio_sync`); here it gets asyncio's face. Each class has a native core and a
//! public class on top of the core and of asyncio's class, so `isinstance` and `issubclass` hold and programs can
//! derive from it. Methods that wait are native coroutines, which show the garbage collector the object that they wait for;
//! what a Rust future of theirs holds, it would not see.

mod async_with;
mod barrier;
mod condition;
mod event;
mod lock;
mod semaphore;
mod waited;
mod waiter;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::ffi::{Class, Global, Obj, Ref, public_class, raising};

/// The public class of a core.
pub(crate) struct PublicClass(Global<Obj>);

impl PublicClass {
    pub(crate) const fn new() -> PublicClass {
        PublicClass(Global::new())
    }

    /// Makes the class from the core (or from another public class) and asyncio's class of this name, and adds it to
    /// the module.
    pub(crate) fn publish<'py>(
        &self,
        module: &Bound<'py, PyModule>,
        name: &str,
        doc: &str,
        core: &Bound<'py, PyType>,
    ) -> PyResult<Bound<'py, PyType>> {
        let py = module.py();
        let theirs = py.import("asyncio.locks")?.getattr(name)?;
        let class = public_class(py, name, &[core, &theirs], doc)?;
        self.0.set(py, Obj::from(&class));
        module.add(name, &class)?;
        Ok(class)
    }

    /// The class.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        Ok(self.0.get(py)?.bind(py).cast::<PyType>()?)
    }

    /// Whether the object's class is this one and no subclass, which may have replaced methods.
    #[inline]
    pub(crate) fn is_exact(&self, py: Python<'_>, object: &Obj) -> bool {
        self.0
            .get(py)
            .is_ok_and(|class| std::ptr::eq(class.as_ptr().cast(), object.bind(py).get_type_ptr()))
    }
}

/// The object that a coroutine's method belongs to.
#[inline]
fn owner_as<'a, T: Class>(py: Python<'a>, owner: &'a Obj) -> PyResult<&'a Ref<T>> {
    Ref::<T>::downcast(owner.bind(py)).ok_or_else(|| PyTypeError::new_err("not an object of this class"))
}

/// `repr()`: what `object` says, with the state in brackets.
fn describe(py: Python<'_>, object: &Obj, state: &str) -> PyResult<Obj> {
    let plain = py
        .get_type::<PyAny>()
        .call_method1("__repr__", (object.bind(py),))?
        .to_string();
    let inner = plain.strip_prefix('<').unwrap_or(&plain);
    let inner = inner.strip_suffix('>').unwrap_or(inner);
    Ok(Obj::from(PyString::new(py, &format!("<{inner} [{state}]>"))))
}

/// The state of an object with the number of tasks inside.
fn with_waiters(state: String, waiters: &sabio_sync::WaitQueue) -> String {
    match waiters.inside() {
        0 => state,
        count => format!("{state}, waiters:{count}"),
    }
}

/// The only parameter of an initialiser, or None; `self.__init__(...)` in CPython's words if the arguments are wrong.
fn only_parameter<'py>(
    object: &Obj,
    parameter: Option<&str>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = args.py();
    let class = || -> PyResult<String> { Ok(object.bind(py).get_type().name()?.to_string()) };
    let most = usize::from(parameter.is_some());
    if args.len() > most {
        return Err(PyTypeError::new_err(format!(
            "{}.__init__() takes {} but {} were given",
            class()?,
            if most == 0 {
                "1 positional argument"
            } else {
                "from 1 to 2 positional arguments"
            },
            args.len() + 1
        )));
    }
    let mut value = args.get_item(0).ok();
    for (key, given) in kwargs.iter().flat_map(|kwargs| kwargs.iter()) {
        if parameter.is_none_or(|parameter| !key.eq(parameter).unwrap_or(false)) {
            return Err(PyTypeError::new_err(format!(
                "{}.__init__() got an unexpected keyword argument '{key}'",
                class()?
            )));
        }
        if value.replace(given).is_some() {
            return Err(PyTypeError::new_err(format!(
                "{}.__init__() got multiple values for argument '{key}'",
                class()?
            )));
        }
    }
    Ok(value)
}

/// A whole number, as Python's arithmetic takes it: also a float without a fraction. Numbers that are too large are
/// cut, infinity to the largest. TypeError for anything else.
fn whole_number(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    if let Ok(value) = value.extract::<i64>() {
        return Ok(value);
    }
    let Ok(number) = value.extract::<f64>() else {
        // Of what is no number Python says that it can not be compared with one.
        value.lt(0)?;
        return Err(not_whole(value));
    };
    if number.is_finite() && number.fract() != 0.0 {
        return Err(not_whole(value));
    }
    // The cast cuts what does not fit.
    Ok(number as i64)
}

fn not_whole(value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("a whole number is required, not {value}"))
}

/// An exception of `asyncio.exceptions`, by name.
fn asyncio_error(py: Python<'_>, name: &str, message: &str) -> PyErr {
    let make = || py.import("asyncio.exceptions")?.getattr(name)?.call1((message,));
    match make() {
        Ok(error) => raising(error),
        Err(error) => error,
    }
}

/// Builds the classes and adds the public ones to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    waiter::init(module.py())?;
    async_with::init(module.py())?;
    lock::init(module)?;
    event::init(module)?;
    condition::init(module)?;
    semaphore::init(module)?;
    barrier::init(module)
}
