//! The arguments of a call, as CPython's vectorcall passes them, sorted by parameter without a tuple or a dict.

use std::ptr::NonNull;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::cell::ObjCell;
use super::object::Obj;

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

pub(super) fn borrow<'a, 'py>(_py: Python<'py>, pointer: &'a *mut py_ffi::PyObject) -> &'a Bound<'py, PyAny> {
    // SAFETY: arguments are live objects for the time of the call, to which `'a` is bound; `Bound` is a transparent
    // wrapper of a non-null pointer.
    unsafe { &*(&raw const *pointer).cast::<Bound<'py, PyAny>>() }
}

impl<'a, 'py: 'a> Args<'a, 'py> {
    /// # Safety
    /// `args` and `kwnames` are those of a vectorcall that lasts for `'a`, and this thread is attached.
    #[inline(always)]
    pub(super) unsafe fn new(
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
        if values[..signature.required].iter().any(Option::is_none) {
            let required = signature.parameters.iter().zip(&values).take(signature.required);
            let missing: Vec<_> = required
                .filter(|(_, value)| value.is_none())
                .map(|(parameter, _)| *parameter)
                .collect();
            return Err(missing_arguments(function, &missing));
        }
        Ok(values)
    }

    /// The only argument, if there is one by position and none by name.
    #[inline(always)]
    pub(crate) fn only_positional(&self) -> Option<&'a Bound<'py, PyAny>> {
        match self.positional {
            [only] if self.keyword_names.is_null() => Some(borrow(self.py, only)),
            _ => None,
        }
    }

    /// The arguments of a function whose parameters are all required. TypeError as by [`Args::parse`].
    #[inline(always)]
    pub(crate) fn all<const N: usize>(
        &self,
        signature: &Signature<N>,
    ) -> PyResult<[&'a Bound<'py, PyAny>; N]> {
        match <&[_; N]>::try_from(self.positional) {
            Ok(given) if self.keyword_values.is_empty() => {
                let py = self.py;
                Ok(given.each_ref().map(|pointer| borrow(py, pointer)))
            }
            _ => self.all_by_name(signature),
        }
    }

    #[cold]
    fn all_by_name<const N: usize>(&self, signature: &Signature<N>) -> PyResult<[&'a Bound<'py, PyAny>; N]> {
        let given: Vec<_> = self.parse(signature)?.into_iter().flatten().collect();
        let missing = given.len();
        given
            .try_into()
            .map_err(|_| missing_arguments(signature.function, &signature.parameters[missing..]))
    }

    /// The argument of a function that takes one, by position or by name.
    #[inline]
    pub(crate) fn single(
        &self,
        function: &'static str,
        parameter: &'static str,
    ) -> PyResult<&'a Bound<'py, PyAny>> {
        match self.only_positional() {
            Some(only) => Ok(only),
            None => self.single_by_name(function, parameter),
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
        value.ok_or_else(|| missing_arguments(function, &[parameter]))
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
            _ => Err(missing_arguments(function, &parameters[..1])),
        }
    }
}

/// The TypeError of a function of Python that is called without these arguments.
fn missing_arguments(function: &str, parameters: &[&str]) -> PyErr {
    let quoted: Vec<_> = parameters.iter().map(|name| format!("'{name}'")).collect();
    let (plural, listed) = match &quoted[..] {
        [] | [_] => ("", quoted.concat()),
        [first, second] => ("s", format!("{first} and {second}")),
        [all @ .., last] => ("s", format!("{}, and {last}", all.join(", "))),
    };
    PyTypeError::new_err(format!(
        "{function}() missing {} required positional argument{plural}: {listed}",
        parameters.len()
    ))
}

fn unexpected_keyword(function: &str, name: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{function}() got an unexpected keyword argument '{name}'"
    ))
}
