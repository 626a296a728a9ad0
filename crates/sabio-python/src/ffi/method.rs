//! From CPython's calling conventions to plain Rust functions: vectorcall arguments, methods, attributes and slots.
//!
//! The functions that are registered are plain `fn` items: values of size zero, so that the C function made for each
//! of them needs nothing but its type. "Fast" functions are called without telling PyO3 that this thread is attached
//! (it is): they must not drop `pyo3::Py` or `PyErr` values on their normal path.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::call::Sent;
use super::cell::ObjCell;
use super::class::Class;
use super::error::{guard, panic_error};
use super::object::{Obj, Ref};

/// What a function can return to Python.
pub(crate) trait IntoObj {
    /// A new reference to the value as a Python object.
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj>;
}

impl IntoObj for Obj {
    #[inline]
    fn into_obj(self, _py: Python<'_>) -> PyResult<Obj> {
        Ok(self)
    }
}

impl IntoObj for () {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        Ok(Obj::none(py))
    }
}

impl IntoObj for bool {
    #[inline]
    fn into_obj(self, _py: Python<'_>) -> PyResult<Obj> {
        // SAFETY: `True` and `False` are always alive.
        Ok(unsafe {
            Obj::from_borrowed(if self {
                py_ffi::Py_True()
            } else {
                py_ffi::Py_False()
            })
        })
    }
}

impl IntoObj for f64 {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        // SAFETY: attached; a new reference or MemoryError.
        Ok(unsafe { Obj::from_owned_or_err(py, py_ffi::PyFloat_FromDouble(self))? })
    }
}

impl IntoObj for usize {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        // SAFETY: attached; a new reference or MemoryError.
        Ok(unsafe { Obj::from_owned_or_err(py, py_ffi::PyLong_FromSize_t(self))? })
    }
}

impl<T: IntoObj> IntoObj for Option<T> {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        match self {
            Some(value) => value.into_obj(py),
            None => Ok(Obj::none(py)),
        }
    }
}

/// The arguments of one call, as CPython's vectorcall passes them (PEP 590).
#[derive(Clone, Copy)]
pub(crate) struct Args<'a, 'py: 'a> {
    py: Python<'py>,
    positional: &'a [*mut py_ffi::PyObject],
    keyword_values: &'a [*mut py_ffi::PyObject],
    keyword_names: *mut py_ffi::PyObject,
}

/// The name of an only keyword, with the last other tuple of names that held just this name: the interpreter's C code
/// passes one that is not interned, always the same.
pub(crate) struct KeywordName {
    name: Obj,
    seen: ObjCell,
}

impl KeywordName {
    /// `name` is an interned string.
    pub(crate) fn new(name: Obj) -> KeywordName {
        KeywordName {
            name,
            seen: ObjCell::new(None),
        }
    }
}

/// The parameters of a function, for [`Args::parse`].
pub(crate) struct Signature<const N: usize> {
    /// The function's name, for error messages.
    pub(crate) function: &'static str,
    /// Names of all parameters in order.
    pub(crate) parameters: [&'static str; N],
    /// How many of them, from the start, have no default.
    pub(crate) required: usize,
    /// How many of them, from the start, may be given by position.
    pub(crate) positional: usize,
}

fn borrow<'a, 'py>(_py: Python<'py>, pointer: &'a *mut py_ffi::PyObject) -> &'a Bound<'py, PyAny> {
    // SAFETY: arguments are live objects for the time of the call, to which `'a` is bound; `Bound` is a transparent
    // wrapper of a non-null pointer.
    unsafe { &*(&raw const *pointer).cast::<Bound<'py, PyAny>>() }
}

impl<'a, 'py: 'a> Args<'a, 'py> {
    /// # Safety
    /// `args` and `kwnames` are those of a vectorcall that lasts for `'a`, and this thread is attached.
    #[inline(always)]
    unsafe fn new(
        py: Python<'py>,
        args: *const *mut py_ffi::PyObject,
        nargs: usize,
        kwnames: *mut py_ffi::PyObject,
    ) -> Args<'a, 'py> {
        // SAFETY: the array holds the positional arguments, then one value for each name in the tuple `kwnames`; an
        // empty array may be passed as null, for which a dangling pointer stands in.
        unsafe {
            let args = if args.is_null() {
                NonNull::dangling().as_ptr()
            } else {
                args
            };
            let nkw = if kwnames.is_null() {
                0
            } else {
                py_ffi::PyTuple_GET_SIZE(kwnames) as usize
            };
            Args {
                py,
                positional: std::slice::from_raw_parts(args, nargs),
                keyword_values: std::slice::from_raw_parts(args.add(nargs), nkw),
                keyword_names: kwnames,
            }
        }
    }

    /// The interpreter's token.
    #[inline]
    pub(crate) fn py(&self) -> Python<'py> {
        self.py
    }

    /// How many arguments were given by position.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.positional.len()
    }

    /// The argument at a position.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&'a Bound<'py, PyAny>> {
        self.positional.get(index).map(|pointer| borrow(self.py, pointer))
    }

    /// The positional arguments from `first` on.
    #[inline(always)]
    pub(crate) fn positional_from(
        &self,
        first: usize,
    ) -> impl ExactSizeIterator<Item = &'a Bound<'py, PyAny>> {
        let py = self.py;
        self.positional[first.min(self.positional.len())..]
            .iter()
            .map(move |pointer| borrow(py, pointer))
    }

    /// Name and value of each keyword argument.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = (Bound<'py, PyAny>, &'a Bound<'py, PyAny>)> {
        let py = self.py;
        let names = self.keyword_names;
        self.keyword_values.iter().enumerate().map(move |(index, value)| {
            // SAFETY: there is one name in the tuple for each keyword value.
            let name = unsafe {
                Bound::from_borrowed_ptr(py, py_ffi::PyTuple_GET_ITEM(names, index as py_ffi::Py_ssize_t))
            };
            (name, borrow(py, value))
        })
    }

    /// The value of the only keyword that `function` takes. TypeError if any other was given.
    #[inline(always)]
    pub(crate) fn only_keyword(
        &self,
        function: &str,
        name: &KeywordName,
    ) -> PyResult<Option<&'a Bound<'py, PyAny>>> {
        if self.keyword_names.is_null() {
            return Ok(None);
        }
        if let [value] = self.keyword_values {
            // SAFETY: there is one name in the tuple for each keyword value.
            let given = unsafe { py_ffi::PyTuple_GET_ITEM(self.keyword_names, 0) };
            if std::ptr::eq(given, name.name.as_ptr()) || std::ptr::eq(self.keyword_names, name.seen.as_ptr())
            {
                return Ok(Some(borrow(self.py, value)));
            }
        }
        self.search_keyword(function, name)
    }

    #[cold]
    fn search_keyword(self, function: &str, name: &KeywordName) -> PyResult<Option<&'a Bound<'py, PyAny>>> {
        let mut found = None;
        for (given, value) in self.keywords() {
            if given.eq(name.name.bind(self.py))? {
                found = Some(value);
                if self.keyword_values.len() == 1 {
                    // SAFETY: a live tuple, which nobody changes.
                    name.seen
                        .set(Some(unsafe { Obj::from_borrowed(self.keyword_names) }));
                }
            } else {
                return Err(unexpected_keyword(function, &given));
            }
        }
        Ok(found)
    }

    /// Sorts the arguments by parameter. TypeError, in CPython's words, for too many, missing, unknown or doubly
    /// given arguments.
    pub(crate) fn parse<const N: usize>(
        &self,
        signature: &Signature<N>,
    ) -> PyResult<[Option<&'a Bound<'py, PyAny>>; N]> {
        let function = signature.function;
        if self.len() > signature.positional {
            return Err(PyTypeError::new_err(format!(
                "{function}() takes at most {} positional argument{} but {} {} given",
                signature.positional,
                if signature.positional == 1 { "" } else { "s" },
                self.len(),
                if self.len() == 1 { "was" } else { "were" },
            )));
        }
        let mut values = [None; N];
        for (place, value) in values.iter_mut().zip(self.positional_from(0)) {
            *place = Some(value);
        }
        for (name, value) in self.keywords() {
            let text = name.extract::<&str>()?;
            match signature
                .parameters
                .iter()
                .position(|parameter| *parameter == text)
            {
                None => return Err(unexpected_keyword(function, &name)),
                Some(index) if values[index].is_some() => {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got multiple values for argument '{text}'"
                    )));
                }
                Some(index) => values[index] = Some(value),
            }
        }
        if let Some(missing) = values[..signature.required].iter().position(Option::is_none) {
            return Err(missing_argument(function, signature.parameters[missing]));
        }
        Ok(values)
    }

    /// The argument of a function that takes one, by position or by name.
    #[inline]
    pub(crate) fn single(
        &self,
        function: &'static str,
        parameter: &'static str,
    ) -> PyResult<&'a Bound<'py, PyAny>> {
        match self.positional {
            [only] if self.keyword_names.is_null() => Ok(borrow(self.py, only)),
            _ => self.single_by_name(function, parameter),
        }
    }

    fn single_by_name(
        &self,
        function: &'static str,
        parameter: &'static str,
    ) -> PyResult<&'a Bound<'py, PyAny>> {
        let [value] = self.parse(&Signature {
            function,
            parameters: [parameter],
            required: 1,
            positional: 1,
        })?;
        value.ok_or_else(|| missing_argument(function, parameter))
    }

    /// The first two arguments of a function that passes on what else is given by position; they may be given by
    /// name, and no other keyword may.
    pub(crate) fn leading_pair(
        &self,
        function: &'static str,
        parameters: [&'static str; 2],
    ) -> PyResult<(&'a Bound<'py, PyAny>, &'a Bound<'py, PyAny>)> {
        let leading = Args {
            positional: &self.positional[..self.positional.len().min(2)],
            ..*self
        };
        let signature = Signature {
            function,
            parameters,
            required: 2,
            positional: 2,
        };
        match leading.parse(&signature)? {
            [Some(first), Some(second)] => Ok((first, second)),
            _ => Err(missing_argument(function, parameters[0])),
        }
    }
}

fn missing_argument(function: &str, parameter: &str) -> PyErr {
    PyTypeError::new_err(format!("{function}() missing required argument: '{parameter}'"))
}

fn unexpected_keyword(function: &str, name: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{function}() got an unexpected keyword argument '{name}'"
    ))
}

/// The methods and attributes of a class in the making.
pub(crate) struct MethodTable<T: Class> {
    methods: Vec<py_ffi::PyMethodDef>,
    getset: Vec<py_ffi::PyGetSetDef>,
    _class: PhantomData<T>,
}

impl<T: Class> MethodTable<T> {
    pub(super) fn new() -> MethodTable<T> {
        MethodTable {
            methods: Vec::new(),
            getset: Vec::new(),
            _class: PhantomData,
        }
    }

    fn add(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        method: py_ffi::PyMethodDefPointer,
        flags: c_int,
    ) {
        self.methods.push(py_ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: method,
            ml_flags: flags,
            ml_doc: doc.as_ptr(),
        });
    }

    /// A method with any arguments. `doc` begins with the signature: `name($self, ...)\n--\n\n`.
    pub(crate) fn method<F, R>(&mut self, name: &'static CStr, doc: &'static CStr, function: F) -> &mut Self
    where
        F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: fastcall::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS);
        self
    }

    /// As [`MethodTable::method`], for hot paths: see the module's notes.
    pub(crate) fn fast_method<F, R>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        function: F,
    ) -> &mut Self
    where
        F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: fastcall_fast::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS);
        self
    }

    /// A method without arguments.
    pub(crate) fn noargs<F, R>(&mut self, name: &'static CStr, doc: &'static CStr, function: F) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunction: noargs::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_NOARGS);
        self
    }

    /// A method without arguments, for hot paths: see the module's notes.
    pub(crate) fn fast_noargs<F, R>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        function: F,
    ) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunction: noargs_fast::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_NOARGS);
        self
    }

    /// A method with one positional argument, for hot paths: see the module's notes.
    pub(crate) fn fast_onearg<F, R>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        function: F,
    ) -> &mut Self
    where
        F: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunction: onearg_fast::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_O);
        self
    }

    /// An attribute that can be read.
    pub(crate) fn getter<F, R>(&mut self, name: &'static CStr, doc: &'static CStr, get: F) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = get;
        self.getset.push(py_ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(getter::<T, F, R>),
            set: None,
            doc: doc.as_ptr(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    /// An attribute that can be read and set; deleting it is an AttributeError.
    pub(crate) fn attribute<F, R, G>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        get: F,
        set: G,
    ) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
        G: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<()> + Copy,
    {
        let _ = (get, set);
        self.getset.push(py_ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(getter::<T, F, R>),
            set: Some(setter::<T, G>),
            doc: doc.as_ptr(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    /// Ends both tables and gives them to the process.
    pub(super) fn leak(mut self) -> (*mut py_ffi::PyMethodDef, *mut py_ffi::PyGetSetDef) {
        self.methods.push(py_ffi::PyMethodDef::zeroed());
        self.getset.push(py_ffi::PyGetSetDef::default());
        (
            Box::leak(self.methods.into_boxed_slice()).as_mut_ptr(),
            Box::leak(self.getset.into_boxed_slice()).as_mut_ptr(),
        )
    }
}

/// A value of a type of size zero, of which the program has had a value before: a registered function.
#[inline(always)]
pub(super) fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "only plain functions can be registered") };
    // SAFETY: a type of size zero has no bytes to read; one value of it was passed to the builder, and it is `Copy`.
    unsafe { NonNull::<F>::dangling().as_ptr().read() }
}

/// The result as CPython wants it. Inside of the guard against panics, so that no more than a pointer leaves it.
#[inline(always)]
fn finish<R: IntoObj>(py: Python<'_>, body: impl FnOnce(Python<'_>) -> PyResult<R>) -> *mut py_ffi::PyObject {
    let result = catch_unwind(AssertUnwindSafe(|| {
        match body(py).and_then(|value| value.into_obj(py)) {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    }));
    match result {
        Ok(pointer) => pointer,
        Err(payload) => {
            panic_error(&*payload).restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Runs the body of a C function that returns an object: attached in PyO3's eyes too, panics turned into exceptions.
#[inline(always)]
pub(super) fn enter<R: IntoObj>(body: impl FnOnce(Python<'_>) -> PyResult<R>) -> *mut py_ffi::PyObject {
    Python::attach(|py| finish(py, body))
}

/// As [`enter`], without telling PyO3.
#[inline(always)]
fn enter_fast<R: IntoObj>(body: impl FnOnce(Python<'_>) -> PyResult<R>) -> *mut py_ffi::PyObject {
    // SAFETY: CPython calls the functions of a class only on an attached thread.
    let py = unsafe { Python::assume_attached() };
    finish(py, body)
}

/// Runs the body of a C function that returns 0, or -1 for an exception.
#[inline(always)]
pub(super) fn enter_int(body: impl FnOnce(Python<'_>) -> PyResult<()>) -> c_int {
    Python::attach(|py| match guard(|| body(py)) {
        Ok(()) => 0,
        Err(error) => {
            error.restore(py);
            -1
        }
    })
}

unsafe extern "C" fn fastcall<T, F, R>(
    slf: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    nargs: py_ffi::Py_ssize_t,
    kwnames: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance; the arguments are those of this vectorcall.
    enter(|py| unsafe {
        conjure::<F>()(
            Ref::from_ptr_ref(&slf),
            Args::new(py, args, nargs as usize, kwnames),
        )
    })
}

unsafe extern "C" fn fastcall_fast<T, F, R>(
    slf: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    nargs: py_ffi::Py_ssize_t,
    kwnames: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance; the arguments are those of this vectorcall.
    enter_fast(|py| unsafe {
        conjure::<F>()(
            Ref::from_ptr_ref(&slf),
            Args::new(py, args, nargs as usize, kwnames),
        )
    })
}

unsafe extern "C" fn noargs<T, F, R>(
    slf: *mut py_ffi::PyObject,
    _: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance.
    enter(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

unsafe extern "C" fn noargs_fast<T, F, R>(
    slf: *mut py_ffi::PyObject,
    _: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

unsafe extern "C" fn onearg_fast<T, F, R>(
    slf: *mut py_ffi::PyObject,
    arg: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance; the argument is alive for the call.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), borrow(py, &arg)) })
}

/// A slot with one object in and one out.
pub(super) unsafe extern "C" fn unary<T, F, R>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a slot of the class gets an instance of it.
    enter(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

/// As [`unary`], for hot paths.
pub(super) unsafe extern "C" fn unary_fast<T, F, R>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a slot of the class gets an instance of it.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

/// `am_send`.
pub(super) unsafe extern "C" fn am_send<T, F>(
    slf: *mut py_ffi::PyObject,
    value: *mut py_ffi::PyObject,
    result: *mut *mut py_ffi::PyObject,
) -> py_ffi::PySendResult
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> PyResult<Sent> + Copy,
{
    // SAFETY: CPython calls slots on an attached thread with an instance of the class, a live value, and a place for
    // one result, of which we give a new reference.
    unsafe {
        let py = Python::assume_attached();
        let sent = guard(|| {
            let value = (!value.is_null()).then(|| &*(&raw const value).cast::<Obj>());
            conjure::<F>()(Ref::from_ptr_ref(&slf), py, value)
        });
        match sent {
            Ok(Sent::Next(object)) => {
                *result = object.into_ptr();
                py_ffi::PySendResult::PYGEN_NEXT
            }
            Ok(Sent::Return(object)) => {
                *result = object.into_ptr();
                py_ffi::PySendResult::PYGEN_RETURN
            }
            Err(error) => {
                error.restore(py);
                *result = std::ptr::null_mut();
                py_ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

/// `tp_iternext`: a return value other than None travels as StopIteration.
pub(super) unsafe extern "C" fn iternext<T, F>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> PyResult<Sent> + Copy,
{
    // SAFETY: CPython calls slots on an attached thread with an instance of the class.
    let (py, sent) = unsafe {
        let py = Python::assume_attached();
        (py, guard(|| conjure::<F>()(Ref::from_ptr_ref(&slf), py, None)))
    };
    match sent {
        Ok(Sent::Next(object)) => object.into_ptr(),
        Ok(Sent::Return(object)) => {
            if !object.bind(py).is_none() {
                super::error::set_stop_iteration(py, &object);
            }
            std::ptr::null_mut()
        }
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// `tp_hash`.
pub(super) unsafe extern "C" fn hash<T, F>(slf: *mut py_ffi::PyObject) -> py_ffi::Py_hash_t
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<isize> + Copy,
{
    // SAFETY: a slot of the class gets an instance of it.
    Python::attach(
        |py| match guard(|| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) }) {
            Ok(-1) => -2,
            Ok(hash) => hash,
            Err(error) => {
                error.restore(py);
                -1
            }
        },
    )
}

/// `tp_richcompare`.
pub(super) unsafe extern "C" fn richcompare<T, F>(
    slf: *mut py_ffi::PyObject,
    other: *mut py_ffi::PyObject,
    op: c_int,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, &Bound<'_, PyAny>, CompareOp) -> PyResult<Option<bool>> + Copy,
{
    enter(|py| {
        let op = CompareOp::from_raw(op).ok_or_else(|| PyTypeError::new_err("unknown comparison"))?;
        // SAFETY: a slot of the class gets an instance of it as its first operand.
        match unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), borrow(py, &other), op)? } {
            Some(answer) => answer.into_obj(py),
            None => Ok(Obj::from(&py.NotImplemented().into_bound(py))),
        }
    })
}

unsafe extern "C" fn getter<T, F, R>(
    slf: *mut py_ffi::PyObject,
    _closure: *mut c_void,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a getset descriptor checks that `slf` is an instance.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

unsafe extern "C" fn setter<T, G>(
    slf: *mut py_ffi::PyObject,
    value: *mut py_ffi::PyObject,
    _closure: *mut c_void,
) -> c_int
where
    T: Class,
    G: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<()> + Copy,
{
    enter_int(|py| {
        if value.is_null() {
            return Err(pyo3::exceptions::PyAttributeError::new_err(
                "this attribute cannot be deleted",
            ));
        }
        // SAFETY: a getset descriptor checks that `slf` is an instance; the value is alive for the call.
        unsafe { conjure::<G>()(Ref::from_ptr_ref(&slf), borrow(py, &value)) }
    })
}
