//! C functions of the interpreter's own modules, called directly: the convention is looked up once, and a call is a
//! jump through a pointer instead of a walk through the layers of a Python call.

use std::cell::Cell;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::error::{Outcome, Raised};
use super::object::Obj;

/// How a C function takes its arguments.
#[derive(Clone, Copy)]
enum Convention {
    OneArg(py_ffi::PyCFunction),
    Fast(py_ffi::PyCFunctionFast),
    FastKeywords(py_ffi::PyCFunctionFastWithKeywords),
    Method(py_ffi::PyCMethod),
    /// None of these, or not a C function at all: called as any other object.
    Other,
}

impl Convention {
    /// # Safety
    /// `definition` is a live method definition.
    unsafe fn of(definition: *const py_ffi::PyMethodDef) -> Convention {
        // SAFETY: the flags say which member of the union was stored.
        unsafe {
            let method = (*definition).ml_meth;
            let binding = py_ffi::METH_CLASS | py_ffi::METH_STATIC | py_ffi::METH_COEXIST;
            match (*definition).ml_flags & !binding {
                py_ffi::METH_O => Convention::OneArg(method.PyCFunction),
                py_ffi::METH_FASTCALL => Convention::Fast(method.PyCFunctionFast),
                flags if flags == py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS => {
                    Convention::FastKeywords(method.PyCFunctionFastWithKeywords)
                }
                flags if flags == py_ffi::METH_METHOD | py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS => {
                    Convention::Method(method.PyCMethod)
                }
                _ => Convention::Other,
            }
        }
    }
}

/// A built-in function of a module, or a method of a C class.
pub(crate) struct NativeFunction {
    object: Obj,
    convention: Convention,
    /// The module that a function is bound to, or the class that a method belongs to.
    owner: *mut py_ffi::PyObject,
    is_method: bool,
    /// The class of the last instance that passed the check: classes that we call methods for are never freed.
    passed: Cell<*const py_ffi::PyTypeObject>,
}

impl NativeFunction {
    /// Looks at `callable`: a built-in function, a method descriptor of a class, or anything else.
    pub(crate) fn new(callable: &Bound<'_, PyAny>) -> NativeFunction {
        let object = Obj::from(callable);
        let pointer = callable.as_ptr();
        // SAFETY: the object is alive and is cast only to what its exact type says it is; its definition, module and
        // class live as long as it does.
        unsafe {
            if py_ffi::PyCFunction_CheckExact(pointer) != 0 {
                let function = pointer.cast::<py_ffi::PyCFunctionObject>();
                let convention = match Convention::of((*function).m_ml) {
                    Convention::Method(_) => Convention::Other,
                    convention => convention,
                };
                return NativeFunction {
                    object,
                    convention,
                    owner: (*function).m_self,
                    is_method: false,
                    passed: Cell::new(std::ptr::null()),
                };
            }
            if std::ptr::eq(py_ffi::Py_TYPE(pointer), &raw const py_ffi::PyMethodDescr_Type) {
                let descriptor = pointer.cast::<py_ffi::PyMethodDescrObject>();
                let convention = Convention::of((*descriptor).d_method);
                let owner = (*descriptor).d_common.d_type.cast();
                return NativeFunction {
                    object,
                    convention,
                    owner,
                    is_method: true,
                    passed: Cell::new(std::ptr::null()),
                };
            }
        }
        NativeFunction {
            object,
            convention: Convention::Other,
            owner: std::ptr::null_mut(),
            is_method: false,
            passed: Cell::new(std::ptr::null()),
        }
    }

    /// The function or descriptor itself.
    pub(crate) fn object(&self) -> &Obj {
        &self.object
    }

    /// Calls it. A method takes its instance as the first argument.
    #[inline]
    pub(crate) fn call<const N: usize>(&self, py: Python<'_>, args: [&Obj; N]) -> Outcome<Obj> {
        // SAFETY: no keywords.
        unsafe { self.invoke(py, args, N, std::ptr::null_mut()) }
    }

    /// As [`call`](Self::call), laid out in place for a function of a module that takes its arguments in an array.
    #[cfg(Py_3_12)]
    #[inline(always)]
    pub(crate) fn call_at_once<const N: usize>(&self, py: Python<'_>, args: [&Obj; N]) -> Outcome<Obj> {
        if self.is_method {
            return self.call(py, args);
        }
        let mut pointers = args.map(Obj::as_ptr);
        let count = N as py_ffi::Py_ssize_t;
        // SAFETY: attached; the function is called as its definition states, with its module, live arguments and no
        // keywords. It returns a new reference or null with an exception set.
        unsafe {
            let result = match self.convention {
                Convention::FastKeywords(function) => {
                    function(self.owner, pointers.as_ptr(), count, std::ptr::null_mut())
                }
                Convention::Fast(function) => function(self.owner, pointers.as_mut_ptr(), count),
                Convention::OneArg(_) | Convention::Method(_) | Convention::Other => {
                    return self.call(py, args);
                }
            };
            Obj::from_owned_or_err(py, result)
        }
    }

    /// Calls it with the last argument under a keyword.
    #[inline]
    pub(crate) fn call_with_keyword<const N: usize>(
        &self,
        py: Python<'_>,
        args: [&Obj; N],
        keyword: &LastKeyword,
    ) -> Outcome<Obj> {
        const { assert!(N > 0, "the last argument is the keyword's") };
        // SAFETY: a tuple of one string for the last of the arguments.
        unsafe { self.invoke(py, args, N - 1, keyword.0.as_ptr()) }
    }

    /// # Safety
    /// `names` is null or a tuple of as many strings as there are arguments after the `positional` ones.
    #[inline]
    unsafe fn invoke<const N: usize>(
        &self,
        py: Python<'_>,
        args: [&Obj; N],
        positional: usize,
        names: *mut py_ffi::PyObject,
    ) -> Outcome<Obj> {
        let pointers = args.map(Obj::as_ptr);
        // SAFETY: attached; live arguments and names by this function's contract.
        let by_any_convention = || unsafe {
            Obj::from_owned_or_err(
                py,
                py_ffi::PyObject_Vectorcall(self.object.as_ptr(), pointers.as_ptr(), positional, names),
            )
        };
        let (slf, rest, positional) = if self.is_method {
            let Some((slf, rest)) = pointers.split_first() else {
                return by_any_convention();
            };
            // SAFETY: both are alive; `owner` is a type, because a method descriptor's class is one. A class that has
            // passed is remembered only if it is an immortal one of ours, whose address can not come back as another.
            unsafe {
                let class = py_ffi::Py_TYPE(*slf);
                if !std::ptr::eq(class, self.passed.get()) {
                    if py_ffi::PyObject_TypeCheck(*slf, self.owner.cast()) == 0 {
                        return by_any_convention();
                    }
                    if super::class::is_ours(class) {
                        self.passed.set(class);
                    }
                }
            }
            (*slf, rest, positional.saturating_sub(1))
        } else {
            (self.owner, &pointers[..], positional)
        };
        let count = positional as py_ffi::Py_ssize_t;
        // SAFETY: attached; each function is called by the convention that its definition states, with the owner or
        // instance that it expects and with live arguments. It returns a new reference or null with an exception set.
        let result = unsafe {
            match self.convention {
                Convention::OneArg(function) if rest.len() == 1 && names.is_null() => function(slf, rest[0]),
                Convention::Fast(function) if names.is_null() => {
                    function(slf, rest.as_ptr().cast_mut(), count)
                }
                Convention::FastKeywords(function) => function(slf, rest.as_ptr(), count, names),
                Convention::Method(function) => function(slf, self.owner.cast(), rest.as_ptr(), count, names),
                Convention::OneArg(_) | Convention::Fast(_) | Convention::Other => {
                    return by_any_convention();
                }
            }
        };
        if result.is_null() {
            return Err(Raised::new());
        }
        // SAFETY: a new reference, as the convention says.
        Ok(unsafe { Obj::from_owned(result) })
    }
}

/// The name of a keyword, for calls in which it stands for the last argument.
pub(crate) struct LastKeyword(Obj);

impl LastKeyword {
    /// The keyword `name`.
    pub(crate) fn new(name: &Bound<'_, PyString>) -> PyResult<LastKeyword> {
        Ok(LastKeyword(PyTuple::new(name.py(), [name])?.into_any().into()))
    }
}
