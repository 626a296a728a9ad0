//! The interpreter's own `_asyncio.Future` and `_asyncio.Task` under ours: their initialisers and methods, called
//! without a lookup; and C functions bound to an object, such as the wake-up callback of a task.

use std::ffi::CStr;
use std::marker::PhantomData;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::error::Outcome;
use super::object::Obj;
use super::trampoline::enter;

/// A type of the interpreter that one of our classes derives from.
pub(crate) struct BaseClass(Obj);

impl BaseClass {
    /// Wraps the type.
    pub(crate) fn new(class: &Bound<'_, PyType>) -> BaseClass {
        BaseClass(Obj::from(class))
    }

    /// The type.
    pub(crate) fn class(&self) -> &Obj {
        &self.0
    }

    /// Runs the base's `__init__` on `object`. TypeError if `object` is not an instance of the base.
    #[inline]
    pub(crate) fn init(
        &self,
        py: Python<'_>,
        object: &Obj,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let class: *mut py_ffi::PyTypeObject = self.0.as_ptr().cast();
        // SAFETY: `self.0` is a type (see `new`), and the object is checked to be an instance of it before its
        // initialiser runs, with a tuple and a dict or null.
        unsafe {
            if py_ffi::PyObject_TypeCheck(object.as_ptr(), class) == 0 {
                return Err(pyo3::exceptions::PyTypeError::new_err(
                    "not an instance of the base class",
                ));
            }
            let Some(init) = (*class).tp_init else {
                return Ok(());
            };
            let kwargs = kwargs.map_or(std::ptr::null_mut(), |kwargs| kwargs.as_ptr());
            if init(object.as_ptr(), args.as_ptr(), kwargs) == 0 {
                Ok(())
            } else {
                Err(PyErr::fetch(py))
            }
        }
    }
}

/// What a [`BoundFunction`] does.
pub(crate) trait FunctionDef: 'static {
    /// The function's name.
    const NAME: &'static CStr;

    /// This function's own static, made by [`FunctionDefinition::new`].
    fn definition() -> &'static FunctionDefinition;

    /// Called with the object that the function is bound to and its one argument.
    fn call(py: Python<'_>, slf: &Obj, arg: &Obj) -> PyResult<Obj>;
}

/// A built-in function with one argument, bound to an object.
pub(crate) struct BoundFunction<F: FunctionDef>(PhantomData<F>);

/// CPython's description of a function. It has to be a static: its address tells functions apart, and the address of
/// a constant may differ between the places that use it.
pub(crate) struct FunctionDefinition(py_ffi::PyMethodDef);

// SAFETY: the definition is only ever read.
unsafe impl Sync for FunctionDefinition {}

impl FunctionDefinition {
    /// The description of `F`.
    pub(crate) const fn new<F: FunctionDef>() -> FunctionDefinition {
        FunctionDefinition(py_ffi::PyMethodDef {
            ml_name: F::NAME.as_ptr(),
            ml_meth: py_ffi::PyMethodDefPointer {
                PyCFunction: bound_function::<F>,
            },
            ml_flags: py_ffi::METH_O,
            ml_doc: std::ptr::null(),
        })
    }
}

impl<F: FunctionDef> BoundFunction<F> {
    /// A new function bound to `slf`. MemoryError.
    pub(crate) fn create(py: Python<'_>, slf: &Obj) -> Outcome<Obj> {
        // SAFETY: attached; CPython only reads the definition, which lives for ever.
        unsafe {
            let definition = (&raw const F::definition().0).cast_mut();
            Obj::from_owned_or_err(
                py,
                py_ffi::PyCFunction_NewEx(definition, slf.as_ptr(), std::ptr::null_mut()),
            )
        }
    }

    /// The object that `callable` is bound to, if it is one of these functions.
    #[inline]
    pub(crate) fn target(callable: &Bound<'_, PyAny>) -> Option<Obj> {
        // SAFETY: `callable` is alive; the cast is made only for exactly that type, and `m_self` is a live object.
        unsafe {
            let pointer = callable.as_ptr();
            if py_ffi::PyCFunction_CheckExact(pointer) == 0 {
                return None;
            }
            let function = pointer.cast::<py_ffi::PyCFunctionObject>();
            std::ptr::eq((*function).m_ml, &raw const F::definition().0)
                .then(|| Obj::from_borrowed((*function).m_self))
        }
    }
}

unsafe extern "C" fn bound_function<F: FunctionDef>(
    slf: *mut py_ffi::PyObject,
    arg: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    enter(|py| {
        // SAFETY: both are alive for the call; `Obj` is a transparent wrapper of a non-null pointer, lent here.
        let (slf, arg) = unsafe { (&*(&raw const slf).cast::<Obj>(), &*(&raw const arg).cast::<Obj>()) };
        F::call(py, slf, arg)
    })
}
